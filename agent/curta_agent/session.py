"""The conversation with one orchestrator on one connection, from `hello` until either side is gone.

Made by `agent` for each connection; what is held lives in `slots` and its ledger and outlasts the session.
Four children that end only by raising: the reader, the writer, the beat, and one that listens for silence; a
fifth says goodbye once the agent stops.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

import structlog
from websockets.exceptions import ConnectionClosed

from curta_agent.addresses import redirect_target
from curta_agent.connection import Connection
from curta_agent.slots import Slots
from curta_wire.codec import ProtocolError, decode_from_server, encode, encode_bytes
from curta_wire.frames import (
    Ack,
    AgentFrame,
    Bye,
    Cancel,
    Drain,
    Heartbeat,
    Hello,
    Redirect,
    Results,
    ServerFrame,
    Tasks,
    Welcome,
)

log = structlog.get_logger("curta.agent")

WELCOME_TIMEOUT_S: Final = 10.0
"""How long an orchestrator may take to read `hello` and to answer it; afterwards its own `lease_s` counts."""
GOODBYE_S: Final = 5.0
"""How long a leaving agent waits for the last `ack`."""
INTERVAL_MIN_S: Final = 0.05
INTERVAL_MAX_S: Final = 86_400.0
"""Whatever a `welcome` says, beats and leases stay between these."""
REDIRECT_WAIT_MAX_S: Final = 60.0
REASON_BYTES_MAX: Final = 123
"""Of a close frame's reason (RFC 6455, 5.5)."""
FINAL_CODES: Final = {
    4000: "the orchestrator speaks another version of the protocol",
    4001: "the token was revoked",
    4002: "the same agent is connected elsewhere",
    4003: "an admin removed this agent",
}
"""Close codes after which an agent does not come back, and what they mean."""
RESTARTS: Final = 1012
"""The close code of an orchestrator that stops in good order."""


class SessionEnded(Exception):
    """Why a session is over; the subclasses say more."""

    @property
    def is_final(self) -> bool:
        """Whether this agent is not to come back."""
        return False


class ServerClosed(SessionEnded):
    """The other side closed, or the connection broke (`code` is 1006 then)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}{f' ({reason})' if reason else ''}")
        self.code = code
        self.reason = reason

    @property
    def is_final(self) -> bool:
        return self.code in FINAL_CODES


class ServerSilent(SessionEnded):
    """Nothing was heard for the lease."""

    def __init__(self, lease_s: float) -> None:
        super().__init__(f"nothing was heard for {lease_s:g} s")


class ServerBroke(SessionEnded):
    """The orchestrator broke the protocol; `code` is the close code that tells it so."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Redirected(SessionEnded):
    """Connect to `url`, a WebSocket URL that may be used, in `wait_s` seconds, which may be none."""

    def __init__(self, url: str, wait_s: float) -> None:
        super().__init__(f"redirected to {url}")
        self.url = url
        self.wait_s = wait_s


class Departed(SessionEnded):
    """The agent said `bye`."""

    def __init__(self) -> None:
        super().__init__("said bye")


class Session:
    """One connection's conversation.

    `leaving` is set once the agent is to leave, after `slots.drain`. `on_welcome` is called when the session
    is established; until then `welcome` is None.
    """

    def __init__(
        self,
        url: str,
        connection: Connection,
        slots: Slots,
        leaving: asyncio.Event,
        on_welcome: Callable[["Session", Welcome], None],
    ) -> None:
        self.url = url
        self.welcome: Welcome | None = None
        self.is_draining = False
        """The orchestrator said that it will send no more tasks."""
        self._connection = connection
        self._slots = slots
        self._ledger = slots.ledger
        self._leaving = leaving
        self._on_welcome = on_welcome
        self._group = asyncio.TaskGroup()
        self._wake = asyncio.Event()
        """Set when the writer has something to write."""
        self._seen = 0
        self._beat_is_due = False
        self._bye_is_due = False
        self._said_bye = asyncio.Event()
        self._all_stored = asyncio.Event()
        self._redirect: tuple[str, float] | None = None
        """Where to go, and when, on the event loop's clock."""

    async def run(self, hello: Hello) -> SessionEnded:
        """Converse until it ends; gives the reason. The connection is closed then, however it ended."""
        try:
            ended = self._meaning(await self._converse(hello))
        except BaseException:
            self._connection.transport.abort()
            raise
        finally:
            self._slots.on_outbox = _ignore
        if isinstance(ended, ServerSilent):
            # A closing handshake would only wait for somebody who does not speak.
            self._connection.transport.abort()
        else:
            code, reason = (ended.code, _short(ended)) if isinstance(ended, ServerBroke) else (1000, "")
            await self._connection.close(code, reason)
        return ended

    async def _converse(self, hello: Hello) -> SessionEnded:
        try:
            await self._open(hello)
        except SessionEnded as ended:
            return ended
        reasons: list[SessionEnded] = []
        try:
            async with self._group as group:
                group.create_task(self._read(), name="agent read")
                group.create_task(self._write(), name="agent write")
                group.create_task(self._beat(), name="agent beat")
                group.create_task(self._listen(), name="agent listen")
                group.create_task(self._depart(), name="agent depart")
        except* SessionEnded as group_ended:
            reasons += [error for error in group_ended.exceptions if isinstance(error, SessionEnded)]
        return reasons[0]

    def _meaning(self, ended: SessionEnded) -> SessionEnded:
        """What the end of the connection means in the light of what was said on it."""
        if isinstance(ended, ServerClosed | ServerSilent) and not ended.is_final:
            if self._said_bye.is_set():
                return Departed()
            if self._redirect is not None:
                url, due = self._redirect
                return Redirected(url, max(due - asyncio.get_running_loop().time(), 0.0))
        return ended

    async def _open(self, hello: Hello) -> None:
        try:
            async with asyncio.timeout(WELCOME_TIMEOUT_S):
                await self._send(hello)  # may be long, and nobody may take it
                frame = await self._receive()
                while frame is None:
                    frame = await self._receive()
        except TimeoutError:
            raise ServerSilent(WELCOME_TIMEOUT_S) from None
        if isinstance(frame, Redirect):
            target = redirect_target(self.url, frame.url)
            if target is None:
                raise ServerBroke(1008, f"a redirect to {frame.url[:100]!r} is refused")
            raise Redirected(target, _part_of(frame.retry_after_s))
        if not isinstance(frame, Welcome):
            raise ServerBroke(1008, "the first frame of an orchestrator is welcome or redirect")
        self.welcome = frame
        self._slots.forget(frame.drop)
        self._ledger.resend()
        self._slots.on_outbox = self._wake.set
        self._wake.set()
        self._on_welcome(self, frame)

    # --- the children ---

    async def _read(self) -> NoReturn:
        while True:
            frame = await self._receive()
            if frame is not None:
                self._handle(frame)

    async def _listen(self) -> NoReturn:
        """Any byte is a sign of life: on a slow link a long frame takes longer than silence is borne."""
        assert self.welcome is not None
        lease_s = _bounded(self.welcome.lease_s)
        loop = asyncio.get_running_loop()
        while (left_s := self._connection.heard_at + lease_s - loop.time()) > 0:  # noqa: ASYNC110
            # An event set by each byte would cost more than to look again.
            await asyncio.sleep(left_s)
        raise ServerSilent(lease_s)

    async def _write(self) -> None:
        """Results first, then the beat, last of all `bye`; whatever finished meanwhile shares a frame."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._ledger.outbox or self._beat_is_due:
                results = self._ledger.next_frame()
                if results:
                    await self._send(Results(results))
                if self._beat_is_due:
                    self._beat_is_due = False
                    await self._send(Heartbeat(self._ledger.held(), self._seen))
            if self._bye_is_due:
                await self._send(Bye())
                self._said_bye.set()
                self._note_stored()
                return

    async def _beat(self) -> NoReturn:
        assert self.welcome is not None
        loop = asyncio.get_running_loop()
        busy_s = _bounded(self.welcome.heartbeat_s)
        idle_s = _bounded(self.welcome.idle_heartbeat_s)
        last = loop.time()
        while True:
            due = last + (busy_s if self._ledger else idle_s)
            now = loop.time()
            if now >= due:
                last = now
                self._beat_is_due = True
                self._wake.set()
            else:
                # An idle agent looks more often than it beats: it may hold something by then.
                await asyncio.sleep(min(busy_s, due - now))

    async def _depart(self) -> NoReturn:
        """Once the agent is leaving: finish, deliver, say `bye`, wait for the last `ack`."""
        await self._leaving.wait()
        await self._slots.drained()
        self._bye_is_due = True
        self._wake.set()
        await self._said_bye.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._all_stored.wait()
        raise Departed

    async def _go(self, url: str, due: float) -> NoReturn:
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        raise Redirected(url, 0.0)

    # --- frames ---

    def _handle(self, frame: ServerFrame) -> None:
        match frame:
            case Tasks():
                # After `bye` everything is the orchestrator's again, also what crossed it.
                if not self._said_bye.is_set():
                    self._take(frame)
            case Ack():
                self._slots.forget(frame.tasks)
                if self._bye_is_due:
                    self._note_stored()
            case Cancel():
                self._slots.cancel(frame.tasks)
            case Drain():
                self.is_draining = True
                log.info("no more tasks will come, finishing what is held", url=self.url)
            case Redirect():
                self._leave_for(frame)
            case Welcome():
                raise ServerBroke(1008, "a second welcome")

    def _take(self, frame: Tasks) -> None:
        try:
            self._slots.take(frame.tasks)
        except ProtocolError as error:
            raise ServerBroke(error.code, error.reason) from None
        self._seen = frame.n
        self._deliver()

    def _deliver(self) -> None:
        """What was computed on the spot goes out in the same breath; the writer has the rest."""
        ledger, connection = self._ledger, self._connection
        while ledger.outbox and connection.is_ready and not self._beat_is_due:
            connection.put(encode_bytes(Results(ledger.next_frame())))
        if ledger.outbox:
            self._wake.set()

    def _leave_for(self, frame: Redirect) -> None:
        """Go there, after a random part of the time given; until then everything goes on here."""
        target = redirect_target(self.url, frame.url)
        if target is None:
            log.warning("a redirect is refused", url=self.url, to=frame.url[:100])
        elif self._redirect is None:
            due = asyncio.get_running_loop().time() + _part_of(frame.retry_after_s)
            self._redirect = (target, due)
            self._group.create_task(self._go(target, due), name="agent go")

    def _note_stored(self) -> None:
        if not self._ledger.results:
            self._all_stored.set()

    async def _receive(self) -> ServerFrame | None:
        try:
            return decode_from_server(await self._connection.recv())
        except ConnectionClosed as closed:
            raise _reason(closed) from None
        except ProtocolError as error:
            raise ServerBroke(error.code, error.reason) from None

    async def _send(self, frame: AgentFrame) -> None:
        try:
            await self._connection.send(encode(frame))
        except ConnectionClosed as closed:
            raise _reason(closed) from None


def _reason(closed: ConnectionClosed) -> SessionEnded:
    if closed.sent is not None and not closed.rcvd_then_sent:
        # Nobody but the library closes while frames are read and written: the other side broke its rules.
        return ServerBroke(closed.sent.code, closed.sent.reason)
    if closed.rcvd is None:
        return ServerClosed(1006, "the connection broke")
    return ServerClosed(closed.rcvd.code, closed.rcvd.reason)


def _bounded(interval_s: float) -> float:
    return min(max(interval_s, INTERVAL_MIN_S), INTERVAL_MAX_S)


def _short(ended: SessionEnded) -> str:
    return str(ended).encode("ascii", "replace")[:REASON_BYTES_MAX].decode()


def _part_of(retry_after_s: float | None) -> float:
    return random.random() * min(max(retry_after_s or 0.0, 0.0), REDIRECT_WAIT_MAX_S)


def _ignore() -> None:
    """No session to tell."""
