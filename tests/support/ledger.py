"""A ledger of what was said to whom: our own account of a scheduler's work, kept from the commands alone."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from curta_server.core.crew import Run
from curta_server.core.events import Answer, Final, Named
from curta_server.core.plan import Plan
from curta_server.core.scheduler import Rules
from tests.support import exact
from tests.support.peer import Peer


@dataclass
class Story:
    """One expression from submission to its end."""

    id: str
    user: str
    plan: Plan
    durations: tuple[int, int, int, int]
    outcomes: list[exact.Outcome]
    rows: dict[int, str | None] = field(default_factory=dict)
    """The journal."""
    arrived: dict[int, Named] = field(default_factory=dict)
    """In this epoch: tasks with a value, and whose it was (or a row's)."""
    is_started: bool = False
    is_loaded: bool = False
    is_recovered: bool = False
    is_gated: bool = False
    is_ended: bool = False
    """The scheduler said how it ends; not durable yet."""
    is_ending: bool = False
    """An answer was taken by which it must end: whatever comes after that is not wanted."""
    end: Final | None = None
    """The final status, durable; or, with neither value nor error, cancelled."""
    failures: dict[int, int] = field(default_factory=dict)
    losses: dict[int, int] = field(default_factory=dict)
    too_large: set[int] = field(default_factory=set)

    def name(self, task: int) -> str:
        return f"{self.id}.{task}"

    @property
    def value(self) -> exact.Outcome:
        return exact.operand(self.plan, self.outcomes, self.plan.root)


@dataclass
class Live:
    """An attempt that the server has to believe in somebody's hands."""

    agent: str
    limit_s: float
    """From when on it may have a second attempt beside it."""
    leased_s: float
    number: int
    """Of the frame that carried it; a beat that has seen it and does not name it gives it back."""


class Ledger:
    def __init__(self, rules: Rules, durations_ms: Sequence[int]) -> None:
        self.rules = rules
        self.durations_ms = list(durations_ms)
        self.now = 1000.0
        self.epoch = 1
        self.late_s = 0.0
        self.stories: dict[str, Story] = {}
        self.peers: dict[str, Peer] = {}
        self.peers_made = 0
        self.is_blocked = False
        self._sessions = 0
        self._begin(())

    def _begin(self, expected: Iterable[str]) -> None:
        """An epoch begins: everything but stories, peers and journal is forgotten."""
        self.expected = set(expected)
        self.late_s = 0.0
        self.is_blocked = False
        self.opened_s = self.hello_s = self.now
        self.gate_is_open = not self.expected
        self.batches: deque[tuple[list[Run], list[Final]]] = deque()
        self.live: dict[str, dict[int, Live]] = {}
        self.given_up: dict[Named, Live] = {}
        """What was cancelled and is not answered."""
        self.slow: set[str] = set()
        """Tasks of which an attempt once took too long."""
        self.shunned: set[str] = set()
        """Tasks that an agent had read of and did not hold."""
        self.handed: dict[Named, str] = {}
        """Every attempt of this epoch, and to whom."""
        self.concluded: dict[Named, str] = {}
        """Attempts that were answered, and by whom."""
        self.failed: set[Named] = set()
        self.undecided: dict[str, list[Named]] = {}
        self.early: dict[str, dict[tuple[str, str, int], Answer]] = {}
        self.unknown: set[str] = set()
        self.known: set[str] = set()
        """Agents that the server has a place for (connected, in their grace, or lost)."""
        self.draining: set[str] = set()
        self.lost: set[str] = set()
        self.heard: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self.unseen: dict[str, deque[tuple[int, float]]] = {}
        self.asked: dict[str, int] = {}

    @property
    def lease_s(self) -> float:
        return self.now - self.late_s

    # --- whose an attempt is, and whether anybody wants it ---

    def _find(self, name: str) -> tuple[Story | None, int]:
        expression, _, task = name.rpartition(".")
        story = self.stories.get(expression)
        return story, int(task)

    def _is_heard(self, peer: Peer) -> bool:
        heard = (
            peer.is_connected
            and peer.name in self.known
            and peer.name not in self.gone
            and peer.name not in self.lost
        )
        if heard:
            self.heard[peer.name] = self.lease_s
        return heard

    def _is_legitimate(self, agent: str, named: Named) -> bool:
        """Within the epoch only whom it was handed to; of earlier epochs every agent is believed, as to a
        failure once."""
        epoch = named.attempt >> 20
        if epoch == self.epoch:
            return self.handed.get(named) == agent and named not in self.concluded
        return 0 < epoch < self.epoch and named not in self.failed

    def _is_undecided(self, named: Named) -> bool:
        """An attempt of an earlier term, of an expression that is not in memory."""
        story, _ = self._find(named.task)
        return (story is None or not story.is_loaded) and named.attempt >> 20 != self.epoch

    def _is_delivered(self, story: Story, agent: str, named: Named) -> bool:
        """The attempt won: the task's value is its."""
        _, task = self._find(named.task)
        return story.arrived.get(task) == named and self.concluded.get(named) == agent

    def _is_wanted(self, story: Story, named: Named) -> bool:
        _, task = self._find(named.task)
        return (
            0 <= task < len(story.plan)
            and story.is_loaded
            and not story.is_ended
            and story.end is None
            and task not in story.arrived
            and len(self.live.get(named.task, {})) < 2
        )

    def _is_ready(self, story: Story, task: int) -> bool:
        name = story.name(task)
        return (
            task not in story.arrived
            and not self.live.get(name)
            and all(of in story.arrived for of in exact.operand_tasks(story.plan, task))
            and not story.failures.get(task)
            and name not in self.slow
            and name not in self.shunned
        )

    # --- entries ---

    def _adopt(self, agent: str, named: Named) -> None:
        story, task = self._find(named.task)
        assert story is not None
        duration_ms = self.durations_ms[story.plan.operations[task]]
        live = self.live.setdefault(named.task, {})
        assert len(live) < 2, "at most two attempts at once"
        live[named.attempt] = self._live(agent, duration_ms)

    def _live(self, agent: str, duration_ms: int) -> Live:
        limit_s = duration_ms / 1000 * self.rules.limit_factor + self.rules.limit_extra_s
        return Live(agent, self.now + limit_s, self.lease_s, self.peers[agent].pushes)

    def _hand_back(self, agent: str, held: set[Named], seen: int | None) -> None:
        """What the server must conclude from what the agent says it holds (and has seen)."""
        for name, attempts in self.live.items():
            for attempt, live in list(attempts.items()):
                known = seen is None or live.number <= seen
                if live.agent == agent and known and Named(name, attempt) not in held:
                    del attempts[attempt]
                    if seen is not None:
                        self.shunned.add(name)
        for named, live in list(self.given_up.items()):
            if live.agent == agent and (seen is None or live.number <= seen) and named not in held:
                del self.given_up[named]

    def _forget_given_up(self, agent: str) -> None:
        for named in [named for named, live in self.given_up.items() if live.agent == agent]:
            del self.given_up[named]

    def _forget_agent(self, agent: str) -> None:
        self._hand_back(agent, set(), None)
        self.undecided.pop(agent, None)
        self.known.discard(agent)
        self.gone.pop(agent, None)
        self.lost.discard(agent)

    def _take_answer(self, agent: str, answer: Answer) -> None:
        named = Named(answer.task, answer.attempt)
        story, task = self._find(answer.task)
        claims = self.undecided.get(agent, [])
        claims[:] = [one for one in claims if one != named]
        if story is None or not story.is_loaded:
            early = self.early.setdefault(answer.task.rpartition(".")[0], {})
            early[agent, answer.task, answer.attempt] = answer
            self.unknown.add(answer.task.rpartition(".")[0])
            return
        if named in self.given_up and self.given_up[named].agent == agent:
            del self.given_up[named]
        live = self.live.get(answer.task, {})
        is_live = answer.attempt in live and live[answer.attempt].agent == agent
        if is_live:
            del live[answer.attempt]
        elif not self._is_legitimate(agent, named):
            return
        self.concluded[named] = agent
        if not 0 <= task < len(story.plan) or task in story.arrived or story.is_ended or story.is_ending:
            return
        if answer.error is None or answer.error == "division_by_zero":
            story.arrived[task] = named
            story.is_ending = answer.error is not None or task == len(story.plan) - 1
        elif answer.error == "too_large":
            story.too_large.add(task)
            story.is_ending = True
        else:
            self.failed.add(named)
            story.failures[task] = story.failures.get(task, 0) + 1
            # An attempt that still runs beside it may succeed.
            story.is_ending = story.failures[task] >= self.rules.failures_max and not live
