"""Who leads: a session-level advisory lock on a connection of its own, and a row with term, leader and beat.

The lock decides who may begin a term, the row's epoch fences every write of a term that is over, and the beat
tells a leader that hangs from one that works. The row also says where the leader is reached, and the term's
secret, by which it knows the other orchestrators. Run by `app` for the life of the process; knows nothing of
what a leader does.

    free at the start of this process ──────────────┐
    freed by a leader that stopped in good order ───┤
    free for 2 s (whose connection was cut is first)├──► lock ──► epoch + 1 ──► on_term(epoch) ──► beats every
    2 s held, but no beat for 8 s: its backend is ended ┘                                  │
                            no beat of ours got through for 8 s, or NotLeading ◄───────┘
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from curta_server import store
from curta_server.clock import DatabaseClock
from curta_server.errors import NotLeading

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[asyncpg.Record]

log = logging.getLogger(__name__)

BEAT_S = 2.0
POLL_S = 1.0
FREE_S = 2.0
"""A lock that was cut off belongs to its leader for so long: no recovery for a blip."""
TRUST_S = 8.0
"""A leader believes in itself for so long after it SENT its last good beat, and so long others believe in it
after it arrived, which is later: its own trust always ends first."""
STATEMENT_TIMEOUT_S = 2.0
_BEAT_TIMEOUT_S = STATEMENT_TIMEOUT_S + 0.5
_RETRY_S = 0.25

_LOCK = 0x4355525441_01
"""Any number that nobody else takes: "CURTA" and a 1."""

_HOLDERS = f"""
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid = {_LOCK >> 32} AND objid = {_LOCK & 0xFFFFFFFF}
"""

_LOOK = f"""
    SELECT epoch, leader, url, secret, extract(epoch FROM clock_timestamp() - beat)::float8 AS age_s,
           (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS clock_us,
           NOT EXISTS ({_HOLDERS}) AS is_free
    FROM leadership WHERE id = 1
"""

# With its lock go its other connections, which may hold locks in the middle of a transaction: their names end
# with the leader's id (see store.connect).
_END_LEADER = f"""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND datname = current_database()
      AND (pid IN ({_HOLDERS}) OR application_name LIKE '%' || $1::text)
"""

_TRY_LOCK = f"SELECT pg_try_advisory_lock({_LOCK})"

# FOR UPDATE waits for every write of the old term that is under way (they hold FOR KEY SHARE), and later ones
# wait for us and then find another epoch.
_LOCK_ROW = "SELECT epoch, leader FROM leadership WHERE id = 1 FOR UPDATE"

_BEGIN_TERM = """
    UPDATE leadership
    SET epoch = epoch + 1, leader = $1, url = $2, secret = $3, beat = clock_timestamp()
    WHERE id = 1 RETURNING epoch, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS clock_us
"""

_BEAT = """
    UPDATE leadership SET beat = clock_timestamp() WHERE id = 1 AND epoch = $1 AND leader = $2
    RETURNING (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
"""

_RESIGN = """
    UPDATE leadership SET leader = NULL, url = NULL, secret = NULL, beat = NULL WHERE id = 1 AND epoch = $1
"""


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads, as this process saw it last."""

    epoch: int
    id: UUID
    url: str
    secret: str = field(default="", repr=False, compare=False)
    """What the other orchestrators show it in this term. Never in a log."""


class Leadership:
    """This process's part in choosing a leader.

    `on_term(epoch)` runs while this process leads and is cancelled when the term ends. If it raises
    NotLeading, or returns, the term ends; any other error is a defect and ends `run`.
    """

    def __init__(
        self,
        database_url: str,
        *,
        id: UUID,
        url: str,
        on_term: Callable[[int], Awaitable[None]],
    ) -> None:
        self._database_url = database_url
        self._id = id
        self._url = url
        self._on_term = on_term
        self._connection: Connection | None = None
        self._epoch = 0
        self._trusted_until = 0.0
        self.clock = DatabaseClock()
        """Measured at each beat."""
        self._leader: Leader | None = None
        self._changed = asyncio.Event()

    @property
    def id(self) -> UUID:
        """This process."""
        return self._id

    @property
    def leader(self) -> Leader | None:
        """Who leads, this process included; None while nobody is known to."""
        return self._leader

    @property
    def other(self) -> Leader | None:
        """Who leads, where it is another process; None also while nobody is known to."""
        return None if self._leader is None or self._leader.id == self._id else self._leader

    def _see(self, leader: Leader | None) -> None:
        if leader != self._leader:
            self._leader = leader
            self._changed.set()
            self._changed = asyncio.Event()

    async def other_than(self, leader: Leader | None) -> Leader | None:
        """Who leads, as soon as it is somebody else than `leader`, or the same in another term."""
        while self._leader == leader:
            await self._changed.wait()
        return self._leader

    @property
    def epoch(self) -> int:
        """The term that this process leads, 0 when it does not. Turns 0 by the clock alone, even when the
        process was stopped in between and has not run since."""
        return self._epoch if time.monotonic() < self._trusted_until else 0

    async def run(self) -> None:
        """Lead whenever possible, until cancelled; then hand over at once."""
        is_new = True
        while True:
            try:
                await self._acquire(is_new)
                is_new = False
                # In a task of its own: on Python 3.11 a group whose child failed leaves its task marked as
                # being cancelled, and a later asyncio.timeout in it would let the cancellation through.
                async with asyncio.TaskGroup() as leading:
                    leading.create_task(self._lead(), name="leading")
            finally:
                await self._resign()

    async def _acquire(self, is_new: bool) -> None:
        """Return when this process holds the lock and has begun a term."""
        free_since: float | None = None
        unchanged_since = time.monotonic()
        seen: tuple[object, ...] = ()
        while True:
            try:
                connection = self._connection or await self._connect()
                looked_at = time.monotonic()
                row = await connection.fetchrow(_LOOK)
                assert row is not None
                self.clock.measure(looked_at, row["clock_us"], time.monotonic())
                self._see(_leader_of(row))
                if seen != (now_seen := (row["epoch"], row["leader"], row["is_free"])):
                    seen, unchanged_since = now_seen, looked_at
                # A holder that has not beaten yet is just beginning its term, or hangs in doing so.
                age_s = looked_at - unchanged_since if row["age_s"] is None else row["age_s"]
                if not row["is_free"]:
                    free_since = None
                    if age_s > TRUST_S:
                        log.warning("leader %s does not beat: ending its connections", row["leader"])
                        await connection.fetch(_END_LEADER, str(row["leader"] or "no leader"))
                        continue
                else:
                    free_since = looked_at if free_since is None else free_since
                    is_ours = row["leader"] in (None, self._id)
                    if is_new or is_ours or age_s > TRUST_S or looked_at - free_since >= FREE_S:
                        if await connection.fetchval(_TRY_LOCK):
                            await self._begin_term(connection)
                            return
                is_new = False
            except Exception as error:
                if not store.is_outage(error):
                    raise
                await self._disconnect()
                self._see(None)
                log.debug("the database is away: %s", error)
            await asyncio.sleep(POLL_S)

    async def _begin_term(self, connection: "Connection") -> None:
        secret = secrets.token_urlsafe(32)
        sent = time.monotonic()
        async with connection.transaction():
            await connection.execute(_LOCK_ROW)
            row = await connection.fetchrow(_BEGIN_TERM, self._id, self._url, secret)
        assert row is not None
        self.clock.measure(sent, row["clock_us"], time.monotonic())
        self._epoch, self._trusted_until = row["epoch"], sent + TRUST_S
        self._see(Leader(self._epoch, self._id, self._url, secret))
        log.info("leading term %s", self._epoch)

    async def _lead(self) -> None:
        epoch = self._epoch
        try:
            async with asyncio.TaskGroup() as term:
                term.create_task(self._beats(epoch), name=f"beats of term {epoch}")
                term.create_task(self._serve(epoch), name=f"term {epoch}")
        except* NotLeading as ended:
            log.warning("term %s is over: %s", epoch, ended.exceptions[0])
        finally:
            self._epoch = 0

    async def _serve(self, epoch: int) -> None:
        await self._on_term(epoch)
        raise NotLeading("there is nothing more to lead")

    async def _beats(self, epoch: int) -> None:
        next_beat = time.monotonic() + BEAT_S
        while True:
            await asyncio.sleep(max(0.0, next_beat - time.monotonic()))
            sent = time.monotonic()
            try:
                # Short, so that there is time for another try on a new connection.
                async with asyncio.timeout(min(_BEAT_TIMEOUT_S, max(0.0, self._trusted_until - sent))):
                    connection = self._connection or await self._relock(epoch)
                    clock_us = await connection.fetchval(_BEAT, epoch, self._id)
            except Exception as error:
                if not store.is_outage(error):
                    raise
                await self._disconnect()
                if time.monotonic() >= self._trusted_until:
                    self._epoch = 0
                    raise NotLeading(f"no beat got through for {TRUST_S:.0f} s") from error
                log.warning("a beat failed, trying again: %s", error or type(error).__name__)
                next_beat = time.monotonic() + _RETRY_S
                continue
            if clock_us is None:
                self._epoch = 0
                raise NotLeading("another term has begun")
            self.clock.measure(sent, clock_us, time.monotonic())
            self._trusted_until = sent + TRUST_S
            next_beat = sent + BEAT_S

    async def _relock(self, epoch: int) -> "Connection":
        """Take the lock again on a new connection, within the term: nobody else has led in between if the row
        still names us. Raises NotLeading, or TimeoutError while the old connection's lock is not gone yet."""
        connection = await self._connect()
        if not await connection.fetchval(_TRY_LOCK):
            raise TimeoutError("the lock is held")
        row = await connection.fetchrow(_LOCK_ROW)
        if row is None or (row["epoch"], row["leader"]) != (epoch, self._id):
            self._epoch = 0
            raise NotLeading("another term has begun")
        log.info("leading term %s again", epoch)
        return connection

    async def _connect(self) -> "Connection":
        self._connection = await store.connect(
            self._database_url,
            name=f"curta leadership {self._id}",
            statement_timeout_s=STATEMENT_TIMEOUT_S,
        )
        return self._connection

    async def _resign(self) -> None:
        connection, self._connection = self._connection, None
        epoch = self.leader.epoch if self.leader is not None and self.leader.id == self._id else 0
        self._epoch = 0
        self._see(None)
        if connection is None:
            return
        try:
            # So that a follower need not wait for the beat to grow old. What fails here is made up for by
            # waiting.
            with contextlib.suppress(Exception):
                if epoch:
                    await connection.execute(_RESIGN, epoch, timeout=STATEMENT_TIMEOUT_S)
        finally:  # also when the process is told to stop in the middle of it
            await _close(connection)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _close(connection)


def _leader_of(row: "asyncpg.Record") -> Leader | None:
    if row["leader"] is None:
        return None
    return Leader(row["epoch"], row["leader"], row["url"] or "", row["secret"] or "")


async def _close(connection: "Connection") -> None:
    try:
        await connection.close(timeout=1)
    except Exception:  # it is given up either way
        connection.terminate()
