"""The life of an agent: one session after the other until it is told to stop, or told never to come back.

Called by `curta_agent.run_agent`; owns the agent's identity, its addresses and its present session.
"""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from uuid import uuid4

import structlog

from curta_agent import EXIT_OF_CODE
from curta_agent.addresses import Addresses
from curta_agent.connection import Connection, ConnectionFailed, ConnectionRefused, open_connection, trust
from curta_agent.ledger import Ledger
from curta_agent.session import (
    FINAL_CODES,
    GOODBYE_S,
    RESTARTS,
    Departed,
    Redirected,
    ServerBroke,
    ServerClosed,
    Session,
    SessionEnded,
)
from curta_agent.settings import AgentSettings
from curta_agent.slots import Slots
from curta_wire import PROTOCOL
from curta_wire.frames import OPERATIONS, Hello, Welcome
from curta_wire.offload import Offload

log = structlog.get_logger("curta.agent")

UNAUTHORIZED_S: Final = 5.0
"""How long an agent whose token is not accepted waits before it tries again: the token may be about to be
made, and if it is wrong for good, this is no burden. The log says so once a minute."""
REPEAT_LOG_S: Final = 60.0
CLOSING_S: Final = 1.0
"""Kept back from the time to leave, for closing the socket, the HTTP port and the child processes."""
DELIVERY_S: Final = 0.5
"""And so much for what was finished last to be brought and acknowledged."""
HEAVY_WORKERS_MAX: Final = 8
"""Child processes for arithmetic on large numbers, as far as there are cores and slots."""
_DEFECTS: Final = frozenset({1003, 1007, 1008, 1009})


async def run(settings: AgentSettings, stop: asyncio.Event | None = None) -> int:
    """See `curta_agent.run_agent`."""
    offload = Offload(min(settings.slots, os.cpu_count() or 1, HEAVY_WORKERS_MAX), 2 * settings.slots + 64)
    slots = Slots(settings.slots, Ledger(), offload)
    try:
        async with AsyncExitStack() as stack:
            try:
                agent = Agent(settings, slots, trust(settings.ca) if settings.ca else None)
                if settings.http:
                    # Imported only where it is used: most agents have no port of their own.
                    from curta_agent import http

                    host, port = settings.http_address()
                    port = await stack.enter_async_context(http.serve(agent, (host, port)))
                    log.info("own HTTP port open", host=host, port=port)
            except OSError as error:
                log.error("the agent cannot start", why=str(error))
                return 1
            if stop is None:
                stop = await stack.enter_async_context(_stop_signals(agent))
            return await agent.run(stop)
    finally:
        await slots.close()
        offload.close()


class Agent:
    """One agent. `id` is made here, at process start, and stays the same over all sessions."""

    def __init__(self, settings: AgentSettings, slots: Slots, tls: ssl.SSLContext | None) -> None:
        self.id = str(uuid4())
        self.settings = settings
        self.slots = slots
        self.session: Session | None = None
        """The present session, once it is established."""
        self.sessions = 0
        """How many there were, this one included."""
        self._tls = tls
        self._addresses = Addresses(settings.urls)
        self._leaving = asyncio.Event()
        self._limit: asyncio.Timeout | None = None
        self._is_conversing = False
        self._welcomed_at: float | None = None
        self._logged: tuple[str, float] = ("", 0.0)

    async def run(self, stop: asyncio.Event) -> int:
        """Serve until `stop` is set; gives the exit code of the process."""
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._leave_after(stop), name="agent stop")
            try:
                async with asyncio.timeout(None) as limit:
                    self._limit = limit
                    code = await self._serve()
            except TimeoutError:
                if not limit.expired():
                    raise
                code = 0
            finally:
                watch.cancel()
        ledger = self.slots.ledger
        log.info(
            "the agent has stopped",
            agent=self.id,
            handed_back=len(ledger.open),
            unacknowledged=len(ledger.results),
        )
        return code

    def leave(self, drain_s: float) -> None:
        """Finish what can be finished, deliver it, say `bye`, end: all within `drain_s`, or GOODBYE_S where
        that is longer. Again: end sooner."""
        left_s = max(drain_s, GOODBYE_S) - CLOSING_S
        self.slots.drain(min(drain_s, left_s - DELIVERY_S))
        self._leaving.set()
        if self._limit is not None:
            if not (self._is_conversing or self.slots.has_to_deliver()):
                left_s = 0.0
            end, before = asyncio.get_running_loop().time() + left_s, self._limit.when()
            self._limit.reschedule(end if before is None else min(before, end))

    async def _leave_after(self, stop: asyncio.Event) -> None:
        await stop.wait()
        log.info("stopping", agent=self.id, computing=len(self.slots.ledger.open))
        self.leave(self.settings.drain_s)

    async def _serve(self) -> int:
        loop = asyncio.get_running_loop()
        while not self._leaving.is_set() or self.slots.has_to_deliver():
            url, wait_s = self._addresses.next(loop.time(), is_holding=bool(self.slots.ledger.held()))
            await asyncio.sleep(wait_s)
            try:
                connection = await open_connection(url, self.settings.token, self._tls)
            except ConnectionFailed as failure:
                self._note_failure(url, failure)
                continue
            ended = await self._converse(url, connection)
            if isinstance(ended, Departed):
                break
            if isinstance(ended, ServerClosed) and ended.is_final:
                log.error(
                    "stopped by the orchestrator", why=FINAL_CODES[ended.code], code=ended.code, url=url
                )
                return EXIT_OF_CODE[ended.code]
            self._note_end(url, ended)
        return 0

    async def _converse(self, url: str, connection: Connection) -> SessionEnded:
        session = Session(url, connection, self.slots, self._leaving, self._on_welcome)
        self._welcomed_at = None
        self._is_conversing = True
        try:
            # In a task of its own: until Python 3.13 a TaskGroup whose child fails leaves its parent with a
            # cancellation too many in its count, and our own timeout would take it for somebody else's.
            return await asyncio.create_task(session.run(self._hello()), name="agent session")
        finally:
            self._is_conversing = False
            self.session = None

    def _hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL,
            agent=self.id,
            name=self.settings.name,
            slots=self.settings.slots,
            held=self.slots.ledger.held(),
            operations=list(self.settings.operations or OPERATIONS),
            version=f"curta {_version()}",
        )

    def _on_welcome(self, session: Session, welcome: Welcome) -> None:
        self.session = session
        self.sessions += 1
        self._welcomed_at = asyncio.get_running_loop().time()
        self._logged = ("", 0.0)
        self._addresses.welcomed(session.url, welcome.peers)
        log.info(
            "connected",
            url=session.url,
            agent=self.id,
            slots=self.settings.slots,
            kept=len(welcome.keep),
            dropped=len(welcome.drop),
        )

    def _note_end(self, url: str, ended: SessionEnded) -> None:
        now = asyncio.get_running_loop().time()
        match ended:
            case Redirected():
                log.info("redirected", url=url, to=ended.url, wait_s=round(ended.wait_s, 3))
                self._addresses.redirected(ended.url, ended.wait_s, now)
            case ServerBroke():
                log.error("the orchestrator broke the protocol", url=url, why=str(ended), code=ended.code)
            case ServerClosed() if ended.code in _DEFECTS:
                log.error("the orchestrator says that this agent broke the protocol", url=url, why=str(ended))
            case _:
                log.warning("disconnected", url=url, why=str(ended))
                if self._welcomed_at is not None:
                    restarts = isinstance(ended, ServerClosed) and ended.code == RESTARTS
                    self._addresses.ended(now - self._welcomed_at, restarts=restarts)

    def _note_failure(self, url: str, failure: ConnectionFailed) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(failure, ConnectionRefused):
            retry_after_s = failure.retry_after_s
            if failure.status in (401, 403):
                retry_after_s = max(retry_after_s or 0.0, UNAUTHORIZED_S)
            if retry_after_s is not None:
                self._addresses.refused(url, retry_after_s, now)
        what = f"{url} {failure}"
        said, said_at = self._logged
        if what != said or now - said_at >= REPEAT_LOG_S:
            self._logged = (what, now)
            log.warning("no connection, trying again", url=url, why=str(failure))


@asynccontextmanager
async def _stop_signals(agent: Agent) -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets; a second one of them cuts the draining short."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            agent.leave(0.0)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _version() -> str:
    try:
        return version("curta")
    except PackageNotFoundError:
        return "unknown"
