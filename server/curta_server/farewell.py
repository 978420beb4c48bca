"""What a request gets whose time is up because this process stops: a 503, as it may be tried again elsewhere.

Wrapped around the application by `app`. uvicorn cancels what is still being answered when the time for it is
over, and would itself call that a defect of ours (a 500 in plain text).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from curta_server.errors import last_answer, unavailable

# Every ASGI library has types of its own for these; they agree in being mappings with a `type`.
Message = Any
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Any, Any], Awaitable[None]]


class Farewell:
    """An ASGI application around another. A request that is cancelled before its answer began is answered
    with 503 and `Retry-After`, on a connection that closes then."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        has_begun = False

        async def note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._application(scope, receive, note)
        except asyncio.CancelledError:
            if has_begun:
                raise
            # The cancellation ends here: this is the outermost frame of the request's own task, which has
            # nothing left to do.
            await _answer(send)


async def _answer(send: Send) -> None:
    problem = unavailable("This orchestrator is stopping.")
    headers, body = last_answer(problem)
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
