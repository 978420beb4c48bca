"""Stores submissions, many in one commit.

Called by the REST routes: `submit` returns when the drafts are durable. While one group commits the next one
gathers; a client that goes away does not take its group with it. What the leader in this process will hold is
handed over right after the commit; the rest waits in the table, and the leader is woken. Knows nothing of
planning or scheduling.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from curta_server import errors, store
from curta_server.changed import Changed
from curta_server.errors import NotLeading
from curta_server.store import Draft, Insertion, Stored

log = logging.getLogger(__name__)

WAITING_DRAFTS_MAX = 20_000
WAITING_BYTES_MAX = 256 * 1024 * 1024
"""Beyond either, submissions are refused until a commit makes room."""

GROUP_DRAFTS_MAX = 10_000
GROUP_BYTES_MAX = 64 * 1024 * 1024
"""Of one commit; a single submission may be larger."""

RETRY_S = 3.0
"""A group whose commit fails for want of a database is tried again for so long, then its clients get a
503."""


SETTLE_S = 1.0
"""How often it is tried to find out about submissions whose outcome is not known."""


def new_id() -> UUID:
    """A UUIDv7: ordered by time, and strictly within this process.

    Source: RFC 9562, section 5.7, with section 6.2's method 3: the 12 bits after the milliseconds are their
    fraction.
    """
    global _last_stamp
    now_ns = time.time_ns()
    stamp = (now_ns // 1_000_000) << 12 | (now_ns % 1_000_000) * 4096 // 1_000_000
    _last_stamp = stamp = max(_last_stamp + 1, stamp)
    return UUID(
        int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | secrets.randbits(62)
    )


_last_stamp = 0


@dataclass(slots=True)
class _Submission:
    drafts: Sequence[Draft]
    bytes: int
    outcome: asyncio.Future[list[Insertion]]


class Intake:
    """Group commit of submissions.

    `hold(draft)` says under which term the leader in this process will hold a draft, 0 where it will wait in
    the table. `on_stored(epoch, drafts)` gets those stored under a term, synchronously after their commit;
    where that term is over by then, the next one finds them in the table. `on_waiting` is called when others
    wait there for the leader, and `changed` hears of all that are new.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        hold: Callable[[Draft], int],
        on_stored: Callable[[int, Sequence[Draft]], None],
        on_waiting: Callable[[], None],
        changed: Changed,
    ) -> None:
        self._engine = engine
        # One INSERT is one transaction; what follows it only reads.
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._hold = hold
        self._on_stored = on_stored
        self._on_waiting = on_waiting
        self._changed = changed
        self._waiting: list[_Submission] = []
        self._waiting_drafts = 0
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._is_away = False
        # Drafts that were to be held by us and whose commit is unknown to this day, by their term.
        self._unsettled: dict[UUID, int] = {}

    async def submit(self, drafts: Sequence[Draft]) -> list[Insertion]:
        """Store these, all or (as to those with a client id) what is new of them, and say what became of
        each.

        Raises Problem `unavailable` when too much is waiting, or when the database is away; then the outcome
        is not known, and the same drafts' client ids are safe to send again.
        """
        if not drafts:
            return []
        size = sum(len(draft.text) + len(draft.plan_bytes) for draft in drafts)
        is_full = (
            self._waiting_drafts + len(drafts) > WAITING_DRAFTS_MAX
            or self._waiting_bytes + size > WAITING_BYTES_MAX
        )
        if is_full and self._waiting:
            raise errors.unavailable("Too many submissions are waiting to be stored.")
        submission = _Submission(drafts, size, asyncio.get_running_loop().create_future())
        self._waiting.append(submission)
        self._waiting_drafts += len(drafts)
        self._waiting_bytes += size
        self._wake.set()
        return await submission.outcome

    async def run(self) -> None:
        """Commit what is submitted until cancelled; who waits then gets a 503."""
        group: list[_Submission] = []
        try:
            while True:
                await self._woken()
                self._wake.clear()
                while self._waiting:
                    group = self._next_group()
                    await self._commit(group)
                    group = []
        finally:
            for submission in (*group, *self._waiting):
                _fail(submission, errors.unavailable("The server is stopping."))
            self._waiting.clear()

    async def _woken(self) -> None:
        """Return when something was submitted; settle meanwhile what is unknown."""
        while self._unsettled:
            try:
                async with asyncio.timeout(SETTLE_S):
                    await self._wake.wait()
                    return
            except TimeoutError:
                pass
            try:
                async with self._single.connect() as connection:
                    await self._settle(connection)
            except Exception as error:
                if not store.is_outage(error):
                    raise
        await self._wake.wait()

    def _next_group(self) -> list[_Submission]:
        drafts = size = taken = 0
        for submission in self._waiting:
            drafts += len(submission.drafts)
            size += submission.bytes
            if taken and (drafts > GROUP_DRAFTS_MAX or size > GROUP_BYTES_MAX):
                break
            taken += 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._waiting_drafts -= sum(len(submission.drafts) for submission in group)
        self._waiting_bytes -= sum(submission.bytes for submission in group)
        return group

    async def _commit(self, group: list[_Submission]) -> None:
        drafts = [draft for submission in group for draft in submission.drafts]
        epochs = [self._hold(draft) if draft.value is None else 0 for draft in drafts]
        # Known to be away: one try, lest the queue's clients wait one after the other.
        deadline = time.monotonic() + (0 if self._is_away else RETRY_S)
        while True:
            try:
                is_single = len(drafts) <= store.INSERT_ROWS
                async with self._single.connect() if is_single else self._engine.begin() as connection:
                    await self._settle(connection)
                    insertions = await store.insert_expressions(connection, drafts, epochs)
                self._is_away = False
                break
            except Exception as error:
                if store.is_outage(error):
                    if time.monotonic() < deadline:
                        await asyncio.sleep(random.uniform(0.05, 0.2))
                        continue
                    self._is_away = True
                    self._unsettled |= {
                        draft.id: epoch for draft, epoch in zip(drafts, epochs, strict=True) if epoch
                    }
                    log.warning("submissions are refused: %r", error)
                    for submission in group:
                        _fail(submission, errors.unavailable(store.outage_sentence(error)))
                elif len(group) > 1:
                    # Somebody's data is not accepted: it must not fail its neighbours.
                    for submission in group:
                        await self._commit([submission])
                else:
                    _fail(group[0], error)
                return
        self._hand_over(drafts, epochs, insertions)
        place = 0
        for submission in group:
            count = len(submission.drafts)
            if not submission.outcome.done():  # its client may have gone away
                submission.outcome.set_result(insertions[place : place + count])
            place += count

    def _hand_over(
        self, drafts: Sequence[Draft], epochs: Sequence[int], insertions: Sequence[Insertion]
    ) -> None:
        held: dict[int, list[Draft]] = {}
        is_waiting = False
        for draft, epoch, insertion in zip(drafts, epochs, insertions, strict=True):
            if isinstance(insertion, Stored) and draft.value is None:
                # Stored by a try whose outcome was not known, it may be another term's by now.
                if epoch and insertion.epoch == epoch:
                    held.setdefault(insertion.epoch, []).append(draft)
                else:
                    is_waiting = True
        for epoch, own in held.items():
            self._on_stored(epoch, own)
        if is_waiting:
            self._on_waiting()
        if self._changed.is_looked_at:
            for draft in drafts:
                self._changed.touch(draft.owner, str(draft.id))

    async def _settle(self, connection: AsyncConnection) -> None:
        """Drafts of an unknown outcome whose clients were told 503 may be in the table under our term, though
        nobody holds them in memory: have them wait there like others."""
        if not self._unsettled:
            return
        for epoch in set(self._unsettled.values()):
            ids = [id for id, of in self._unsettled.items() if of == epoch]
            try:
                await store.return_expressions(connection, epoch, ids)
            except NotLeading:
                pass  # the next term has released them
            for id in ids:
                del self._unsettled[id]
        self._on_waiting()


def _fail(submission: _Submission, error: Exception) -> None:
    if not submission.outcome.done():
        submission.outcome.set_exception(error)
