"""Durable results by group commit: the commit in flight is the batching window, and some milliseconds for
rows that nobody waits for.

The dispatcher appends (never waiting); one loop takes what has gathered, writes it in one statement (rows and
final statuses, so that a root's row and its expression's end are one), and tells the dispatcher what is
durable. A batch whose outcome is unknown is repeated unchanged on a new connection. Nothing is decided here.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import metrics, store
from curta_server.core.crew import Run
from curta_server.settings import Settings

log = structlog.get_logger()

ROW_BYTES = 100
"""What a row weighs in the backlog beside its value."""

COMMIT_BYTES = 16 * 1024 * 1024
"""Of values in one commit, if they are more than one batch: it must end well within the statement timeout."""

REST_S = 0.003
REST_ROWS = 100
"""While so few rows wait, and no end, the journal lets them gather so long before a commit: nobody waits for
them but an agent that pulls, a chain would cost a commit for each task, and an end would stand behind a
commit under way."""

BACKOFF_MAX_S = 1.0


class Batch(NamedTuple):
    """What one turn of the dispatcher wants stored together."""

    runs: Sequence[Run]
    finals: Sequence[store.Final]
    bytes: int
    """Of the rows."""

    @property
    def weight(self) -> int:
        """Bytes with those of the ends: the value as a number, as a result, and exact."""
        return self.bytes + sum(len(final.value or "") * 3 for final in self.finals)


class Journal:
    """The results of one epoch on their way to the table.

    `stored(runs, ended)` is called after each commit. `clock` turns monotonic seconds into microseconds of
    the database's clock. Ends of small expressions overtake the rows of large ones: somebody waits for them.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        epoch: int,
        settings: Settings,
        *,
        clock: Callable[[float], int],
        stored: Callable[[Sequence[Run], Sequence[str]], None],
    ) -> None:
        # A batch is one statement, which is a transaction by itself: two round trips less.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._epoch = epoch
        self._settings = settings
        self._clock = clock
        self._stored = stored
        self._waiting: deque[Batch] = deque()
        self._urgent: deque[Batch] = deque()
        self._urgency = asyncio.Event()
        self._are_others_next = True
        self._started: dict[str, int] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.backlog = 0
        self._backlog_bytes = 0
        self._pending_since: float | None = None
        metrics.journal_pending_seconds.set_function(self._pending_s)

    @property
    def is_full(self) -> bool:
        """Whether so much waits for its commit that nothing new should be handed out."""
        settings = self._settings
        return (
            self.backlog > settings.journal_backlog_max
            or self._backlog_bytes > settings.journal_backlog_bytes_max
        )

    def append(self, runs: Sequence[Run], finals: Sequence[store.Final]) -> None:
        """Store these in one transaction, soon. Never waits; `is_full` tells when to stop the source."""
        size = self._count(runs)
        if size > COMMIT_BYTES or len(runs) > self._settings.journal_rows_max:
            # Rows of expressions that end here go with their ends, and last; the others may come in parts.
            ending = {str(final.id) for final in finals}
            self._append_parts([run for run in runs if run.execution.id not in ending])
            runs = [run for run in runs if run.execution.id in ending]
            size = _bytes(runs)
        if runs or finals:
            self._waiting.append(Batch(runs, finals, size))
        self._idle.clear()
        self._wake.set()

    def append_ends(self, runs: Sequence[Run], finals: Sequence[store.Final]) -> None:
        """Store these before whatever else waits: the ends of expressions, with all their rows that are not
        durable yet. Rows among them that were appended before are then left out in their old place."""
        self._urgent.append(Batch(runs, finals, self._count(runs)))
        self._idle.clear()
        self._urgency.set()
        self._wake.set()

    def _count(self, runs: Sequence[Run]) -> int:
        size = _bytes(runs)
        self.backlog += len(runs)
        self._backlog_bytes += size
        return size

    def _append_parts(self, runs: Sequence[Run]) -> None:
        part: list[Run] = []
        size = 0
        for run in runs:
            part.append(run)
            size += len(run.value or "") + ROW_BYTES
            if size >= COMMIT_BYTES or len(part) >= self._settings.journal_rows_max:
                self._waiting.append(Batch(part, (), size))
                part, size = [], 0
        if part:
            self._waiting.append(Batch(part, (), size))

    def note_started(self, expression: str, started_us: int) -> None:
        """The first task was handed out; written with `flush_started`, unless the expression ends before."""
        self._started[expression] = started_us

    def started_us(self, expression: str) -> int | None:
        """When it started, taken out of what is still to be written."""
        return self._started.pop(expression, None)

    def flush_started(self) -> None:
        """Let what has started be seen in the table with the next commit."""
        if self._started:
            self._idle.clear()
            self._wake.set()

    async def flushed(self) -> None:
        """Return when all that was appended is durable."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commit batch after batch, until cancelled. Raises: NotLeading when another epoch has begun."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._urgent or self._waiting or self._started:
                if self._waiting and not self._urgent and self.backlog < REST_ROWS:
                    await self._rest()
                await self._write_some()
            self._idle.set()

    async def _rest(self) -> None:
        """Let rows gather, unless an end is waited for."""
        self._urgency.clear()
        try:
            async with asyncio.timeout(REST_S):
                await self._urgency.wait()
        except TimeoutError:
            pass

    def _take(self, lane: deque[Batch], rows: int, weight: int) -> list[Batch]:
        """The next batches of the lane up to these limits, but at least one if there is any."""
        taken: list[Batch] = []
        while lane and rows > 0:
            weight -= lane[0].weight
            if weight < 0 and taken:
                break
            taken.append(lane.popleft())
            rows -= len(taken[-1].runs)
        return taken

    async def _write_some(self) -> None:
        rows_max = self._settings.journal_rows_max
        batches = self._take(self._urgent, rows_max, COMMIT_BYTES)
        urgent = len(batches)
        # Ends go alone, for thousands of rows take ten times as long; and every second time with at least one
        # batch of the others, lest those wait for ever.
        self._are_others_next = not urgent or not self._are_others_next
        if self._are_others_next:
            rows = max(1, rows_max - sum(len(batch.runs) for batch in batches))
            batches += self._take(self._waiting, rows, max(0, COMMIT_BYTES - sum(b.weight for b in batches)))
        runs: list[Run] = []
        finals: list[store.Final] = []
        for place, batch in enumerate(batches):
            finals.extend(batch.finals)
            for run in batch.runs:
                # Not what is in a commit with, or before, its expression's end; nor what is no longer wanted.
                is_wanted = place < urgent or run.execution.uncommitted.get(run.task) is run
                if is_wanted and not run.is_taken:
                    run.is_taken = True
                    runs.append(run)
        started, self._started = self._started, {}
        began = time.perf_counter()
        ended: list[str] = []
        if runs or finals or started:
            ended = await self._commit(self._columns(runs), finals, started)
        metrics.journal_batch_rows.observe(len(runs))
        metrics.journal_commit_seconds.observe(time.perf_counter() - began)
        self.backlog -= sum(len(batch.runs) for batch in batches)
        self._backlog_bytes -= sum(batch.bytes for batch in batches)
        self._stored(runs, ended)

    def _columns(self, runs: Sequence[Run]) -> store.JournalColumns:
        # Those of one turn share their times.
        moments = {run.started_s for run in runs} | {run.finished_s for run in runs}
        us = {moment: self._clock(moment) for moment in moments}
        return store.JournalColumns(
            [run.execution.id for run in runs],
            [run.task for run in runs],
            [run.value for run in runs],
            [run.agent.id for run in runs],
            [run.attempt for run in runs],
            [us[run.started_s] for run in runs],
            [us[run.finished_s] for run in runs],
        )

    async def _commit(
        self, columns: store.JournalColumns, finals: Sequence[store.Final], started: dict[str, int]
    ) -> list[str]:
        """Repeat until the batch is durable; which of the expressions are final by now."""
        self._pending_since = time.monotonic()
        try:
            return await self._repeat(columns, finals, started)
        finally:
            self._pending_since = None

    async def _repeat(
        self, columns: store.JournalColumns, finals: Sequence[store.Final], started: dict[str, int]
    ) -> list[str]:
        backoff_s = 0.05
        again = False
        while True:
            try:
                return await self._write(columns, finals, started, again=again)
            except Exception as error:
                if not again and store.is_duplicate(error):
                    again = True  # a row of an earlier try, though nobody knew of one
                    continue
                if not store.is_outage(error):
                    raise
                again = True
                log.warning("the journal waits for the database", error=repr(error), rows=len(columns))
                await asyncio.sleep(random.uniform(0, backoff_s))
                backoff_s = min(BACKOFF_MAX_S, backoff_s * 2)

    async def _write(
        self,
        columns: store.JournalColumns,
        finals: Sequence[store.Final],
        started: dict[str, int],
        *,
        again: bool,
    ) -> list[str]:
        epoch = self._epoch
        async with self._engine.connect() as connection:
            if started:
                ids = [UUID(expression) for expression in sorted(started)]
                await store.mark_running(connection, epoch, ids, [started[str(id)] for id in ids])
            if not finals:
                if columns.tasks:
                    await store.append_journal(connection, epoch, columns, again=again)
                return []
            ended = await store.end_expressions(connection, epoch, finals, columns, again=again)
            for final in finals:
                if final.id in ended:
                    metrics.finished_expressions.labels(final.status).inc()
            missed = [final.id for final in finals if final.id not in ended]
            if missed:
                # Cancelled meanwhile, or written by a try whose outcome we never learned.
                ended |= set(await store.final_statuses(connection, missed))
        return [str(id) for id in ended]

    def _pending_s(self) -> float:
        return 0.0 if self._pending_since is None else time.monotonic() - self._pending_since


def _bytes(runs: Sequence[Run]) -> int:
    return sum(len(run.value or "") for run in runs) + ROW_BYTES * len(runs)
