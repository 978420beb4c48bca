"""Who is there: sessions, heartbeats, leases, grace, and the gate after a restart.

A part of the scheduler with a file of its own. Liveness comes from the session, never from the length of a
task: an agent that beats may compute for days. Two deadlines do not add up: a closed connection has its
grace, a silent one its lease. Both run on lease time, which stands still while the server itself was not
reading (`Ticked.late_s`).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from curta_server.core.crew import Agent, Claims
from curta_server.core.events import (
    Asked,
    Beaten,
    Closed,
    Joined,
    Left,
    Named,
    Removed,
    Renewed,
    Welcomed,
)  # fmt: skip
from curta_server.core.execution import Execution

if TYPE_CHECKING:
    from curta_server.core.scheduler import Rules, Scheduler

LIMITS_EVERY_S = 1.0
"""How often attempts are looked at for taking too long."""


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
        self._limits_s = now
        self._expected = set(expected)
        self._opened_s = now
        self._hello_s = now
        self.gate_is_closed = bool(self._expected)

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
        for agent in self.agents.values():
            if agent.is_connected:
                is_anyone_here = True
                if not agent.draining:
                    offered = (offered or 0) | agent.operations
        return is_anyone_here, offered

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
        agent.heard_s = self.lease_time
        agent.pushes = 0
        agent.unseen.clear()
        agent.suspects.clear()
        keep, drop = self._reconcile(agent, event.held)
        if agent.pulls:
            agent.slots = agent.held  # it asks with `Asked`
        scheduler.commands.welcomes.append(Welcomed(agent.id, event.session, keep, drop))
        if agent.draining:
            scheduler.commands.drains.append(agent.id)
        scheduler.place(agent)
        self._expected.discard(agent.id)
        self._hello_s = scheduler.now

    def _reconcile(self, agent: Agent, held: Iterable[Named]) -> tuple[list[Named], list[Named]]:
        """Compare what the agent says it holds with what it was handed."""
        scheduler = self._scheduler
        keep: list[Named] = []
        drop: list[Named] = []
        before = dict(agent.runs)
        for task in list(agent.undecided):
            agent.forget_undecided(task)
        said = set(held)
        for name, run in before.items():
            if (name, run.attempt) not in said:
                scheduler.hand_back(run)
        for name, attempt in dict.fromkeys(held):
            run_before = before.get(name)
            if run_before is not None and run_before.attempt == attempt:
                if run_before.given_up:
                    agent.remove(run_before)
                    drop.append(Named(name, attempt))
                else:
                    run_before.push = 0
                    keep.append(Named(name, attempt))
            else:
                verdict = scheduler.adopt(agent, Named(name, attempt))
                if verdict == "keep":
                    keep.append(Named(name, attempt))
                elif verdict == "drop":
                    drop.append(Named(name, attempt))
        return keep, drop

    def adopt_undecided(self, execution: Execution) -> None:
        """The expression came into memory: attempts of it that agents hold are decided now."""
        scheduler = self._scheduler
        for agent, names in list(self._claims.get(execution.id, {}).items()):
            for name in list(names):
                attempt = agent.forget_undecided(name)
                assert attempt is not None
                if scheduler.adopt(agent, Named(name, attempt)) == "drop":
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

    def beaten(self, event: Beaten) -> None:
        """A heartbeat: what the agent has seen and does not hold is ready at once; what two beats in a row
        name and nobody wants is cancelled (a single one may have crossed its ack)."""
        scheduler = self._scheduler
        agent = self.speaking(event.agent, event.session)
        if agent is None:
            return
        scheduler.commands.acks.setdefault(agent.id, [])
        while agent.unseen and agent.unseen[0][0] <= event.seen:
            agent.unseen.popleft()
        suspects, agent.suspects = agent.suspects, set()
        if not agent.runs and not event.held and not agent.undecided:
            return
        said = dict.fromkeys(event.held)
        for run in list(agent.runs.values()):
            named = Named(run.name, run.attempt)
            if named in said:
                del said[named]
                if run.given_up:
                    self._cancel(agent, named)
            elif run.push <= event.seen:
                scheduler.hand_back(run)
        for name in [name for name, attempt in agent.undecided.items() if Named(name, attempt) not in said]:
            agent.forget_undecided(name)
        for named in said:
            if agent.undecided.get(named.task) != named.attempt and scheduler.adopt(agent, named) == "drop":
                agent.suspects.add(named)
                if named in suspects:
                    self._cancel(agent, named)
        scheduler.place(agent)

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
            self._scheduler.hand_back(run)
        for name in list(agent.undecided):
            agent.forget_undecided(name)

    def ticked(self, late_s: float) -> None:
        """Time passed: leases, grace, limits, the gate."""
        self._late_s += late_s
        now, rules = self.lease_time, self._rules
        for agent in list(self.agents.values()):
            if agent.pulls and not agent.is_lost:
                self._expire_pulled(agent, now)
            elif agent.is_connected:
                silent = now - agent.heard_s > rules.lease_s
                if silent or (agent.unseen and now - agent.unseen[0][1] > rules.lease_s):
                    why = "nothing heard" if silent else "a frame was not read"
                    self.close(agent, 1001, f"{why} for {rules.lease_s:g} s")
                    self._lose(agent)
            elif not agent.is_lost:
                if now - agent.gone_s > rules.grace_s:
                    self._lose(agent)
            elif now - agent.gone_s > rules.forget_s:
                del self.agents[agent.id]
        if self._scheduler.now - self._limits_s >= LIMITS_EVERY_S:
            self._limits_s = self._scheduler.now
            self._check_limits()
        if self.gate_is_closed:
            self._check_gate()

    def _expire_pulled(self, agent: Agent, now: float) -> None:
        rules = self._rules
        for run in list(agent.runs.values()):
            if now - run.leased_s > rules.pull_lease_s:
                self._scheduler.lose(run)
        if not agent.runs and agent.slots <= agent.held and now - agent.heard_s > rules.pull_lease_s:
            self._lose(agent)

    def _lose(self, agent: Agent) -> None:
        agent.is_lost = True
        agent.is_connected = False
        agent.gone_s = self.lease_time
        self._scheduler.commands.lost.append(agent.id)
        self._scheduler.withdraw(agent)
        for run in list(agent.runs.values()):
            self._scheduler.lose(run)
        for name in list(agent.undecided):
            agent.forget_undecided(name)

    def _check_limits(self) -> None:
        rules, now = self._rules, self._scheduler.now
        for agent in self.agents.values():
            for run in agent.runs.values():
                limit_s = run.duration_ms / 1000 * rules.limit_factor + rules.limit_extra_s
                if now - run.started_s > limit_s and not run.given_up:
                    self._scheduler.offer_second(run)

    def _check_gate(self) -> None:
        """Recovered tasks go on when all expected agents are back, or none came for a while, or it takes too
        long."""
        rules, now = self._rules, self._scheduler.now
        quiet = now - max(self._hello_s, self._opened_s) >= rules.recovery_quiet_s
        if not self._expected or quiet or now - self._opened_s >= rules.recovery_max_s:
            self.gate_is_closed = False
            # Whoever comes later is welcome, but the next restart need not wait for those who never do.
            self._scheduler.commands.lost.extend(sorted(self._expected))
            self._expected.clear()
            self._scheduler.open_gate()
