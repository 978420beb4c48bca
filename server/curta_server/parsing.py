"""The server's HTTP and WebSockets: uvicorn's, with the limits that it has not and our kind of refusals.

Built by `app` for each connection. A head that is too long or too slow, a body that nobody reads any more, an
answer that nobody takes, requests sent ahead without end, too many connections: each ends that connection and
costs nobody else anything. What is refused here never becomes a request. Knows no routes and no tokens.
"""

import asyncio
import sys
import time
from http import HTTPStatus
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from curta_server import metrics
from curta_server.channel import PartsProtocol
from curta_server.connections import ANSWERING, CLOSING, HEAD, IDLE, REST, Connections
from curta_server.errors import Problem, last_answer, unavailable

PIPELINE_MAX: Final = 16
"""Requests sent ahead of their answers. Each is a hundred times larger here than on the wire."""


class BoundedHttp(HttpToolsProtocol):
    """One connection. `head_bytes_max` is the size of a request's line and headers together."""

    def __init__(
        self,
        connections: Connections,
        head_bytes_max: int,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._known = connections
        self._head_bytes_max = head_bytes_max
        self._is_deaf = False
        self._is_in_message = False
        self._is_in_head = False
        self._idle_bytes = 0
        self._answered = 0
        self._inner, self.app = self.app, self._answer

    # --- from the transport -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        has_room = self._known.make_room()
        self._known.enter(self, HEAD, time.monotonic())
        if not has_room:
            self._refuse(unavailable("So many connections are open that no more can be served."))

    def connection_lost(self, exc: Exception | None) -> None:
        self._known.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if self._known.phase(self) == IDLE:
            self._known.enter(self, HEAD, time.monotonic())
        # Bytes that lead to nothing yet: a head, or what may stand around the chunks of a body.
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._idle_bytes > self._head_bytes_max and not self._is_deaf:
            self._refuse(self._too_long())

    # --- from the parser --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._is_in_message = self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        if size > self._head_bytes_max:
            raise _Refused(self._too_long())
        if len(self.pipeline) >= PIPELINE_MAX:
            raise _Refused(Problem("malformed", "Wait for answers before you send more requests."))
        self._idle_bytes = 0
        super().on_headers_complete()
        self._is_in_head = False
        if not self.parser.should_upgrade():
            # The request has its own; what may come behind a body in chunks is of no use to anybody.
            self.headers = []
        self._known.enter(self, ANSWERING, time.monotonic())

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._idle_bytes = 0
        self._is_in_message = False
        super().on_message_complete()
        if self._known.phase(self) == REST:
            self._known.enter(self, IDLE, time.monotonic())

    def handle_websocket_upgrade(self) -> None:
        self._known.leave(self)
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser fails, whoever made it fail."""
        error = sys.exc_info()[1]
        cause = error.__context__ if error is not None else None
        self._refuse(
            cause.problem
            if isinstance(cause, _Refused)
            else Problem("malformed", f"This is no valid HTTP request: {msg}")
        )

    # --- answers ----------------------------------------------------------------------------------

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        answered = self._answered
        await self._inner(scope, receive, send)
        if self._answered == answered and self._known.phase(self) is not None:
            # Nobody took the answer in time; uvicorn closes now, which waits for what is written already.
            self._known.enter(self, CLOSING, time.monotonic())

    def on_response_complete(self) -> None:
        self._answered += 1
        super().on_response_complete()
        if self._known.phase(self) is None:
            return
        if self.transport.is_closing():
            self._known.enter(self, CLOSING, time.monotonic())
        elif self.cycle.response_complete:
            phase = HEAD if self._is_in_head else REST if self._is_in_message else IDLE
            self._known.enter(self, phase, time.monotonic())

    def _refuse(self, problem: Problem) -> None:
        """Say why, where the answer cannot be taken for another request's, hear no more, and close."""
        self._is_deaf = True
        metrics.http_refusals.labels(problem.code).inc()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._is_in_head or not self._is_in_message or cycle.response_started or self.pipeline:
                cycle.keep_alive = False  # what came before is answered, then it is closed
                return
        self.transport.write(_response(problem).serialize())
        self.end()

    def _too_long(self) -> Problem:
        return Problem("too_long", f"A request's line and headers have at most {self._head_bytes_max} bytes.")

    # --- from the connections ---------------------------------------------------------------------

    def end(self) -> None:
        self.transport.close()
        self._known.enter(self, CLOSING, time.monotonic())

    def abort(self) -> None:
        self.transport.abort()


class _Refused(Exception):
    """Stops the parser: the request is well formed and not wanted."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def _response(problem: Problem) -> Response:
    headers, body = last_answer(problem)
    return Response(problem.status, HTTPStatus(problem.status).phrase, Headers(headers), body)


def _refusal(status: int, text: str) -> Response:
    """The answer to a handshake that `websockets` refuses with the status; the text's first line says why."""
    code = {HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed", HTTPStatus.INTERNAL_SERVER_ERROR: "internal"}
    # Those who speak another version are told ours (RFC 6455, section 4.4).
    ours = {"Sec-WebSocket-Version": "13"}
    problem = Problem(code.get(HTTPStatus(status), "malformed"), text.partition("\n")[0], headers=ours)
    metrics.http_refusals.labels(problem.code).inc()
    return _response(problem)


class BoundedSocket(PartsProtocol):
    """One WebSocket, from its upgrade on. Who does not read is dropped, and gets no pongs meanwhile."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._known = connections
        self.conn.reject = _refusal  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._known.enter(self, HEAD, time.monotonic())
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.handshake_initiated:
            # Heads are handed over whole: what HTTP took for a handshake is none to a stricter reader.
            if not (answer := b"".join(self.conn.data_to_send())):
                answer = _refusal(HTTPStatus.BAD_REQUEST, "This is no valid WebSocket handshake.").serialize()
            self.transport.write(answer)
            self.end()

    def handle_connect(self, event: Request) -> None:
        self._known.leave(self)
        super().handle_connect(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._known.flow(self)
        self._known.leave(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._known.stall(self, time.monotonic())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._known.flow(self)

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            # The answer has been made already; written, it would pile up for who asks and does not listen.
            self.conn.data_to_send()

    async def run_asgi(self) -> None:
        await super().run_asgi()
        if not self.disconnected:
            # It is closed, or will be; that waits for what is written already, if it must for ever.
            self._known.enter(self, CLOSING, time.monotonic())

    def unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    def end(self) -> None:
        self.transport.close()
        self._known.enter(self, CLOSING, time.monotonic())

    def abort(self) -> None:
        self.transport.abort()
