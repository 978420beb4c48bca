"""Stores submissions, many in one commit.

Called by the REST routes: `submit` returns when the drafts are durable. While one group commits the next one
gathers; a client that goes away does not take its group with it. Long submissions have a lane of their own: a
plan of a million tasks takes PostgreSQL a while, and nobody's `2+2` waits for it. What the leader in this
process will hold is handed over right after the commit; the rest waits in the table, and the leader is woken.
Knows nothing of planning or scheduling.
"""

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import errors, store
from curta_server.changed import Changed
from curta_server.errors import NotLeading
from curta_server.store import Draft, Insertion, Stored

log = logging.getLogger(__name__)

SHORT_DRAFTS_MAX = 100
SHORT_BYTES_MAX = 64 * 1024
"""A submission beyond either, texts and plans together, takes the long lane."""

WAITING_DRAFTS_MAX = 20_000
WAITING_BYTES_MAX = 128 * 1024 * 1024
"""In one lane; beyond either, submissions are refused until a commit makes room."""

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

    @property
    def is_long(self) -> bool:
        return len(self.drafts) > SHORT_DRAFTS_MAX or self.bytes > SHORT_BYTES_MAX

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Unsettled:
    epoch: int
    until_s: float
    """By the monotonic clock: PostgreSQL has done with it by then."""


class _Lane:
    """Submissions that wait for a commit, in order and bounded."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self._waiting: deque[_Submission] = deque()
        self._drafts = 0
        self._bytes = 0

    def add(self, submission: _Submission) -> None:
        """Raises Problem `unavailable` when too much is waiting; a single one always has room."""
        drafts = self._drafts + len(submission.drafts)
        size = self._bytes + submission.bytes
        if self._waiting and (drafts > WAITING_DRAFTS_MAX or size > WAITING_BYTES_MAX):
            raise errors.unavailable("Too many submissions are waiting to be stored.")
        self._waiting.append(submission)
        self._drafts, self._bytes = drafts, size
        self.wake.set()

    def next_group(self) -> list[_Submission]:
        """Take what goes into one commit: at least one, where any waits."""
        group: list[_Submission] = []
        drafts = size = 0
        while self._waiting:
            drafts += len(self._waiting[0].drafts)
            size += self._waiting[0].bytes
            if group and (drafts > GROUP_DRAFTS_MAX or size > GROUP_BYTES_MAX):
                break
            group.append(submission := self._waiting.popleft())
            self._drafts -= len(submission.drafts)
            self._bytes -= submission.bytes
        return group


class Intake:
    """Group commit of submissions.

    `hold(draft)` says under which term the leader in this process will hold a draft, 0 where it will wait in
    the table. `on_stored(epoch, drafts)` gets those stored under a term, synchronously after their commit;
    where that term is over by then, the next one finds them in the table. `on_waiting` is called when others
    wait there for the leader, and `changed` hears of all that are new. PostgreSQL ends what takes longer than
    `statement_timeout_s`.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        hold: Callable[[Draft], int],
        on_stored: Callable[[int, Sequence[Draft]], None],
        on_waiting: Callable[[], None],
        changed: Changed,
        statement_timeout_s: float,
    ) -> None:
        self._engine = engine
        self._statement_timeout_s = statement_timeout_s
        # One INSERT is one transaction; what follows it only reads.
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._hold = hold
        self._on_stored = on_stored
        self._on_waiting = on_waiting
        self._changed = changed
        self._short = _Lane()
        self._long = _Lane()
        self._is_away = False
        # Drafts that were to be held by us and whose commit is unknown to this day.
        self._unsettled: dict[UUID, _Unsettled] = {}
        self._is_unsettled = asyncio.Event()

    async def submit(self, drafts: Sequence[Draft]) -> list[Insertion]:
        """Store these, all or (as to those with a client id) what is new of them, and say what became of
        each.

        Raises Problem `unavailable` when too much is waiting, or when the database is away; then the outcome
        is not known, and the same drafts' client ids are safe to send again.
        """
        if not drafts:
            return []
        size = sum(len(draft.text) + len(draft.plan_bytes) for draft in drafts)
        submission = _Submission(drafts, size, asyncio.get_running_loop().create_future())
        (self._long if submission.is_long else self._short).add(submission)
        return await submission.outcome

    async def run(self) -> None:
        """Commit what is submitted until cancelled; who waits then gets a 503."""
        async with asyncio.TaskGroup() as children:
            children.create_task(self._run(self._short))
            children.create_task(self._run(self._long))
            children.create_task(self._settle())

    async def _run(self, lane: _Lane) -> None:
        group: list[_Submission] = []
        try:
            while True:
                await lane.wake.wait()
                lane.wake.clear()
                while group := lane.next_group():
                    await self._commit(group)
        finally:
            while group or (group := lane.next_group()):
                for submission in group:
                    submission.fail(errors.unavailable("The server is stopping."))
                group = []

    async def _commit(self, group: list[_Submission]) -> None:
        drafts = [draft for submission in group for draft in submission.drafts]
        epochs = [self._hold(draft) if draft.value is None else 0 for draft in drafts]
        # Known to be away: one try, lest the queue's clients wait one after the other.
        deadline = time.monotonic() + (0 if self._is_away else RETRY_S)
        while True:
            try:
                is_single = len(drafts) <= store.INSERT_ROWS
                async with self._single.connect() if is_single else self._engine.begin() as connection:
                    insertions = await store.insert_expressions(connection, drafts, epochs)
                self._is_away = False
                break
            except Exception as error:
                if store.is_outage(error):
                    if time.monotonic() < deadline:
                        await asyncio.sleep(random.uniform(0.05, 0.2))
                        continue
                    self._is_away = True
                    self._doubt(drafts, epochs)
                    log.warning("submissions are refused: %r", error)
                    for submission in group:
                        submission.fail(errors.unavailable(store.outage_sentence(error)))
                elif len(group) > 1:
                    # Somebody's data is not accepted: it must not fail its neighbours.
                    for submission in group:
                        await self._commit([submission])
                else:
                    group[0].fail(error)
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

    def _doubt(self, drafts: Sequence[Draft], epochs: Sequence[int]) -> None:
        """Drafts of an unknown outcome, whose clients were told 503, may be in the table under our term, or
        come there yet, though nobody holds them in memory."""
        until_s = time.monotonic() + self._statement_timeout_s
        for draft, epoch in zip(drafts, epochs, strict=True):
            if epoch:
                self._unsettled[draft.id] = _Unsettled(epoch, until_s)
        self._is_unsettled.set()

    async def _settle(self) -> None:
        """Have what is in doubt wait in the table like others, for as long as it may come there."""
        while True:
            await self._is_unsettled.wait()
            await asyncio.sleep(SETTLE_S)
            now_s = time.monotonic()
            try:
                for epoch in {one.epoch for one in self._unsettled.values()}:
                    await self._settle_term(epoch, now_s)
            except Exception as error:
                if not store.is_outage(error):
                    raise
            if not self._unsettled:
                self._is_unsettled.clear()

    async def _settle_term(self, epoch: int, now_s: float) -> None:
        ids = [id for id, one in self._unsettled.items() if one.epoch == epoch]
        try:
            async with self._single.connect() as connection:
                returned = await store.return_expressions(connection, epoch, ids)
        except NotLeading:
            returned = ids  # the next term releases them, and nothing more can come under this one
        gone = set(returned)
        for id in ids:
            if id in gone or self._unsettled[id].until_s <= now_s:
                del self._unsettled[id]
        if returned:
            self._on_waiting()
