"""Who is there: sessions, heartbeats, leases and grace.

A part of the scheduler with a file of its own. Liveness comes from the session, never from the length of a
task: an agent that beats may compute for days. Two deadlines do not add up: a closed connection has its
grace, a silent one its lease. Both run on lease time, which stands still while the server itself was not
reading (`Ticked.late_s`).
"""

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from curta_server.core.arrivals import BUDGET, Arrivals
from curta_server.core.crew import Agent, Claims
from curta_server.core.events import (
    Asked,
    Beaten,
    Closed,
    Heard,
    Joined,
    Left,
    Named,
    Removed,
    Renewed,
    Unsent,
)  # fmt: skip
from curta_server.core.execution import Execution
from curta_server.core.gate import Gate
from curta_server.core.others import Others
from curta_server.core.overdue import Overdue

if TYPE_CHECKING:
    from curta_server.core.scheduler import Rules, Scheduler

LOSE_BUDGET = 4_000
"""Attempts of lost agents that one tick frees, about 20 ms: a herd that is gone is dealt with in several."""
SLOW_BYTES_S = 32 * 1024
"""A link that is slower than this for operands of a megabyte counts as deaf."""


class Liveness:
    """The agents by id, and the rules by which they come, stay and go."""

    def __init__(
        self, rules: "Rules", scheduler: "Scheduler", *, expected: Iterable[str], now: float
    ) -> None:
        self.agents: dict[str, Agent] = {}
        self._claims: Claims = {}
        self._rules = rules
        self._scheduler = scheduler
        self._late_s = 0.0
        self._freed = 0
        self.gate = Gate(rules, expected, now)
        self.arrivals = Arrivals(scheduler)
        self._overdue = Overdue(scheduler, self.agents)

    @property
    def lease_time(self) -> float:
        """The caller's time less what the server was late."""
        return self._scheduler.now - self._late_s

    def lease_time_at(self, now: float) -> float:
        """Lease time at another moment than the scheduler's last."""
        return now - self._late_s

    def speaking(self, id: str, session: int) -> Agent | None:
        """The agent, if this session is its current one; it was heard just now."""
        agent = self.agents.get(id)
        if agent is None or agent.session != session or not agent.is_connected:
            return None
        agent.heard_s = self.lease_time
        return agent

    def offer(self) -> tuple[bool, int | None]:
        """Whether any agent is connected, and the operations (a bit each) of those that take tasks; None
        where none does."""
        offered: int | None = None
        is_anyone_here = False
        since_s = self.lease_time - self._rules.grace_s
        for agent in self.agents.values():
            if agent.is_present(since_s):
                is_anyone_here = True
                if not agent.draining:
                    offered = (offered or 0) | agent.operations
        return is_anyone_here, offered

    def others(self) -> Others:
        """For the tasks that should avoid somebody, as of now."""
        now, since_s = self._scheduler.now, self.lease_time - self._rules.grace_s
        return Others(self.agents.values(), now, since_s)

    # --- come -------------------------------------------------------------------------------------

    def joined(self, event: Joined) -> None:
        """A new session. What it still holds goes on; what it was handed and does not hold is ready at
        once."""
        scheduler = self._scheduler
        agent = self.agents.get(event.agent)
        if agent is None:
            agent = self.agents[event.agent] = Agent(event.agent, self._claims)
        elif event.session <= agent.session:
            return
        elif agent.is_connected and not event.pulls:
            scheduler.commands.closes.append(
                Closed(agent.id, agent.session, 4002, "the same agent connected elsewhere")
            )
        scheduler.withdraw(agent)
        agent.session = event.session
        agent.slots = event.slots
        agent.operations = event.operations
        agent.draining = event.draining
        agent.pulls = event.pulls
        agent.is_connected = True
        agent.is_lost = False
        agent.passed_on, agent.passed_on_count = {}, 0
        agent.heard_s = self.lease_time
        agent.pushes = 0
        agent.unseen.clear()
        agent.suspects.clear()
        self.gate.came(agent.id, scheduler.now, says_hello=not agent.pulls)
        self.arrivals.arrived(agent, event.held)

    def adopt_undecided(self, execution: Execution) -> None:
        """The expression came into memory: attempts of it that agents hold are decided now."""
        scheduler = self._scheduler
        for agent, names in list(self._claims.get(execution.id, {}).items()):
            for name in list(names):
                attempt = agent.forget_undecided(name)
                assert attempt is not None
                if scheduler.hands.adopt(agent, Named(name, attempt)) == "drop":
                    agent.keep_undecided(name, attempt)  # its slot is free once it has answered
                    self._cancel(agent, Named(name, attempt))
            scheduler.place(agent)

    def cancel_undecided(self, expression: str) -> None:
        """The expression is final or was never there: nobody wants its attempts; their slots are free once
        they are answered."""
        for agent, names in self._claims.get(expression, {}).items():
            for name in names:
                self._cancel(agent, Named(name, agent.undecided[name]))

    def _cancel(self, agent: Agent, named: Named) -> None:
        self._scheduler.commands.cancels.setdefault(agent.id, []).append(named)

    # --- stay -------------------------------------------------------------------------------------

    def heard(self, event: Heard) -> None:
        """A long frame is on its way. No beat can pass it to say what the agent has read meanwhile."""
        agent = self.speaking(event.agent, event.session)
        if agent is not None and agent.unseen:
            agent.unseen[0] = agent.unseen[0][0], self.lease_time

    def beaten(self, event: Beaten) -> None:
        """A heartbeat: what the agent has seen and does not hold is ready at once; what two beats in a row
        name and nobody wants is cancelled (a single one may have crossed its ack), so many at a time."""
        scheduler = self._scheduler
        agent = self.speaking(event.agent, event.session)
        if agent is None:
            return
        commands = scheduler.commands
        commands.acks.setdefault(agent.id, [])
        commands.beats[agent.id] = commands.beats.get(agent.id, 0) + 1
        if agent.unseen and agent.unseen[0][0] <= event.seen:
            while agent.unseen and agent.unseen[0][0] <= event.seen:
                agent.unseen.popleft()
            if agent.unseen:
                # The next one was on its way only from now on, if the link is slow.
                agent.unseen[0] = agent.unseen[0][0], self.lease_time
        suspects, agent.suspects = agent.suspects, set()
        if agent.is_arriving or not (agent.runs or event.held or agent.undecided):
            return
        said = dict.fromkeys(event.held)
        for run in list(agent.runs.values()):
            named = Named(run.name, run.attempt)
            if named in said:
                del said[named]
                if run.given_up:
                    self._cancel(agent, named)
            elif run.push <= event.seen:
                if not run.given_up:
                    # It read of the task and does not hold it: whatever the reason, others will do better.
                    scheduler.hands.avoid(run)
                scheduler.hands.hand_back(run)
        for name in [name for name, attempt in agent.undecided.items() if Named(name, attempt) not in said]:
            agent.forget_undecided(name)
        for named in list(itertools.islice(said, BUDGET)):
            if (
                agent.undecided.get(named.task) != named.attempt
                and scheduler.hands.adopt(agent, named) == "drop"
            ):
                agent.suspects.add(named)
                if named in suspects:
                    self._cancel(agent, named)
        scheduler.place(agent)

    def unsent(self, event: Unsent) -> None:
        """The slots of attempts that never went out are free."""
        agent = self.agents.get(event.agent)
        if agent is not None and agent.session == event.session:
            for name, attempt in event.attempts:
                run = agent.runs.get(name)
                if run is not None and run.attempt == attempt:
                    self._scheduler.hands.hand_back(run)
            self._scheduler.place(agent)

    def asked(self, event: Asked) -> None:
        agent = self.speaking(event.agent, event.session)
        if agent is not None:
            agent.slots = agent.held + event.count
            agent.unseen.clear()
            self._scheduler.place(agent)

    def renewed(self, event: Renewed) -> None:
        agent = self.agents.get(event.agent)
        run = agent.runs.get(event.task) if agent is not None else None
        if agent is not None and run is not None:
            run.leased_s = agent.heard_s = self.lease_time

    # --- go ---------------------------------------------------------------------------------------

    def left(self, event: Left) -> None:
        agent = self.agents.get(event.agent)
        if agent is None or agent.session != event.session or not agent.is_connected:
            return
        agent.is_connected = False
        agent.gone_s = self.lease_time
        self._scheduler.withdraw(agent)
        if event.bye:
            self._hand_back_all(agent)
            del self.agents[agent.id]

    def drained(self, id: str) -> None:
        agent = self.agents.get(id)
        if agent is not None and not agent.draining:
            agent.draining = True
            self._scheduler.withdraw(agent)
            self._scheduler.commands.drains.append(id)

    def removed(self, event: Removed) -> None:
        agent = self.agents.get(event.agent)
        if agent is not None:
            if agent.is_connected:
                self.close(agent, event.code, event.reason)
            self._hand_back_all(agent)
            del self.agents[agent.id]

    def close(self, agent: Agent, code: int, reason: str) -> None:
        """End the session; the grace begins."""
        self._scheduler.commands.closes.append(Closed(agent.id, agent.session, code, reason))
        agent.is_connected = False
        agent.gone_s = self.lease_time
        self._scheduler.withdraw(agent)

    def _hand_back_all(self, agent: Agent) -> None:
        for run in list(agent.runs.values()):
            self._scheduler.hands.hand_back(run)
        for name in list(agent.undecided):
            agent.forget_undecided(name)

    def ticked(self, late_s: float) -> None:
        """Time passed: leases, grace, limits, the gate."""
        self._late_s += late_s
        now, rules = self.lease_time, self._rules
        self._freed = 0
        for agent in list(self.agents.values()):
            if self._freed > LOSE_BUDGET:
                break  # the others with the next ticks
            if agent.pulls and not agent.is_lost:
                self._expire_pulled(agent, now)
            elif agent.is_connected:
                if late_s and agent.heard_s > now:
                    agent.heard_s = now  # heard after the pause, and before it was known how long that was
                silent = now - agent.heard_s > rules.lease_s
                if silent or self._is_deaf(agent, now):
                    why = "nothing heard" if silent else "a frame was not read"
                    self.close(agent, 1001, f"{why} for {rules.lease_s:g} s")
                    self._lose(agent)
            elif not agent.is_lost:
                if now - agent.gone_s > rules.grace_s:
                    self._lose(agent)
            elif now - agent.gone_s > rules.forget_s:
                del self.agents[agent.id]
        self._overdue.ticked()
        missing = self.gate.open_in_time(self._scheduler.now, is_anyone_arriving=bool(self.arrivals))
        if missing is not None:
            for id in missing:
                self._miss(id)
            self._scheduler.open_gate()

    def _is_deaf(self, agent: Agent, now: float) -> bool:
        """Whether a push was not read within the lease and the time that a slow link takes for it."""
        if not agent.unseen:
            return False
        number, since_s = agent.unseen[0]
        over_s = now - since_s - self._rules.lease_s
        if over_s <= 0:
            return False
        runs = (run for run in agent.runs.values() if run.push == number)
        return over_s * SLOW_BYTES_S > sum(run.execution.operand_bytes(run.task) for run in runs)

    def _expire_pulled(self, agent: Agent, now: float) -> None:
        rules = self._rules
        for run in list(agent.runs.values()):
            if now - run.leased_s > rules.pull_lease_s:
                agent.pass_on(run)
                self._scheduler.hands.lose(run)
        if not agent.runs and agent.slots <= agent.held and now - agent.heard_s > rules.pull_lease_s:
            self._lose(agent)

    def _lose(self, agent: Agent) -> None:
        agent.is_lost = True
        agent.is_connected = False
        agent.gone_s = self.lease_time
        self._scheduler.commands.lost.append(agent.id)
        self._scheduler.withdraw(agent)
        self._freed += len(agent.runs)
        for run in list(agent.runs.values()):
            agent.pass_on(run)
            self._scheduler.hands.lose(run)
        for name in list(agent.undecided):
            agent.forget_undecided(name)

    def _miss(self, id: str) -> None:
        """The agent was connected when the last epoch ended, and never came: lost, as people see it."""
        self._scheduler.commands.lost.append(id)
        if id not in self.agents:
            self.recall(id, self.lease_time)
            self.agents[id].heard_s = self.gate.since_s

    def recall(self, id: str, gone_s: float) -> None:
        """Somebody was lost before this term, or over its beginning: people see it for a while, and it takes
        part in nothing."""
        agent = self.agents[id] = Agent(id, self._claims)
        agent.is_lost = True
        agent.heard_s = agent.gone_s = gone_s
