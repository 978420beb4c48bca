"""A scheduler on a stage: short commands for what happens, and memory for what it said.

The time is the test's (`now`); nothing is durable until the test says `store`. After every step the
scheduler's own invariants are checked.
"""

from collections.abc import Iterable, Sequence

from curta_server.core.crew import Run
from curta_server.core.events import (
    Answer,
    Answered,
    Asked,
    Beaten,
    Cancelled,
    Commands,
    Event,
    Final,
    Joined,
    Left,
    Loaded,
    Named,
    Stored,
    Ticked,
)  # fmt: skip
from curta_server.core.execution import Execution
from curta_server.core.expression import parse
from curta_server.core.invariants import check
from curta_server.core.plan import build
from curta_server.core.scheduler import Rules, Scheduler
from tests.support import exact

ADDITION, SUBTRACTION, MULTIPLICATION, DIVISION = 1, 2, 4, 8
EVERYTHING = 15


class Stage:
    """One scheduler, its time, and the hands its tasks are in."""

    def __init__(
        self,
        *,
        epoch: int = 3,
        durations_ms: Sequence[int] = (1000, 1000, 2000, 2000),
        expected: Iterable[str] = (),
        rules: Rules | None = None,
    ) -> None:
        self.now = 100.0
        self.scheduler = Scheduler(epoch, rules or Rules(), durations_ms, expected=expected, now=self.now)
        self.sessions: dict[str, int] = {}
        self.hands: dict[str, list[Run]] = {}
        """What was pushed to each agent and not answered through `answer`."""
        self.waiting: list[Run] = []
        """Rows for the journal, not durable yet."""
        self.finals: list[Final] = []
        self.ends: dict[str, Final] = {}
        """Every end the scheduler has decided."""
        self._numbers = 0

    # --- what happens

    def do(self, *events: Event) -> Commands:
        commands = self.scheduler.handle(events, self.now)
        self._note(commands)
        while commands.again:
            more = self.scheduler.handle((), self.now)
            self._note(more)
            commands = merged([commands, more])
            commands.again = more.again
        check(self.scheduler)
        return commands

    def _note(self, commands: Commands) -> None:
        for agent, runs in commands.pushes.items():
            self.hands.setdefault(agent, []).extend(runs)
        self.waiting += commands.journal
        self.finals += commands.finals
        self.ends |= {final.expression: final for final in commands.finals}

    def wait(self, seconds: float, *, beating: Sequence[str] = (), late_s: float = 0.0) -> Commands:
        """Let time pass in ticks of 0.2 s; those who beat name exactly what is in their hands."""
        said: list[Commands] = []
        for _ in range(round(seconds / 0.2)):
            self.now += 0.2
            said.append(self.do(*(self.beat_of(agent) for agent in beating), Ticked(late_s)))
            late_s = 0.0
        return merged(said)

    def submit(
        self,
        text: str,
        user: str = "ann",
        *,
        id: str | None = None,
        optimize: bool = True,
        journal: Iterable[tuple[int, str | None]] | None = None,
        gated: bool = False,
    ) -> Execution:
        """An expression comes into memory: with a journal (which may be empty), as after a restart."""
        self._numbers += 1
        durations = tuple(self.scheduler.durations_ms)
        assert len(durations) == 4
        plan = build(parse(text), durations, optimize=optimize)
        execution = Execution(id or f"x{self._numbers}", plan, durations, recovered=journal is not None)
        if journal is not None:
            execution.fold(journal)
        self.do(Loaded(execution, user, gated))
        return execution

    def join(
        self,
        agent: str,
        slots: int = 1,
        operations: int = EVERYTHING,
        *,
        held: Sequence[Named] = (),
        draining: bool = False,
        pulls: bool = False,
    ) -> Commands:
        self._numbers += 1
        self.sessions[agent] = self._numbers
        self.hands[agent] = [run for run in self.hands.get(agent, []) if named(run) in held]
        return self.do(Joined(agent, self._numbers, slots, operations, held, draining, pulls))

    def leave(self, agent: str, *, bye: bool = False) -> Commands:
        return self.do(Left(agent, self.sessions[agent], bye))

    def ask(self, agent: str, count: int) -> Commands:
        return self.do(Asked(agent, self.sessions[agent], count))

    def beat_of(
        self,
        agent: str,
        held: Sequence[Named] | None = None,
        seen: int = 1_000_000,
        session: int | None = None,
    ) -> Beaten:
        if held is None:
            held = [named(run) for run in self.hands[agent]]
        return Beaten(agent, session or self.sessions[agent], held, seen)

    def beat(self, agent: str, held: Sequence[Named] | None = None, seen: int = 1_000_000) -> Commands:
        return self.do(self.beat_of(agent, held, seen))

    def answer(
        self, run: Run, value: str | None = None, *, error: str | None = None, by: str = ""
    ) -> Commands:
        """The agent answers: with the exact value, where the test names none."""
        agent = by or run.agent.id
        if value is None and error is None:
            value = value_of(run)
        self.hands[agent] = [other for other in self.hands[agent] if other is not run]
        said = Answer(run.name, run.attempt, value, error, "it said why" if error else "")
        return self.do(Answered(agent, self.sessions[agent], [said]))

    def store(self) -> Commands:
        """All that waits is durable."""
        runs, self.waiting = self.waiting, []
        ended, self.finals = [final.expression for final in self.finals], []
        return self.do(Stored(runs, ended))

    def cancel(self, execution: Execution) -> Commands:
        return self.do(Cancelled(execution.id))

    # --- what is there

    def held(self, agent: str) -> list[Run]:
        return self.hands[agent]

    def only(self, agent: str) -> Run:
        (run,) = self.hands[agent]
        return run

    def computing(self, execution: Execution) -> list[str]:
        """The agents that compute the expression, one for each task in somebody's hands."""
        return sorted(run.agent.id for run in execution.runs.values())

    def finish(self, agents: Sequence[str]) -> None:
        """Compute and store until nothing is in these hands."""
        while any(self.hands[agent] for agent in agents):
            for agent in agents:
                for run in list(self.hands[agent]):
                    self.answer(run)
            self.store()


def named(run: Run) -> Named:
    return Named(run.name, run.attempt)


def value_of(run: Run) -> str | None:
    """The exact value of the task, as an honest agent would compute it."""
    return exact.wire(exact.outcomes(run.execution.plan)[run.task])


def merged(parts: Sequence[Commands]) -> Commands:
    """Several answers as one."""
    whole = Commands()
    for part in parts:
        for name in ("journal", "finals", "welcomes", "drains", "closes", "lost", "started", "dropped"):
            getattr(whole, name).extend(getattr(part, name))
        for name in ("pushes", "cancels", "acks"):
            for agent, entries in getattr(part, name).items():
                getattr(whole, name).setdefault(agent, []).extend(entries)
        whole.unknown |= part.unknown
    return whole
