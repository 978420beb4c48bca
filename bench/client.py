"""How a measurement talks to an orchestrator: REST, as a user does."""

import asyncio
import json
import time
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import httpx

WAIT_S = 50


class Ended(NamedTuple):
    """An expression that is done. Seconds: from its first task handed out, and from before the submission,
    until we knew its result."""

    expression: dict[str, Any]
    running_s: float
    total_s: float


class Curta:
    """One user's keep-alive connections. Raises httpx.HTTPStatusError for anything that is not a success."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=120.0, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        response = await self._http.request(method, path, json=body)
        response.raise_for_status()
        return response.json()

    async def no_durations(self) -> None:
        """From now on operations take no time but their computation."""
        await self.durations(0)

    async def durations(self, milliseconds: int) -> None:
        """From now on each operation takes so long."""
        for operation in (await self.call("GET", "/operations"))["items"]:
            await self.call("PUT", f"/operations/{operation['name']}", {"duration_ms": milliseconds})

    async def connected_agents(self) -> int:
        return int(await self.metric("curta_agents", '"connected"'))

    async def metric(self, name: str, labels: str = "") -> float:
        """The sum of a metric's lines that contain `labels`; reading it costs the same however much there
        is."""
        lines = (await self._http.get("/metrics")).text.splitlines()
        return sum(
            float(line.split()[-1])
            for line in lines
            if line.partition(" ")[0].partition("{")[0] == name and labels in line
        )

    async def compute(self, text: str, *, optimize: bool = True, expected: int | None = None) -> Ended:
        """Submit and wait for the result, which must be `expected`, if that is given.

        Raises: AssertionError where it is another one, or none.
        """
        submitted = time.perf_counter()
        final = await self.done(await self.submit(text, optimize=optimize), expected)
        total_s = time.perf_counter() - submitted
        # Server, database and we are on one machine: one clock.
        running_s = time.time() - datetime.fromisoformat(final["started_at"]).timestamp()
        return Ended(final, running_s, total_s)

    async def submit(self, text: str, *, optimize: bool = True) -> str:
        """Gives the expression's id."""
        stored = await self.call("POST", "/expressions", {"expression": text, "optimize": optimize})
        return str(stored["id"])

    async def look(self, id: str) -> Any:
        """The expression as it stands, long texts cut."""
        return await self.call("GET", f"/expressions/{id}?full=false")

    async def done(self, id: str, expected: int | None = None) -> Any:
        """Wait for the end; gives the expression. Raises: AssertionError as `compute`."""
        while True:
            final = await self.call("GET", f"/expressions/{id}?wait={WAIT_S}&full=false")
            if final["finished_at"] is not None:
                break
        assert final["status"] == "done", final
        assert expected is None or final["result"] == str(expected), final["result"]
        return final


class Line:
    """One keep-alive connection that writes and reads no more than it must: where milliseconds count, httpx
    would be what is measured. Raises: AssertionError for an answer that is not 200."""

    def __init__(self, url: str, token: str) -> None:
        self._address = urlsplit(url)
        self._token = token

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def request(self, method: str, path: str, body: Any = None) -> bytes:
        """A request as it is written, for `exchange`."""
        content = b"" if body is None else json.dumps(body).encode()
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"Authorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        ).encode() + content

    async def exchange(self, request: bytes) -> bytes:
        """Write a request; gives the body of its answer."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 "), head
        _, _, length = head.partition(b"content-length:")
        return await self._reader.readexactly(int(length.split(None, 1)[0]))

    async def compute(self, text: str) -> Any:
        """Submit and wait for the end; gives the expression."""
        stored = json.loads(await self.exchange(self.request("POST", "/expressions", {"expression": text})))
        path = f"/expressions/{stored['id']}?wait={WAIT_S}&full=false"
        return json.loads(await self.exchange(self.request("GET", path)))


class Poster:
    """Posts the same body again and again."""

    def __init__(self, url: str, path: str, token: str, body: Any) -> None:
        self._url, self._token = url, token
        self._path, self._body = path, body

    async def post_until(self, end: float) -> list[float]:
        """Seconds of each request, one after the other on one connection, until `end` (of
        time.perf_counter())."""
        took: list[float] = []
        async with Line(self._url, self._token) as line:
            request = line.request("POST", self._path, self._body)
            while (began := time.perf_counter()) < end:
                await line.exchange(request)
                took.append(time.perf_counter() - began)
        return took
