"""A small channel over one WebSocket: receive, send, close; bounded both ways.

Quart does the handshake (routing, authentication, refusals); afterwards frames go straight between us and
the server. Quart's own path puts what arrives into a queue without a limit, and gives way to the event loop
before each frame that it sends. Tests use anything with the same three methods.
"""

from typing import Any, Protocol, cast

from quart import Quart, Websocket
from quart.asgi import ASGIWebsocketConnection


class PeerGone(Exception):
    """The connection is closed; `code` is the peer's close code, 1006 where there was none."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}{': ' + reason if reason else ''}")
        self.code = code


class Channel(Protocol):
    """One connection. `receive` may be cancelled at any time; `send` only on a connection that is given up.

    `receive` raises PeerGone when the connection is over; `send` then says nothing.
    """

    async def receive(self) -> str | bytes: ...

    async def send(self, text: str) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...


_SCOPE_KEY = "curta.connection"


class DirectConnection(ASGIWebsocketConnection):
    """Quart's side of a WebSocket, without its queue: whoever reads reads from the server, which holds back a
    peer that talks faster than it is read."""

    def __init__(self, app: Quart, scope: Any) -> None:
        super().__init__(app, scope)
        scope[_SCOPE_KEY] = self
        self._receive: Any = None
        self._send: Any = None

    @classmethod
    def of(cls, websocket: Websocket) -> "DirectConnection":
        """The channel of a WebSocket that was accepted."""
        return cast("DirectConnection", cast("dict[str, Any]", websocket.scope)[_SCOPE_KEY])

    async def __call__(self, receive: Any, send: Any) -> None:
        self._receive, self._send = receive, send
        await receive()  # the server's word that somebody wants to connect
        await self.handle_websocket(self._create_websocket_from_scope(send), send)

    async def receive(self) -> str | bytes:
        event = await self._receive()
        if event["type"] != "websocket.receive":
            # Nobody is there any more to be told of a close.
            self._closed = True
            raise PeerGone(event.get("code") or 1006, event.get("reason") or "")
        text: str | None = event.get("text")
        data: bytes | None = event.get("bytes")
        return text if text is not None else data or b""

    async def send(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        if not self._closed:
            # A close frame carries at most 123 bytes of reason (RFC 6455, section 5.5).
            await self.close_connection(self._send, code, reason.encode()[:123].decode(errors="ignore"))
