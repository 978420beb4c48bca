"""Wakes orchestrators up by LISTEN and NOTIFY, on a connection of its own.

A notice says that something changed, never what is true: the table is the truth, and a slow poll behind every
notice finds what a lost one missed. Run by `app`; the API sends, the dispatcher listens.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args
from uuid import UUID

from curta_server import store

if TYPE_CHECKING:
    import asyncpg

log = logging.getLogger(__name__)

Topic = Literal["expressions", "cancelled", "operations"]
"""New expressions wait in the table; one was cancelled (its id is the detail); a duration was changed."""

Listener = Callable[[str], None]

_CHANNEL = "curta"
# One statement for many: its commit takes a lock that all senders share.
_SEND = "SELECT pg_notify($1, notice) FROM unnest($2::text[]) AS notice"
_WAITING_MAX = 10_000
_PROBE_S = 15.0
"""A connection that is silent for so long is asked whether it still lives."""
_RETRY_MAX_S = 2.0


class Notices:
    """Sends and hears notices of all orchestrators, its own included.

    After a gap every listener is called with an empty detail, for a notice may have been missed.
    """

    def __init__(self, database_url: str, *, id: UUID) -> None:
        self._database_url = database_url
        self._name = f"curta notices {id}"
        self._listeners: dict[str, list[Listener]] = {topic: [] for topic in get_args(Topic)}
        # A dictionary for its order: equal notices are sent once.
        self._waiting: dict[str, None] = {}
        self._wake = asyncio.Event()

    def listen(self, topic: Topic, listener: Listener) -> None:
        """Have `listener(detail)` called in the event loop, for as long as `run` runs. It must not block."""
        self._listeners[topic].append(listener)

    def send(self, topic: Topic, detail: str = "") -> None:
        """Tell all orchestrators, soon; never waits. While the database is away notices are kept, the newest
        of too many are dropped."""
        if len(self._waiting) < _WAITING_MAX:
            self._waiting[f"{topic}:{detail}"] = None
            self._wake.set()

    async def run(self) -> None:
        """Send and hear until cancelled; reconnects by itself, with jitter."""
        delay_s = 0.1
        while True:
            try:
                connection = await store.connect(self._database_url, name=self._name, statement_timeout_s=5)
                delay_s = 0.1
                try:
                    await self._serve(connection)
                finally:
                    connection.terminate()
            except Exception as error:
                if not store.is_outage(error):
                    raise
                log.debug("notices are cut off: %s", error or type(error).__name__)
            await asyncio.sleep(random.uniform(0, delay_s))
            delay_s = min(_RETRY_MAX_S, delay_s * 2)

    async def _serve(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        connection.add_termination_listener(lambda _: self._wake.set())
        await connection.add_listener(_CHANNEL, self._hear)
        for topic in self._listeners:
            self._call(topic, "")
        while True:
            if self._waiting:
                # Taken out first: what is sent again meanwhile tells of something newer.
                batch, self._waiting = self._waiting, {}
                try:
                    await connection.execute(_SEND, _CHANNEL, list(batch))
                except BaseException:
                    self._waiting = batch | self._waiting
                    raise
            self._wake.clear()
            if self._waiting:
                continue
            try:
                async with asyncio.timeout(_PROBE_S):
                    await self._wake.wait()
            except TimeoutError:
                await connection.execute("SELECT 1")
            if connection.is_closed():
                raise ConnectionResetError("closed by the database")

    def _hear(self, connection: object, pid: int, channel: str, payload: object) -> None:
        topic, _, detail = str(payload).partition(":")
        self._call(topic, detail)

    def _call(self, topic: str, detail: str) -> None:
        # A topic of a later release has no listeners here.
        for listener in self._listeners.get(topic, ()):
            listener(detail)
