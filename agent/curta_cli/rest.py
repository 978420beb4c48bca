"""Calls to an orchestrator's REST interface, as the commands for people make them.

Finds the address and the token, tries again for a bounded time where that is safe, and sorts every outcome
into an answer, `Refused` (the caller's fault, exit code 2) or `Unreachable` (the world's fault, exit code 3).
It knows paths and JSON, not what they mean.
"""

import asyncio
import ipaddress
import json
import random
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import click
import httpx

from curta_cli.environment import Command, data_option, option, secret

PATIENCE_S = 30.0
"""How long an orchestrator that was there is tried again: a restart with recovery takes 15 s."""
ABSENT_S = 7.0
"""How long one that never was: nobody listens there, or nobody knows the name."""
ANSWER_S = 30.0
"""How long one answer may take, beyond what was asked for with `wait`."""
AGAIN = frozenset({429, 502, 503, 504})
"""Answers that a later try may turn into another: busy, or the database or the leader is away."""

T = TypeVar("T")


class Refused(click.ClickException):
    """The orchestrator understood and said no; `problem` is its RFC 9457 answer."""

    exit_code = 2

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(sentence(problem))
        self.problem = problem


class Unreachable(click.ClickException):
    """No answer within the patience, or none that makes sense."""

    exit_code = 3


def sentence(problem: Mapping[str, Any]) -> str:
    """What a problem says to people: its detail, or its title where it has none."""
    return str(problem.get("detail") or problem.get("title") or "refused")


def options() -> Callable[[Command], Command]:
    """`--url`, `--data` and `--ca`, for every command that calls REST."""

    def decorate(command: Command) -> Command:
        for each in (
            option("--ca", metavar="FILE", help="Certificates (PEM) to trust beside the system's."),
            data_option(),
            option("--url", metavar="URL", help="Where the orchestrator is. Default: what DIR/url says."),
        ):
            command = each(command)
        return command

    return decorate


class Server:
    """One deployment: its addresses, tried in turn, and a token. Use as an asynchronous context."""

    def __init__(
        self,
        urls: Sequence[str],
        token: str,
        *,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._urls = list(urls)
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            verify=verify,
            # A proxy that is set for the Internet must not see what stays on this machine.
            trust_env=not all(_is_loopback(url) for url in urls),
            transport=transport,
        )
        self._patience_s = ABSENT_S
        self._waiting_told = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        wait_s: float = 0.0,
    ) -> Any:
        """The JSON that `method path` answers; None for an empty answer.

        Tries again, with growing pauses and at the next address, for `PATIENCE_S`, or `ABSENT_S` while nobody
        was ever there: the caller vouches that repeating does no harm (a submission carries an id of its
        own). `wait_s` is how long the orchestrator itself was asked to wait.
        Raises: Refused for 4xx, Unreachable when the patience ends and for answers that are not ours.
        """
        began = time.monotonic()
        pause_s = 0.2
        while True:
            url = self._urls[0]
            try:
                response = await self._client.request(
                    method,
                    url + path,
                    content=None if body is None else json.dumps(body, ensure_ascii=False).encode(),
                    headers=None if body is None else {"Content-Type": "application/json"},
                    params=params,
                    timeout=httpx.Timeout(ANSWER_S + wait_s, connect=10.0),
                )
            except httpx.TransportError as error:
                why, least_s = f"{url} cannot be reached: {_reason(error)}", 0.0
                if "CERTIFICATE_VERIFY_FAILED" in why:
                    raise Unreachable(why) from None
                self._urls.append(self._urls.pop(0))
                if not isinstance(error, httpx.ConnectError):
                    self._patience_s = PATIENCE_S
            else:
                self._patience_s = PATIENCE_S
                if response.status_code not in AGAIN:
                    return _answer(response, url)
                why, least_s = f"{url}: {sentence(_problem(response))}", _retry_after_s(response)
            pause_s = max(least_s, random.uniform(pause_s / 2, pause_s))
            if time.monotonic() + pause_s > began + self._patience_s:
                raise Unreachable(why)
            if not self._waiting_told:
                click.echo(f"{why}; trying again for {self._patience_s:.0f} s.", err=True)
                self._waiting_told = True
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)


def find(url: str | None, data: Path, ca: str | None) -> Server:
    """The deployment that the flags, the environment or `curta up` in `data` name.

    The token in `data` goes only to the orchestrator that wrote it there.
    Raises: UsageError when none is known.
    """
    token, address = secret("token"), data / "url"
    known = address.read_text(encoding="utf-8").strip() if address.is_file() else ""
    text = url or known
    if not text:
        raise click.UsageError(
            f"Which orchestrator? Set CURTA_URL, or start one here with `curta up` ({address} is not there)."
        )
    urls = [_checked(part) for part in text.split(",") if part.strip()]
    if not urls:
        raise click.UsageError("CURTA_URL holds no address.")
    if not token:
        if not known or urls != [_checked(known)]:
            raise click.UsageError(f"No token for {text}: set CURTA_TOKEN or CURTA_TOKEN_FILE.")
        try:
            token = (data / "admin.token").read_text(encoding="utf-8").strip()
        except OSError as error:
            raise click.UsageError(
                f"{data / 'admin.token'} cannot be read: {error.strerror}; set CURTA_TOKEN."
            ) from None
    return Server(urls, token, verify=_trust(ca))


def talk(url: str | None, data: Path, ca: str | None, work: Callable[[Server], Any]) -> Any:
    """Run the coroutine `work(server)` with the deployment that `find` finds, and return what it returns."""

    async def run() -> Any:
        async with find(url, data, ca) as server:
            return await work(server)

    return asyncio.run(run())


def _checked(url: str) -> str:
    url = url.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.UsageError(f"{url!r} is not the address of an orchestrator: write http://host:port.")
    return url


def _trust(ca: str | None) -> ssl.SSLContext | bool:
    if not ca:
        return True
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca)
    except OSError as error:
        raise click.UsageError(f"The certificates in {ca} cannot be read: {error}.") from None
    return context


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _answer(response: httpx.Response, url: str) -> Any:
    if response.is_client_error:
        raise Refused(_problem(response))
    if not response.is_success:
        raise Unreachable(f"{url} answered {response.status_code}: {sentence(_problem(response))}")
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError:
        raise Unreachable(f"{url} answered with something that is not JSON; is it an orchestrator?") from None


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The problem in an answer; made from the status where the answer is not one of ours."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "title" in problem:
        return problem
    return {"title": f"HTTP {response.status_code} {response.reason_phrase}", "status": response.status_code}


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), PATIENCE_S) if text.isascii() and text.isdigit() else 0.0


def _reason(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__
