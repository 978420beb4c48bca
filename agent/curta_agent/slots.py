"""Where tasks are computed: a number of slots, each holding one task for its duration and then its
arithmetic.

Owned by `agent`; fed by `session` (frames) and `http` (tasks computed on the spot). Results go into the
ledger, `on_outbox` tells the present session. Knows no socket. Everything happens on the event loop, and
nothing here holds it: arithmetic on large numbers runs in child processes, long batches go in slices. A task
without a duration and with small operands costs neither a timer nor an asyncio task, for those are what a
busy system is made of.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

import structlog

from curta_agent.ledger import Entry, Key, Ledger
from curta_agent.operations import compute, is_heavy
from curta_wire.codec import ProtocolError
from curta_wire.frames import OPERATIONS, Assignment, Attempt, Fault
from curta_wire.offload import Offload

log = structlog.get_logger("curta.agent")

DURATION_MS_MAX: Final = 604_800_000
"""Seven days, the contract's limit on an operation's duration."""
SLICE_S: Final = 0.01
"""How long a batch may compute before the event loop gets its turn."""
SHORT: Final = 40
"""Operands with fewer characters together take about a microsecond: no need to look at the clock."""
_OVERSHOOT: Final = 64
FAULTS: Final = (
    "division_by_zero",
    "too_large",
    "unknown_operation",
    "invalid_operand",
    "invalid_duration",
    "internal",
    "other",
)
"""Codes of faults as they are counted; `other` is what callers of the HTTP port make up."""


class NoFreeSlot(Exception):
    """All slots are taken, or the agent is stopping."""


class NotHeld(Exception):
    """The attempt is not held here; `other` is the attempt of the same task that is, or None."""

    def __init__(self, other: int | None) -> None:
        super().__init__("the attempt is not held")
        self.other = other


@dataclass(frozen=True)
class Visit:
    """A task computed for a caller of the agent's HTTP port; `started` is on the event loop's clock."""

    task: str
    operation: str
    operands: tuple[str, str]
    duration_ms: int
    started: float


class Slots:
    """`count` slots. Attempts from the orchestrator wait for one in order of arrival, visits never wait."""

    def __init__(self, count: int, ledger: Ledger, offload: Offload) -> None:
        self.count = count
        self.ledger = ledger
        self.on_outbox: Callable[[], None] = _ignore
        self.computed = dict.fromkeys(OPERATIONS, 0)
        self.faults = dict.fromkeys(FAULTS, 0)
        """Results and faults since the start of the process, by operation and code."""
        self.visits: dict[int, Visit] = {}
        self._visit_number = 0
        self._offload = offload
        self._waiting: OrderedDict[Key, Entry] = OrderedDict()
        self._used = 0
        self._pump_is_due = False
        self._finish_by: float | None = None
        self._drained = asyncio.Event()
        self._heavy: set[asyncio.Task[None]] = set()

    @property
    def used(self) -> int:
        """How many slots are taken."""
        return self._used

    @property
    def is_stopping(self) -> bool:
        return self._finish_by is not None

    # --- the orchestrator's tasks ---

    def take(self, assignments: Sequence[Assignment]) -> None:
        """Compute these, now or when a slot is free; results go to the ledger. Of those that are there when
        it returns the caller, who holds the session, is not told.

        An attempt already held is not begun again; its result, if there is one, is written again.
        Raises: ProtocolError where the orchestrator hands out far more than there are slots, or never
        acknowledges.
        """
        ledger = self.ledger
        if len(ledger.open) + len(assignments) > 2 * self.count + _OVERSHOOT:
            raise ProtocolError(1008, f"more tasks than the {self.count} slots can take")
        if ledger.is_full:
            raise ProtocolError(1008, "too many results without an ack")
        until = monotonic() + SLICE_S
        computed, faults = self.computed, self.faults
        is_plain = self._finish_by is None
        for assignment in assignments:
            task, attempt, operation, (a, b) = (
                assignment.task,
                assignment.attempt,
                assignment.operation,
                assignment.operands,
            )
            key = (task, attempt)
            if key in ledger.open or key in ledger.results:
                ledger.repeat(key)
            elif (
                assignment.duration_ms == 0
                and is_plain
                and not self._waiting
                and self._used < self.count
                and (len(a) + len(b) < SHORT or (not is_heavy(a, b) and monotonic() < until))
            ):
                outcome = compute(operation, a, b)
                ledger.settle(key, outcome)
                if isinstance(outcome, str):
                    computed[operation] += 1
                else:
                    faults[outcome.code] += 1
            else:
                entry = Entry(assignment)
                ledger.open[key] = entry
                self._waiting[key] = entry
        if self._waiting:
            self._pump()

    def cancel(self, attempts: Iterable[Attempt]) -> None:
        """Stop computing these. Each is answered: by its result if there is one, else by `cancelled`."""
        for attempt in attempts:
            key = (attempt.task, attempt.attempt)
            if key in self.ledger.results:
                # Written already, or about to be; a second time costs nothing and leaves no doubt.
                self.ledger.repeat(key)
            else:
                self.forget([attempt])
                self.ledger.reply(attempt, _CANCELLED)
        if self.ledger.outbox:
            self.on_outbox()

    def forget(self, attempts: Iterable[Attempt]) -> None:
        """Stored for good or no longer wanted: stop computing, keep nothing, answer nothing."""
        for attempt in attempts:
            entry = self.ledger.forget((attempt.task, attempt.attempt))
            if entry is not None:
                self._free(entry)

    def _pump(self) -> None:
        """Begin what waits, as far as slots are free, for one slice of time."""
        until = monotonic() + SLICE_S
        deferred: list[Entry] = []
        while self._waiting and self._used < self.count:
            if monotonic() >= until:
                self._pump_later()
                break
            _, entry = self._waiting.popitem(last=False)
            if self._may_begin(entry):
                self._begin(entry)
            else:
                deferred.append(entry)
        for entry in reversed(deferred):
            self._waiting[entry.key] = entry
            self._waiting.move_to_end(entry.key, last=False)

    def _pump_later(self) -> None:
        if not self._pump_is_due:
            self._pump_is_due = True
            asyncio.get_running_loop().call_soon(self._pump_again)

    def _pump_again(self) -> None:
        self._pump_is_due = False
        self._pump()

    def _begin(self, entry: Entry) -> None:
        loop = asyncio.get_running_loop()
        entry.started = loop.time()
        self._used += 1
        duration_ms = entry.assignment.duration_ms
        if duration_ms == 0:
            self._elapsed(entry)
        elif 0 < duration_ms <= DURATION_MS_MAX:
            entry.timer = loop.call_later(duration_ms / 1000, self._elapsed, entry)
        else:
            self._finish(entry, Fault("invalid_duration", f"a duration is 0 to {DURATION_MS_MAX} ms"))

    def _elapsed(self, entry: Entry) -> None:
        """The duration is over: now the exact value."""
        entry.timer = None
        assignment = entry.assignment
        a, b = assignment.operands
        if is_heavy(a, b):
            heavy = asyncio.get_running_loop().create_task(
                self._finish_heavy(entry), name=f"heavy {entry.key[0]}"
            )
            entry.computing = heavy
            self._heavy.add(heavy)
            heavy.add_done_callback(self._heavy.discard)
        else:
            self._finish(entry, compute(assignment.operation, a, b))

    async def _finish_heavy(self, entry: Entry) -> None:
        outcome = await self._compute_apart(entry.assignment.operation, *entry.assignment.operands)
        if self.ledger.open.get(entry.key) is entry:
            self._finish(entry, outcome)

    async def _compute_apart(self, operation: str, a: str, b: str) -> str | Fault:
        """`compute` in a child process. Never raises anything but CancelledError."""
        try:
            return await self._offload.run(compute, operation, a, b)
        except Exception as error:
            log.exception("arithmetic failed", operation=operation)
            return Fault("internal", f"the agent failed to compute: {type(error).__name__}")

    def _finish(self, entry: Entry, outcome: str | Fault) -> None:
        assignment = entry.assignment
        self.ledger.settle(entry.key, outcome)
        self._count(assignment.operation, outcome)
        self._free(entry)
        self.on_outbox()

    def _free(self, entry: Entry) -> None:
        """`entry` is no longer open: give its slot to the next."""
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        if entry.computing is not None:
            if entry.computing is not asyncio.current_task():
                entry.computing.cancel()
            entry.computing = None
        if entry.started is None:
            self._waiting.pop(entry.key, None)
        else:
            entry.started = None
            self._leave_slot()
        if self._finish_by is not None:
            self._note_drained()

    def _leave_slot(self) -> None:
        self._used -= 1
        if self._waiting:
            # Not at once: we may be in the midst of a batch, and each beginning may end with another one.
            self._pump_later()

    def _count(self, operation: str, outcome: str | Fault) -> None:
        if isinstance(outcome, Fault):
            self.faults[outcome.code if outcome.code in self.faults else "other"] += 1
        elif operation in self.computed:
            self.computed[operation] += 1

    # --- the agent's own HTTP port ---

    async def execute(
        self, task: str, operation: str, operands: tuple[str, str], duration_ms: int
    ) -> str | Fault:
        """Compute on the spot, in a slot of its own, for `duration_ms`. Raises: NoFreeSlot."""
        if self._used >= self.count or self._waiting or self.is_stopping:
            raise NoFreeSlot
        loop = asyncio.get_running_loop()
        self._visit_number += 1
        number = self._visit_number
        self.visits[number] = Visit(task, operation, operands, duration_ms, loop.time())
        self._used += 1
        try:
            if duration_ms:
                await asyncio.sleep(duration_ms / 1000)
            if is_heavy(*operands):
                outcome = await self._compute_apart(operation, *operands)
            else:
                outcome = compute(operation, *operands)
        finally:
            del self.visits[number]
            self._leave_slot()
        self._count(operation, outcome)
        return outcome

    def pass_on(self, task: str, attempt: int, outcome: str | Fault) -> None:
        """Take `outcome` as the result of an attempt that is held, as if it had been computed here.

        Where there is a result already, that one stays. Raises: NotHeld.
        """
        key: Key = (task, attempt)
        if key in self.ledger.results:
            return
        entry = self.ledger.open.get(key)
        if entry is None:
            others = [other for _, other in self.ledger.entries_of(task)]
            raise NotHeld(max(others, default=None))
        self._finish(entry, outcome)

    # --- stopping ---

    def drain(self, drain_s: float) -> None:
        """The agent will leave: go on with what can be finished within `drain_s`, begin nothing that lasts
        longer.

        New tasks are still computed while they end before the last of those: they cost the leaving no time,
        and the orchestrator would get them back only with `bye`. Called again, it can only shorten the time.
        """
        now = asyncio.get_running_loop().time()
        deadline = now + drain_s
        ends = [end for end in map(self._planned_end, self.ledger.open.values()) if end <= deadline]
        # Arithmetic on large numbers that is under way has no planned end; it is given the whole time.
        under_way = any(entry.computing is not None for entry in self.ledger.open.values())
        finish_by = deadline if under_way else max(ends, default=now)
        self._finish_by = finish_by if self._finish_by is None else min(self._finish_by, finish_by)
        if drain_s <= 0:
            self._drained.set()
        self._note_drained()

    async def drained(self) -> None:
        """Return when nothing is left that `drain` waits for. Only after `drain`; bounded by its time."""
        assert self._finish_by is not None
        left_s = self._finish_by - asyncio.get_running_loop().time()
        try:
            # A little more than planned: timers end a bit late, and their arithmetic comes after.
            async with asyncio.timeout(max(left_s, 0.0) + 0.1):
                await self._drained.wait()
        except TimeoutError:
            pass

    def has_to_deliver(self) -> bool:
        """Whether a stopping agent still has something to bring: results, or what it is finishing."""
        return bool(self.ledger.results) or (self.is_stopping and not self._drained.is_set())

    async def close(self) -> None:
        """Abandon everything that is computed here. Leaves no timer and no asyncio task behind."""
        for entry in list(self.ledger.open.values()):
            if entry.timer is not None:
                entry.timer.cancel()
        for heavy in list(self._heavy):
            heavy.cancel()
        await asyncio.gather(*self._heavy, return_exceptions=True)

    def _may_begin(self, entry: Entry) -> bool:
        return self._finish_by is None or self._planned_end(entry) <= self._finish_by

    def _planned_end(self, entry: Entry) -> float:
        started = asyncio.get_running_loop().time() if entry.started is None else entry.started
        return started + entry.assignment.duration_ms / 1000

    def _note_drained(self) -> None:
        if self._finish_by is not None and all(
            self._planned_end(entry) > self._finish_by for entry in self.ledger.open.values()
        ):
            self._drained.set()


_CANCELLED: Final = Fault("cancelled", "cancelled by the orchestrator")


def _ignore() -> None:
    """No session to tell."""
