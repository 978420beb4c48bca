"""Agents and what they hold, as the scheduler sees them: records only, the rules are in `scheduler` and
`liveness`."""

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curta_server.core.execution import Execution


class Run:
    """One attempt in somebody's hands; afterwards, with `value` and `finished_s`, the row for the journal.

    `name` is the task on the wire, `push` counts the pushes of the session that carried it; times are the
    caller's monotonic seconds. `value` None in the journal means division by zero. `is_taken` is the
    journal's mark on a row that it has put into a commit, which is repeated until it is durable.
    """

    __slots__ = (
        "agent", "attempt", "duration_ms", "execution", "finished_s", "given_up", "is_taken", "leased_s",
        "name", "push", "started_s", "task", "value",
    )  # fmt: skip

    def __init__(
        self, execution: "Execution", task: int, name: str, attempt: int, agent: "Agent", push: int,
        duration_ms: int, now: float,
    ) -> None:  # fmt: skip
        self.execution = execution
        self.task = task
        self.name = name
        self.attempt = attempt
        self.agent = agent
        self.push = push
        self.duration_ms = duration_ms
        self.started_s = now
        self.finished_s = now
        self.leased_s = now
        self.given_up = False
        self.is_taken = False
        self.value: str | None = None


PASSED_ON_KEPT = 100
"""Of the tasks that were taken from a lost agent, so many are remembered by name."""

Claims = dict[str, dict["Agent", dict[str, None]]]
"""By expression: which agents hold undecided attempts of it, and of which tasks. All agents share one, so
that deciding about an expression costs what it has there."""


class Agent:
    """One agent. `held` counts its taken slots: runs, and attempts of expressions that are not in memory
    (yet)."""

    __slots__ = (
        "_claims", "draining", "gone_s", "heard_s", "held", "id", "is_arriving", "is_connected", "is_lost",
        "operations", "passed_on", "passed_on_count", "pulls", "pushes", "runs", "session", "slots",
        "suspects", "turn", "undecided", "unseen",
    )  # fmt: skip

    def __init__(self, id: str, claims: Claims) -> None:
        self.id = id
        self._claims = claims
        self.session = 0
        self.slots = 0
        self.operations = 0
        self.draining = False
        self.pulls = False
        self.is_connected = False
        self.is_arriving = False
        """It said hello, and not all of what it holds was looked at yet."""
        self.is_lost = False
        self.heard_s = 0.0
        self.gone_s = 0.0
        """When its connection closed, or when it was lost."""
        self.held = 0
        self.turn = 0
        self.runs: dict[str, Run] = {}
        self.undecided: dict[str, int] = {}
        self.suspects: set[tuple[str, int]] = set()
        """Attempts that its last beat named and nobody wants: their acks may have crossed it."""
        self.pushes = 0
        self.unseen: deque[tuple[int, float]] = deque()
        """Pushes not yet seen: (number, when)."""
        self.passed_on: dict[str, str] = {}
        """Tasks that were taken from it because it was silent, the first by name, with their user …"""
        self.passed_on_count = 0
        """… and all of them by number."""

    @property
    def free(self) -> int:
        if not self.is_connected or self.draining or self.is_arriving:
            return 0
        return self.slots - self.held

    def is_present(self, since_s: float) -> bool:
        """Whether it is here to take tasks: connected; where it pulls, asking, or heard since then."""
        return self.is_connected and (not self.pulls or self.slots > self.held or self.heard_s >= since_s)

    def add(self, run: Run) -> None:
        if run.name not in self.runs:
            self.held += 1
        self.runs[run.name] = run

    def remove(self, run: Run) -> None:
        if self.runs.get(run.name) is run:
            del self.runs[run.name]
            self.give_back(1)

    def pass_on(self, run: Run) -> None:
        """Others are to compute the task: the agent was not heard for too long."""
        if not run.given_up:
            self.passed_on_count += 1
            if len(self.passed_on) < PASSED_ON_KEPT:
                self.passed_on[run.name] = run.execution.user.name

    def keep_undecided(self, task: str, attempt: int) -> None:
        if task not in self.undecided:
            self.held += 1
            self._claims.setdefault(_expression(task), {}).setdefault(self, {})[task] = None
        self.undecided[task] = attempt

    def forget_undecided(self, task: str) -> int | None:
        attempt = self.undecided.pop(task, None)
        if attempt is not None:
            self.give_back(1)
            expression = _expression(task)
            agents = self._claims[expression]
            del agents[self][task]
            if not agents[self]:
                del agents[self]
                if not agents:
                    del self._claims[expression]
        return attempt

    def give_back(self, slots: int) -> None:
        """So many slots hold nothing any more."""
        self.held -= slots
        if self.pulls:
            # Its slots are what it holds and what it asks for: a result is no request for another task.
            self.slots -= slots


def _expression(task: str) -> str:
    return task.rpartition(".")[0]
