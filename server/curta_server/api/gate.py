"""What each token and each user may have at once: the limits that routes ask for before they do anything.

Who is over a limit gets 429 with `Retry-After`, and nothing was done. Kept for one orchestrator: with
several, each has its own, but for the open expressions, which all of them count.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final
from uuid import UUID

from curta_server import metrics
from curta_server.api.access import ended
from curta_server.credentials import TokenEnded
from curta_server.errors import Problem, unavailable
from curta_server.limits import Buckets, Budget, Places
from curta_server.quota import Quota, Taken

if TYPE_CHECKING:
    from curta_server.api.services import Services
    from curta_server.known_tokens import Token

BURST_S: Final = 2.0
"""So many seconds' worth of submissions may come at once."""
CROWDED_S: Final = 5
"""When to come back where too much is open: as long as the grace of a lost connection."""


class Gate:
    """The limits of one application. `bytes` are those of bodies and answers in memory."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._credentials = services.credentials
        self._submissions: Buckets[UUID] = Buckets(
            settings.submissions_per_s, settings.submissions_per_s * BURST_S
        )
        self._open = Quota(services.engine, settings.open_expressions_max)
        self._waiting: Places[UUID] = Places(settings.waiting_per_token_max, settings.http_connections_max)
        self._sockets: Places[UUID] = Places(settings.agents_per_token_max, settings.agents_max)
        self._viewers: Places[UUID] = Places(settings.viewers_per_token_max, settings.viewers_max)
        self.bytes = Budget(settings.bodies_bytes_max)

    def submit(self, token: Token, count: int = 1) -> None:
        """So many expressions are to be planned. Raises: Problem 429 where they come too fast."""
        wait_s = self._submissions.take(token.id, count, time.monotonic())
        if wait_s:
            raise _later("rate", "Expressions come faster with this token than is allowed.", wait_s)

    def places(self, owner: str, count: int) -> AbstractAsyncContextManager[Taken]:
        """So many expressions are to be stored by the block, all of the owner's; it says how many were new.
        Raises: Problem 429 where too many of them are open."""
        return self._open.places(owner, count)

    @asynccontextmanager
    async def while_good(self, token: Token) -> AsyncIterator[None]:
        """The block waits for somebody else. Raises: Problem 401 as soon as the token is good no more."""
        try:
            async with self._credentials.while_good(token):
                yield
        except TokenEnded:
            raise ended(is_session=token.session is not None) from None

    @asynccontextmanager
    async def waiting(self, token: Token) -> AsyncIterator[None]:
        """A request that waits for something in the block. Raises: Problem 429 where too many of the token's
        do, 401 as soon as the token is good no more."""
        if not self._waiting.take(token.id):
            raise _later("waiting", "So many requests with this token are waiting already.", CROWDED_S)
        try:
            async with self.while_good(token):
                yield
        finally:
            self._waiting.give_back(token.id)

    @contextmanager
    def socket(self, token: Token) -> Iterator[None]:
        """A WebSocket that is open as long as the block. Raises: Problem 429 where the token has too many,
        503 where there are too many of all."""
        if not self._sockets.take(token.id):
            if self._sockets.is_full:
                raise unavailable("So many agents are connected that no more can be served.", CROWDED_S)
            raise _later("sockets", "So many agents are connected with this token already.", CROWDED_S)
        try:
            yield
        finally:
            self._sockets.give_back(token.id)

    @contextmanager
    def viewer(self, token: Token) -> Iterator[None]:
        """A browser's WebSocket that is open as long as the block. Raises as `socket`."""
        if not self._viewers.take(token.id):
            if self._viewers.is_full:
                raise unavailable("So many browsers are connected that no more can be served.", CROWDED_S)
            raise _later("viewers", "So many browsers are connected with this token already.", CROWDED_S)
        try:
            yield
        finally:
            self._viewers.give_back(token.id)


def _later(limit: str, detail: str, wait_s: float) -> Problem:
    metrics.limited.labels(limit).inc()
    return Problem("too_many_requests", detail, headers={"Retry-After": str(max(1, math.ceil(wait_s)))})
