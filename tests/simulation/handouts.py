"""What was handed to whom, and whether it may be handed to another one."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from uuid import UUID

from curta_server.core.plan import Plan
from curta_server.settings import Settings
from curta_wire.frames import OPERATIONS, Cancel, Result, Tasks, Welcome
from tests.simulation.database import Database
from tests.simulation.loops import Violation, World

if TYPE_CHECKING:
    from tests.simulation.agents import Agent
    from tests.simulation.network import Channel
    from tests.simulation.orchestrators import Orchestrator

BREATH_S = 0.001
"""What one turn decides is written within this."""
MARGIN_S = 0.5
"""Of the tick (0.2 s) and the network: so much nearer to a limit nothing is said."""
CANCEL_S = 2.5
"""What was cancelled is handed out no longer: a notice says so at once, the poll behind it after a second."""
NAP_S = 20.0
"""No orchestrator is stopped for longer; a late tick extends every lease by as much as it is late."""


@dataclass(slots=True)
class Story:
    """An expression as its user knows it."""

    id: UUID
    text: str
    owner: str
    plan: Plan
    outcomes: list[Fraction | None]
    value: Fraction | None
    is_accepted: bool = False
    failures: dict[int, int] = field(default_factory=dict)
    pushes: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Push:
    """An attempt that an orchestrator sent."""

    agent: "Agent"
    channel: "Channel"
    at_s: float
    duration_s: float
    is_taken_back: bool = False
    """Cancelled or dropped by an orchestrator."""


@dataclass(slots=True)
class TermSeen:
    """What the table said when a term began."""

    epoch: int
    began_s: float
    expected: set[str]
    running: set[UUID]
    hello_s: float
    is_quiet: bool = False
    """Whether so long nobody came that recovered tasks went out to others."""


class Handouts:
    """Every attempt that any orchestrator sent, and who was told what about it."""

    def __init__(self, world: World, database: Database, settings: Settings) -> None:
        self.world = world
        self.database = database
        self.settings = settings
        self.stories: dict[UUID, Story] = {}
        self.pushes: dict[str, dict[int, Push]] = {}
        self.terms: dict[str, TermSeen] = {}
        self.by_url: dict[str, Orchestrator] = {}
        self.removed: dict[str, float] = {}
        """When an agent was removed or its token revoked: all bets are off."""
        self.drained: dict[str, float] = {}
        self.liars: set[str] = set()
        """Agents that said of their own attempts what is not so."""
        self.last: dict[str, Channel] = {}
        """Each agent's latest connection by which an orchestrator serves it or did so: not the latest hello,
        for one that comes late, of a connection that was given up long ago, is taken by nobody."""
        self.stored_s: dict[tuple[UUID, int], float] = {}
        """When each task's row was committed."""
        self.is_database_well = False
        """Whether nothing ever goes wrong with it in this history."""
        self.tasks = 0
        self.repeats = 0

    # --- agents -------------------------------------------------------------------------------------

    def failed(self, agent: "Agent", task: str) -> None:
        """The agent fails the task."""
        expression, _, number = task.rpartition(".")
        failures = self.stories[UUID(expression)].failures
        failures[int(number)] = failures.get(int(number), 0) + 1

    def forgot(self, agent: "Agent", task: str) -> None:
        """An attempt went astray in the agent."""

    def acknowledged(self, agent: "Agent", result: Result) -> None:
        """The agent is told that it may forget a result."""
        if result.error and result.error.code not in ("division_by_zero", "too_large"):
            return
        expression, _, number = result.task.rpartition(".")
        id = UUID(expression)
        row = self.database.expressions.get(id)
        if row is None or row.finished_us is not None or (id, int(number)) in self.database.journal:
            return
        raise Violation(
            f"{agent.name} was told to forget {result.task}#{result.attempt}, which is neither stored nor"
            " unwanted"
        )

    def said(self, channel: "Channel", frame: Any) -> None:
        """An orchestrator says something to an agent."""
        kind = type(frame)
        if kind is Tasks:
            self._pushed(channel, frame)
        elif kind is Welcome:
            for one in frame.drop:
                self._taken_back(one.task, one.attempt)
        elif kind is Cancel:
            for one in frame.tasks:
                self._taken_back(one.task, one.attempt)

    def _taken_back(self, task: str, attempt: int) -> None:
        push = self.pushes.get(task, {}).get(attempt)
        if push is not None:
            push.is_taken_back = True

    def _pushed(self, channel: "Channel", frame: Tasks) -> None:
        agent, orchestrator, now = channel.agent, channel.orchestrator, self.world.now
        for assignment in frame.tasks:
            name, attempt = assignment.task, assignment.attempt
            pushes = self.pushes.setdefault(name, {})
            expression, _, number = name.rpartition(".")
            story = self.stories[UUID(expression)]
            epoch = attempt >> 20
            if attempt in pushes:
                raise Violation(f"{name}#{attempt} is handed out twice")
            if any(other >> 20 == epoch and other > attempt for other in pushes):
                raise Violation(f"{name}#{attempt} comes after a greater number of the same term")
            if epoch != orchestrator.epoch and orchestrator.epoch:
                raise Violation(f"{name}#{attempt} is handed out in term {orchestrator.epoch}")
            if agent.id in self.drained and now - self.drained[agent.id] > MARGIN_S:
                raise Violation(f"{agent.name} is draining, and is handed {name}")
            if epoch == self.database.leadership.epoch:
                self._check_anew(channel, name)
                self._check_wanted(channel, name)
                for other, push in pushes.items():
                    self._check_second(channel, name, other, push)
            if pushes:
                self.repeats += 1
            pushes[attempt] = Push(agent, channel, now, assignment.duration_ms / 1000)
            task = int(number)
            story.pushes[task] = story.pushes.get(task, 0) + 1
            self.world.note(
                orchestrator.name, "hands", agent.name, f"{name[-8:]}#{epoch}.{attempt & 0xFFFFF}"
            )

    def _check_anew(self, channel: "Channel", name: str) -> None:
        """What is in the journal is not computed again."""
        stored_s = self.stored_s.get((UUID(name.rpartition(".")[0]), _number(name)))
        if stored_s is None or channel.orchestrator.slept_since(stored_s - NAP_S) or channel.was_full:
            return
        if self.world.now - stored_s > MARGIN_S:
            raise Violation(f"{name} is in the journal, and is handed to {channel.agent.name}")

    def _check_wanted(self, channel: "Channel", name: str) -> None:
        """What has ended is computed no longer."""
        row = self.database.expressions[UUID(name.rpartition(".")[0])]
        if row.finished_us is None or not self.is_database_well or channel.was_full:
            return
        since_s = (self.database.clock_us - row.finished_us) / 1_000_000
        if since_s > CANCEL_S and not channel.orchestrator.slept_since(self.world.now - since_s - NAP_S):
            raise Violation(f"{name} is handed out, {since_s:.1f} s after its expression was {row.status}")

    def _check_second(self, channel: "Channel", name: str, attempt: int, push: Push) -> None:
        """Another attempt is handed out; was the first one's agent there, with time left?"""
        holder, now = push.agent, self.world.now
        key = (name, attempt)
        result = holder.results.get(key)
        if result is not None and result.error and result.error.code != "division_by_zero":
            return
        if holder.is_dead or push.is_taken_back or (key not in holder.open and result is None):
            return
        if holder.id in self.removed or holder.id in self.liars:
            return
        settings = self.settings
        # Of an attempt that was lost and came back, the duration at its hand-out is not known any more.
        operation = OPERATIONS[self.stories[UUID(name.rpartition(".")[0])].plan.operations[_number(name)]]
        duration_s = min(push.duration_s, self.database.tables["operations"][operation] / 1000)
        limit_s = duration_s * settings.limit_factor + settings.limit_extra_s
        if now - push.at_s > limit_s - MARGIN_S:
            return
        last = self.last.get(holder.id)
        orchestrator = channel.orchestrator
        term = self.terms[orchestrator.name]
        what = f"{name}#{attempt} is with {holder.name}, and is handed to {channel.agent.name} too"
        if last is not None and last.orchestrator is orchestrator and last.served_s >= term.began_s:
            if last.is_closed_by_server or last.said_bye:
                return
            if last.ended_s is None:
                is_deaf = last.down.held_s is not None and now - last.down.held_s > settings.lease_s - 3
                if now - last.heard_s < settings.lease_s - MARGIN_S and not is_deaf:
                    # One turn closes the one and hands to the other: the close is written a moment later.
                    self.world.at(BREATH_S, self._check_closed, last, f"{what}, which is connected")
            elif now - last.ended_s < settings.grace_s - MARGIN_S:
                raise Violation(f"{what}, which has been gone for {now - last.ended_s:.1f} s")
        elif holder.id in term.expected and UUID(name.rpartition(".")[0]) in term.running:
            waited_s = now - term.hello_s
            if (
                not term.is_quiet
                and waited_s < settings.recovery_quiet_s - MARGIN_S
                and now - term.began_s < settings.recovery_max_s
            ):
                raise Violation(f"{what}: {waited_s:.1f} s after the last hello, and it was expected back")

    def _check_closed(self, channel: "Channel", what: str) -> None:
        orchestrator = channel.orchestrator
        if channel.ended_s is None and not (
            not orchestrator.is_alive or orchestrator.slept_since(self.world.now - BREATH_S)
        ):
            raise Violation(what)

    def joined(self, channel: "Channel") -> None:
        """An orchestrator took the agent's hello, and serves it by this connection from now on."""
        agent, now = channel.agent, self.world.now
        self.last[agent.id] = channel
        if agent.channel is not channel:
            # It gave this one up, and nobody can tell: its end is still under way.
            self.removed[agent.id] = now
        term = self.terms.get(channel.orchestrator.name)
        if term is not None:
            term.is_quiet = term.is_quiet or now - term.hello_s > self.settings.recovery_quiet_s - MARGIN_S
            term.hello_s = now


def _number(name: str) -> int:
    return int(name.rpartition(".")[2])
