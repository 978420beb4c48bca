"""The last minutes of a term, one point a second: what the charts show.

Owned by the dispatcher, begun anew with each term and kept in memory only. Counting costs the hot path an
addition a commit and a store a turn; everything else is summed up once a second, in slices.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Protocol

from curta_server.core.execution import READY
from curta_server.core.scheduler import Scheduler
from curta_server.slices import Slices
from curta_server.views import Second

EVERY_S: Final = 1.0
SECONDS: Final = 600
"""Ten minutes; what is older falls off."""
SAMPLE: Final = 1_024
"""So many of a second's latencies are kept, the last ones."""
STRIDE: Final = 256
"""Expressions looked at between two looks at the clock."""


class Backlog(Protocol):
    """What is asked of the journal."""

    backlog: int


class History:
    """One term's points. `clock` turns monotonic seconds into microseconds of the database's clock."""

    def __init__(self, scheduler: Scheduler, journal: Backlog, clock: Callable[[float], int]) -> None:
        self._scheduler = scheduler
        self._journal = journal
        self._clock = clock
        self._seconds: deque[Second] = deque(maxlen=SECONDS)
        self._tasks = 0
        self._commits = 0
        self._sample = [0.0] * SAMPLE
        self._dispatched = 0

    # --- counting, on the hot path ----------------------------------------------------------------

    def stored(self, tasks: int) -> None:
        """A commit made so many results durable."""
        self._commits += 1
        self._tasks += tasks

    def dispatched(self, took_s: float) -> None:
        """From an event's arrival to what it caused."""
        self._sample[self._dispatched % SAMPLE] = took_s
        self._dispatched += 1

    # --- points -----------------------------------------------------------------------------------

    def after(self, at_us: int) -> list[Second]:
        """The points after this moment, oldest first."""
        newer = 0
        for second in reversed(self._seconds):
            if second.at_us <= at_us:
                break
            newer += 1
        return list(islice(self._seconds, len(self._seconds) - newer, None))

    async def run(self) -> None:
        """Make a point a second, until cancelled."""
        began = due = time.monotonic()
        while True:
            # By the clock, not by the pause: otherwise the points would drift. After a stall one point stands
            # for all of it, and the next comes a whole second later.
            due += EVERY_S
            if due <= time.monotonic():
                due = time.monotonic() + EVERY_S
            await asyncio.sleep(due - time.monotonic())
            now = time.monotonic()
            await self._note(now, now - began)
            began = now

    async def _note(self, now: float, elapsed_s: float) -> None:
        tasks, commits, dispatched = self._tasks, self._commits, self._dispatched
        self._tasks = self._commits = self._dispatched = 0
        took_s = sorted(self._sample[: min(dispatched, SAMPLE)])
        ready, running = await self._count()
        at_us = self._clock(now)
        if self._seconds:
            at_us = max(at_us, self._seconds[-1].at_us + 1)  # the database's clock may have been set back
        agents = [agent for agent in self._scheduler.crew.agents.values() if not agent.is_lost]
        self._seconds.append(
            Second(
                at_us=at_us,
                tasks_per_s=tasks / elapsed_s,
                commits_per_s=commits / elapsed_s,
                ready=ready,
                running=running,
                slots_used=sum(agent.held for agent in agents),
                slots_total=sum(agent.slots for agent in agents),
                agents=len(agents),
                expressions=len(self._scheduler.executions),
                dispatch_p50_ms=_percentile_ms(took_s, 0.5),
                dispatch_p99_ms=_percentile_ms(took_s, 0.99),
                journal_backlog=self._journal.backlog,
            )
        )

    async def _count(self) -> tuple[int, int]:
        """Tasks that are ready, and tasks that run."""
        slices = Slices()
        ready = running = 0
        for place, execution in enumerate(list(self._scheduler.executions.values())):
            ready += execution.state.count(READY)
            running += execution.held
            if place % STRIDE == 0:
                await slices.turn()
        return ready, running


def _percentile_ms(ordered_s: Sequence[float], part: float) -> float | None:
    """Of sorted seconds, by nearest rank; None where there are none."""
    if not ordered_s:
        return None
    return ordered_s[min(len(ordered_s) - 1, int(part * len(ordered_s)))] * 1000
