"""Passes requests on to the leader that only its memory can answer.

Called by the mark `led` of the routes. The leader checks the caller's token or session itself, so a forwarded
request can do nothing that its caller may not do. Which page made a browser ask is checked before a request
is passed on, and there alone: `Origin` is compared with the host that the browser asked, and the leader is
another. A request is passed on once: whoever gets a forwarded one and does not lead refuses it, and the
caller tries again.
"""

import logging
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import httpx

from curta_server import metrics
from curta_server.errors import unavailable
from curta_server.leadership import Leader

log = logging.getLogger(__name__)

FORWARDED: Final = "Curta-Forwarded"
"""The header that says that a request was passed on already."""

CONNECT_S: Final = 2.0
ANSWER_S: Final = 10.0
"""Beyond what the request itself may wait."""
CONNECTIONS_MAX: Final = 1_000
"""Each carries one request at a time, pulling agents' waits among them."""
IDLE_S: Final = 2.0
"""Shorter than the leader keeps an idle connection: a request is never sent on one that is being closed."""

# A connection's own affair, and not the request's (RFC 9110, section 7.6.1); what the client library writes
# itself; what proxies say of the caller, which the leader believes proxies alone; and what a browser says of
# the page that asks, see above.
_NOT_PASSED_ON: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade", "host", "content-length", "expect", "accept-encoding",
        "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto",
        "x-real-ip", "origin", "sec-fetch-site", FORWARDED.lower(),
    }
)  # fmt: skip
_BROUGHT_BACK: Final = frozenset({"allow", "content-type", "location", "retry-after", "www-authenticate"})


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived; `target` is path and query, `wait_s` how long it may wait by its own wish."""

    method: str
    target: str
    headers: Iterable[tuple[bytes, bytes]]
    body: bytes
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Leaders(Protocol):
    """What is asked of `leadership`."""

    @property
    def other(self) -> Leader | None: ...


class Forwarding:
    """Passes requests on over a bounded pool of connections, which `close` closes."""

    def __init__(self, leadership: Leaders, tls: ssl.SSLContext) -> None:
        self._leadership = leadership
        self._client = httpx.AsyncClient(
            verify=tls,
            trust_env=False,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=IDLE_S),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def send(self, request: Request) -> Answer:
        """The leader's answer. Raises: Problem 503 while nobody leads or the leader does not answer."""
        leader = self._leadership.other
        if leader is None:
            raise unavailable("No orchestrator leads at the moment.")
        headers = [
            *_passed_on(request.headers), (FORWARDED.encode(), b"1"), (b"Accept-Encoding", b"identity")
        ]  # fmt: skip
        try:
            response = await self._client.request(
                request.method,
                leader.url.rstrip("/") + request.target,
                headers=headers,
                content=request.body,
                timeout=httpx.Timeout(CONNECT_S, read=request.wait_s + ANSWER_S, write=ANSWER_S),
            )
        except (httpx.TransportError, httpx.InvalidURL) as error:
            metrics.forwarded_requests.labels("unanswered").inc()
            log.warning("the leader at %s does not answer: %s", leader.url, error or type(error).__name__)
            raise unavailable("The leader does not answer at the moment.") from None
        metrics.forwarded_requests.labels("answered").inc()
        found = {name: value for name, value in response.headers.items() if name in _BROUGHT_BACK}
        return Answer(response.status_code, found, response.content)


def _passed_on(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The end-to-end headers: without those that a proxy keeps, and those that `Connection` names."""
    known = [(name.decode("latin-1").lower(), name, value) for name, value in headers]
    named = {
        word.strip().lower()
        for word_of, _, value in known
        if word_of == "connection"
        for word in value.decode("latin-1").split(",")
    }
    return [(name, value) for lower, name, value in known if lower not in _NOT_PASSED_ON | named]
