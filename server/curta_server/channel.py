"""A small channel over one WebSocket: receive, send, close; bounded both ways.

Quart does the handshake (routing, authentication, refusals); afterwards frames go straight between us and
the server. Quart's own path puts what arrives into a queue without a limit, and gives way to the event loop
before each frame that it sends. Tests use anything with the same three methods.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from quart import Quart, Websocket
from quart.asgi import ASGIWebsocketConnection
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

PARTS_EVERY_S: Final = 0.25
"""So often at most it is told that part of a frame came."""

FRAME_S: Final = 300.0
"""A frame that is not complete after so long is no sign of life any more: 4 MiB at 14 KB/s."""


UNREAD_MAX: Final = 4
SHORT_BYTES: Final = 16 * 1024
"""So many messages of this size may wait to be taken before a peer is held back."""


class PeerGone(Exception):
    """The connection is closed; `code` is the peer's close code, 1006 where there was none."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}{': ' + reason if reason else ''}")
        self.code = code


class Channel(Protocol):
    """One connection. `receive` may be cancelled at any time; `send` only on a connection that is given up.

    `receive` raises PeerGone when the connection is over; `send` then says nothing. `on_part` is called now
    and then while a long frame comes in: it may take longer than silence is borne.
    """

    on_part: Callable[[], None]

    async def receive(self) -> str | bytes: ...

    async def send(self, text: str) -> None: ...

    def put(self, frame: bytes) -> bool:
        """Write a frame of `frame_of` now, without waiting: for whoever has to say much, or must not wait.
        False, and nothing written, where the peer has not taken what was written before, or is gone."""

    async def writable(self) -> None:
        """Return when the peer has taken most of what was written. Raises: PeerGone."""

    async def close(self, code: int, reason: str) -> None: ...


_SCOPE_KEY = "curta.connection"
_WRITER_KEY = "curta.writer"
_PART = "curta.part"


def frame_of(text: bytes) -> bytes:
    """A message of text as it goes over the wire to a client (RFC 6455, section 5.2): unmasked, so that all
    clients can be sent the same bytes."""
    length = len(text)
    if length < 126:
        head = bytes((0x81, length))
    elif length < 65_536:
        head = b"\x81\x7e" + length.to_bytes(2, "big")
    else:
        head = b"\x81\x7f" + length.to_bytes(8, "big")
    return head + text


class PartsProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which hands over whole messages, and beside them says that part of one came; and
    takes frames that are made already. It reads on while few and short messages wait to be taken: uvicorn
    would stop and go on for each, which costs two system calls."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._told_s = self._begun_s = 0.0
        self._is_whole = False

    def send_receive_event_to_app(self) -> None:
        self._is_whole = True
        is_paused = self.read_paused
        if self.queue.qsize() < UNREAD_MAX and sum(map(len, self.frames)) <= SHORT_BYTES:
            self.read_paused = True  # as if it were done already
            super().send_receive_event_to_app()
            self.read_paused = is_paused
        else:
            super().send_receive_event_to_app()

    def data_received(self, data: bytes) -> None:
        self._is_whole = False
        super().data_received(data)
        if self._is_whole or self.read_paused or not self.handshake_complete or self.disconnected:
            self._begun_s = 0.0  # a frame is complete, or there will be none
            return
        now = time.monotonic()
        if not self._begun_s:
            self._begun_s = now
        if now - self._told_s >= PARTS_EVERY_S and now - self._begun_s < FRAME_S:
            self._told_s = now
            self.queue.put_nowait(cast(Any, {"type": _PART}))

    async def run_asgi(self) -> None:
        cast("dict[str, Any]", self.scope["extensions"])[_WRITER_KEY] = self
        await super().run_asgi()

    def put(self, frame: bytes) -> bool:
        """As Channel.put."""
        if not self.writable.is_set() or self.disconnected or self.close_sent:
            return False
        self.transport.write(frame)
        return True


class DirectConnection(ASGIWebsocketConnection):
    """Quart's side of a WebSocket, without its queue: whoever reads reads from the server, which holds back a
    peer that talks faster than it is read."""

    def __init__(self, app: Quart, scope: Any) -> None:
        super().__init__(app, scope)
        scope[_SCOPE_KEY] = self
        self._receive: Any = None
        self._send: Any = None
        self.on_part: Callable[[], None] = _ignore

    @classmethod
    def of(cls, websocket: Websocket) -> "DirectConnection":
        """The channel of a WebSocket that was accepted."""
        return cast("DirectConnection", cast("dict[str, Any]", websocket.scope)[_SCOPE_KEY])

    async def __call__(self, receive: Any, send: Any) -> None:
        self._receive, self._send = receive, send
        await receive()  # the server's word that somebody wants to connect
        await self.handle_websocket(self._create_websocket_from_scope(send), send)

    async def receive(self) -> str | bytes:
        while (event := await self._receive())["type"] == _PART:
            self.on_part()
        if event["type"] != "websocket.receive":
            # Nobody is there any more to be told of a close.
            self._closed = True
            raise PeerGone(event.get("code") or 1006, event.get("reason") or "")
        text: str | None = event.get("text")
        data: bytes | None = event.get("bytes")
        return text if text is not None else data or b""

    async def send(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    def put(self, frame: bytes) -> bool:
        return self._writer.put(frame)

    async def writable(self) -> None:
        writer = self._writer
        await writer.writable.wait()
        if writer.disconnected or writer.close_sent:
            raise PeerGone(1006, "")

    @functools.cached_property
    def _writer(self) -> PartsProtocol:
        return cast("PartsProtocol", self.scope["extensions"][_WRITER_KEY])

    async def close(self, code: int, reason: str) -> None:
        if not self._closed:
            # A close frame carries at most 123 bytes of reason (RFC 6455, section 5.5).
            await self.close_connection(self._send, code, reason.encode()[:123].decode(errors="ignore"))


def _ignore() -> None:
    """Nobody asked."""
