"""The memory that bodies and answers take while requests are served, within one budget.

Quart collects a body as fast as it comes, before anybody has looked at the token; here it is read on only
when a route wants it, claims what it takes, and gives it back when its request ends. Small ones are free, so
that ordinary requests are served however many large ones there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, Final

from quart import Quart, Request
from quart.asgi import ASGIHTTPConnection
from quart.utils import cancel_tasks, raise_task_exceptions
from quart.wrappers.request import Body

from curta_server import metrics
from curta_server.api import answers
from curta_server.errors import Problem, unavailable
from curta_server.limits import Budget

FREE_BYTES: Final = 64 * 1024
"""As much as the server reads of a body in any case."""


class Claim:
    """What one request has claimed."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._bytes = 0

    def grow(self, bytes: int) -> bool:
        """Claim so many more; False where they are not left."""
        if not self._budget.claim(bytes):
            metrics.limited.labels("memory").inc()
            return False
        self._bytes += bytes
        return True

    def release(self) -> None:
        self._budget.give_back(self._bytes)
        self._bytes = 0


class _ClaimedBody(Body):
    """A body that claims what it holds. Who awaits it gets a Problem 503 where that was not to be had.

    Its beginning comes by itself, the rest once it is awaited.
    """

    def __init__(self, length: int | None, length_max: int | None, claim: Claim) -> None:
        super().__init__(length, length_max)
        self._claim = claim
        self._held = 0
        self._is_wanted = asyncio.Event()

    def __await__(self) -> Generator[Any, None, Any]:
        self._is_wanted.set()
        return super().__await__()

    async def has_room(self) -> None:
        """Return when more of it may come."""
        if self._held >= FREE_BYTES:
            await self._is_wanted.wait()

    def append(self, data: bytes) -> None:
        if self._must_raise is not None:
            return
        before, self._held = self._held, self._held + len(data)
        beyond = max(0, self._held - FREE_BYTES) - max(0, before - FREE_BYTES)
        if beyond and not self._claim.grow(beyond):
            self.clear()
            self._must_raise = _too_much()
            self.set_complete()
            return
        super().append(data)


class BoundedConnection(ASGIHTTPConnection):
    """Quart's side of an HTTP request, within the budget that `install` gave to the application."""

    def __init__(self, app: Quart, scope: Any) -> None:
        super().__init__(app, scope)
        self._claim = Claim(app.extensions[_EXTENSION])

    async def handle_messages(self, request: Request, receive: Any) -> None:
        body = request.body
        assert isinstance(body, _ClaimedBody)
        while True:
            await body.has_room()
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body.append(message.get("body", b""))
            if not message.get("more_body", False):
                body.set_complete()

    async def __call__(self, receive: Any, send: Any) -> None:
        request = self._create_request_from_scope(send)
        parts = {
            asyncio.create_task(self.handle_messages(request, receive)),
            asyncio.create_task(self.handle_request(request, send)),
        }
        done: set[asyncio.Task[None]] = set()
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Also where this is cancelled: Quart's own leaves a part behind that answers later on.
            await cancel_tasks(parts - done)
            self._claim.release()
        raise_task_exceptions(done)

    def _create_request_from_scope(self, send: Any) -> Request:
        request = super()._create_request_from_scope(send)
        length_max = self.app.config["MAX_CONTENT_LENGTH"]
        request.body = _ClaimedBody(request.content_length, length_max, self._claim)
        return request

    async def _send_response(self, send: Any, response: Any) -> None:
        size = response.content_length or 0
        if size > FREE_BYTES and not self._claim.grow(size):
            response = answers.problem(_too_much())
        await super()._send_response(send, response)


_EXTENSION: Final = "curta.bytes"


def install(app: Quart, budget: Budget) -> None:
    """Keep the requests of `app` within the budget."""
    app.extensions[_EXTENSION] = budget
    app.asgi_http_class = BoundedConnection


def _too_much() -> Problem:
    return unavailable("So much is being read and answered at the moment that there is no room for this.", 2)
