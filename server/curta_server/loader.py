"""Which expressions are in the leader's memory: new ones at once while there is room, the rest from the
table.

One for each term, owned by the dispatcher. It claims waiting expressions (those that ran before first, then
for the user with the least loaded), folds their journals in slices, and posts `Loaded`. Bounded by tasks,
expressions and bytes of values; one expression is loaded whatever its size.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from curta_server.core.events import Absent, Cancelled, DurationSet, Event, Loaded
from curta_server.core.execution import Execution
from curta_server.core.plan import Plan
from curta_server.repair import repair
from curta_server.settings import Settings

log = structlog.get_logger()

POLL_S = 1.0
"""Behind the wake-ups: what a lost notice missed is found this late."""

CANCELLED_OVERLAP_US = 10_000_000
LARGE_PLAN_BYTES = 64 * 1024

MEASURE_S = 0.1
"""The values in memory are summed up at most so often."""

RESERVED = 10
"""One part in so many of what may be loaded is kept for users who have nothing loaded: who fills the memory
with work for days must not keep somebody's `2+2` out of it."""

REFILL = 20
"""So large a part of the expressions in memory has to end before others take their places."""

CLAIM_ROWS = 200
"""Of one claim: somebody's `2+2` may be waiting for the next one."""

CLAIM_SLICE = 20
"""Claimed expressions that come into memory before the event loop goes on: some milliseconds."""

ENDED_MAX = 50_000
"""So many that left memory are remembered: more than end while an answer of the database is under way."""

FRESH_SLICE = 500
"""New expressions that come into memory before the event loop goes on."""


class Loader:
    """The expressions of one epoch on their way into memory. `values_bytes` tells what is in memory now."""

    def __init__(
        self,
        engine: AsyncEngine,
        epoch: int,
        settings: Settings,
        *,
        post: Callable[[Event], None],
        clock_us: Callable[[], int],
        values_bytes: Callable[[], int],
        durations: Sequence[int],
    ) -> None:
        self._engine = engine
        self._epoch = epoch
        self._settings = settings
        self._post = post
        self._clock_us = clock_us
        self._values_bytes = values_bytes
        self._durations = list(durations)
        self._fresh: dict[str, store.Draft] = {}
        """Stored, and on their way into memory."""
        self._promised = self._promised_tasks = 0
        """Drafts that `hold` has promised a place since the event loop went on: all of one commit."""
        self._measured_s = -1.0
        self._measured_bytes = 0
        self._loaded: dict[str, tuple[str, int]] = {}
        self._tasks_by_owner: dict[str, int] = {}
        self._tasks = 0
        self._ended: dict[str, None] = {}
        """The latest that left memory: final in the table, though an answer that was under way when they
        ended may still call them ours."""
        self._may_wait = True
        """Whether something may wait in the table; then new expressions queue behind it."""
        self._unknown: set[str] = set()
        self._cancelled: set[str] = set()
        self._wake = asyncio.Event()
        self._has_caught_up = False
        """Until the table was found empty, what comes from it may have been handed out just before the last
        term ended, too late for its status to say so: it waits for the agents like what ran."""

    def wake(self) -> None:
        """Something new may be in the table, or there is room again."""
        self._wake.set()

    # --- new expressions of this process ----------------------------------------------------------

    def hold(self, draft: store.Draft) -> int:
        """The epoch, if this draft is to go straight into memory; 0 where it has to wait in the table."""
        settings = self._settings
        loaded = len(self._loaded) + self._promised
        tasks = self._tasks + self._promised_tasks + draft.tasks
        tasks_max, expressions_max = settings.loaded_tasks_max, settings.loaded_expressions_max
        if draft.owner in self._tasks_by_owner:
            tasks_max -= tasks_max // RESERVED
            expressions_max -= expressions_max // RESERVED
        if (
            (tasks <= tasks_max or not loaded)
            and not self._may_wait
            and loaded < expressions_max
            and not self._has_too_many_values()
        ):
            if not self._promised:
                # A commit asks for all its drafts at once. Of two at a time, one a lane, the later may exceed
                # the limits.
                asyncio.get_running_loop().call_soon(self._forget_promises)
            self._promised += 1
            self._promised_tasks += draft.tasks
            return self._epoch
        self._may_wait = True
        return 0

    def _forget_promises(self) -> None:
        self._promised = self._promised_tasks = 0

    def _has_too_many_values(self) -> bool:
        now = time.monotonic()
        if now - self._measured_s > MEASURE_S:
            self._measured_s, self._measured_bytes = now, self._values_bytes()
        return self._measured_bytes > self._settings.loaded_bytes_max

    def stored(self, drafts: Iterable[store.Draft]) -> None:
        """These are in the table under this epoch."""
        for draft in drafts:
            id = str(draft.id)
            if not self._had(id):
                self._count(id, draft.owner, draft.tasks)
                self._fresh[id] = draft
        self._load_fresh()

    def _load_fresh(self) -> None:
        """A slice of what is fresh; the loop goes on before the next one."""
        for id in list(itertools.islice(self._fresh, FRESH_SLICE)):
            draft = self._fresh.pop(id)
            self._post(Loaded(Execution(id, draft.plan, draft.durations), draft.owner))
        if self._fresh:
            asyncio.get_running_loop().call_soon(self._load_fresh)

    def _count(self, expression: str, owner: str, tasks: int) -> None:
        self._loaded[expression] = (owner, tasks)
        self._tasks += tasks
        self._tasks_by_owner[owner] = self._tasks_by_owner.get(owner, 0) + tasks

    def dropped(self, expression: str) -> None:
        """The expression left memory, for it is final: there is room."""
        self._ended[expression] = None
        if len(self._ended) > ENDED_MAX:
            del self._ended[next(iter(self._ended))]
        owner, tasks = self._loaded.pop(expression)
        self._tasks -= tasks
        self._tasks_by_owner[owner] -= tasks
        if not self._tasks_by_owner[owner]:
            del self._tasks_by_owner[owner]
        if self._may_wait and self._has_room_for_some():
            self._wake.set()

    def owner(self, expression: str) -> str | None:
        """Whose expression it is; None where it is not in memory, nor on its way there."""
        owner, _ = self._loaded.get(expression, (None, 0))
        return owner

    def _had(self, expression: str) -> bool:
        """Whether this term has loaded the expression, or is done with it."""
        return expression in self._loaded or expression in self._ended

    def _has_room_for_some(self) -> bool:
        """Whether asking the table is worth its while: not for each of a thousand that end in a second. Who
        has nothing loaded comes with a notice, or is found by the poll."""
        limit = self._settings.loaded_expressions_max
        return limit - limit // RESERVED - len(self._loaded) >= limit // REFILL

    def cancelled(self, expression: str) -> None:
        """Its final status is in the table; it may be on its way into memory."""
        self._cancelled.add(expression)
        if self._fresh.pop(expression, None) is not None:
            self.dropped(expression)
        self._post(Cancelled(expression))

    def set_duration(self, operation: int, duration_ms: int) -> None:
        """What the table says of an operation; the last word, until the poll finds another."""
        if self._durations[operation] != duration_ms:
            self._durations[operation] = duration_ms
            self._post(DurationSet(operation, duration_ms))

    def look_up(self, expressions: Iterable[str]) -> None:
        """Agents hold tasks of these; say `Absent` of those that are final or were never there."""
        self._unknown.update(expressions)
        self._wake.set()

    # --- from the table ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Load until cancelled. Raises: NotLeading when another epoch has begun."""
        try:
            await self._run()
        finally:
            self._fresh.clear()  # the next term finds them in the table

    async def _run(self) -> None:
        released = False
        settled = True
        """Whether every claim's answer arrived; else rows may be ours that nobody holds."""
        since_us = self._clock_us()
        while True:
            try:
                if not released:
                    async with self._engine.begin() as connection:
                        await store.release_expressions(connection, self._epoch)
                    released = True
                if not settled:
                    async with self._engine.begin() as connection:
                        await store.return_strays(connection, self._epoch, [UUID(id) for id in self._loaded])
                is_more = True
                while is_more:
                    settled = False
                    is_more = await self._claim()
                    settled = True
                    await self._answer_unknown()
                    if not is_more or self._clock_us() - since_us > POLL_S * 1_000_000:
                        since_us = await self._poll(since_us)
            except Exception as error:
                if not store.is_outage(error):
                    raise
                log.warning("loading waits for the database", error=repr(error))
                await asyncio.sleep(POLL_S)
            try:
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def _claim(self) -> bool:
        """Claim what there is room for; whether to ask again at once."""
        settings = self._settings
        room = settings.loaded_expressions_max - len(self._loaded)
        reserved = settings.loaded_expressions_max // RESERVED
        if room <= 0 or (self._loaded and self._has_too_many_values()):
            return False
        self._cancelled.clear()
        async with self._engine.begin() as connection:
            rows = await store.claim_expressions(
                connection,
                self._epoch,
                tasks_budget=max(0, settings.loaded_tasks_max - self._tasks),
                expressions_budget=min(room, CLAIM_ROWS),
                loaded_by_owner=self._tasks_by_owner,
                reserved_tasks=settings.loaded_tasks_max // RESERVED,
                reserved_expressions=max(0, min(room, CLAIM_ROWS) - room + reserved),
            )
        for place, row in enumerate(rows, 1):
            await self._recover(row)
            if not place % CLAIM_SLICE:
                await asyncio.sleep(0)
        if not rows:
            self._has_caught_up = True
            async with self._engine.connect() as connection:
                self._may_wait = await store.any_waiting(connection)
        return bool(rows)

    async def _recover(self, row: store.ClaimedRow) -> None:
        id = str(row.id)
        if self._had(id):
            return
        size = row.tasks
        try:
            if len(row.plan) > LARGE_PLAN_BYTES:
                plan = await asyncio.to_thread(Plan.decode, row.plan, row.text)
            else:
                plan = Plan.decode(row.plan, row.text)
        except ValueError as error:
            repaired = await repair(self._engine, self._epoch, row, error, now_us=self._clock_us())
            if repaired is None:
                return
            plan, size = repaired, len(repaired)
        ran = row.status == "running"
        execution = Execution(id, plan, row.durations, recovered=ran)
        if ran:
            async with self._engine.connect() as connection:
                async for tasks, values in store.journal_of(connection, row.id):
                    execution.fold(zip(tasks, values, strict=True))
                    await asyncio.sleep(0)
        if id not in self._cancelled and not self._had(id):
            self._count(id, row.owner, size)
            self._post(Loaded(execution, row.owner, ran or not self._has_caught_up))

    async def _answer_unknown(self) -> None:
        unknown = {expression for expression in self._unknown if expression not in self._loaded}
        self._unknown.clear()
        ids: dict[UUID, str] = {}
        for expression in unknown:
            id = _uuid(expression)
            if id is None:
                self._post(Absent(expression))
            else:
                ids[id] = expression
        if ids:
            # Until they are in memory: those that wait in the table may be cancelled there.
            self._unknown.update(ids.values())
            async with self._engine.connect() as connection:
                still_open = await store.open_expressions(connection, list(ids))
            for id, expression in ids.items():
                if id not in still_open:
                    self._unknown.discard(expression)
                    self._post(Absent(expression))

    async def _poll(self, since_us: int) -> int:
        """What other orchestrators changed: cancellations since then, durations."""
        now_us = self._clock_us()
        async with self._engine.connect() as connection:
            cancelled = await store.cancelled_since(connection, since_us - CANCELLED_OVERLAP_US)
            operations = await store.operations(connection)
        for id in cancelled:
            if str(id) in self._loaded:
                self.cancelled(str(id))
        for operation, row in enumerate(operations):
            self.set_duration(operation, row.duration_ms)
        return now_us


def _uuid(text: str) -> UUID | None:
    """The id that is written so, in the one way in which we write it."""
    try:
        id = UUID(text)
    except ValueError:
        return None
    return id if str(id) == text else None
