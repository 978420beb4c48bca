"""The world around a scheduler: all that can happen.

It holds what the scheduler cannot see (what agents really hold, what is on the wire, what is durable),
performs the commands, and asserts after each of them what design and contract promise (`support.promises`, by
`support.ledger`). Agents come, speak and go in `support.visits`; expressions, journal, time and crashes are
here. `tests/unit/core/test_scheduler_machine.py` decides what happens.
"""

from curta_server.core.events import Absent, Cancelled, Final, Loaded, Named, Stored, Ticked
from curta_server.core.execution import Execution
from curta_server.core.expression import parse
from curta_server.core.plan import build
from tests.support import exact
from tests.support.ledger import Story
from tests.support.promises import ROUNDING_S
from tests.support.visits import Visits


class World(Visits):
    # --- expressions and their journal ---

    def submit(self, text: str, user: str, *, optimize: bool) -> None:
        durations = tuple(self.durations_ms)
        assert len(durations) == 4
        plan = build(parse(text), durations, optimize=optimize)
        if len(plan):
            story = Story(f"x{len(self.stories)}", user, plan, durations, exact.outcomes(plan))
            self.stories[story.id] = story
            self.load(story)

    def load(self, story: Story) -> None:
        """The expression comes into memory, with its journal folded in where it ran before."""
        recovered = story.is_started
        execution = Execution(story.id, story.plan, story.durations, recovered=recovered)
        if recovered:
            execution.fold(story.rows.items())
            story.arrived = {task: Named("", 0) for task, value in story.rows.items() if value is not None}
        story.is_loaded, story.is_recovered = True, recovered
        story.is_gated = recovered and not self.gate_is_open
        commands = self.scheduler.handle([Loaded(execution, story.user, recovered)], self.now)
        is_over = len(story.plan) - 1 in story.arrived
        assert not is_over or commands.finals, "the root's row alone makes an expression done"
        for (agent, _, _), answer in self.early.pop(story.id, {}).items():
            if agent in self.known and not is_over:
                self._take_answer(agent, answer)
        cancelled = {(agent, one) for agent, all_ in commands.cancels.items() for one in all_}
        for agent, claims in self.undecided.items():
            for named in [one for one in claims if one.task.startswith(story.id + ".")]:
                claims.remove(named)
                if self._is_delivered(story, agent, named):
                    continue
                if (agent, named) in cancelled:
                    wanted = self._is_wanted(story, named) and self._is_legitimate(agent, named)
                    # What came early may end it, with an error or with the root's value.
                    assert is_over or story.is_ending or not wanted, "an open task's attempt is kept"
                    self.given_up[named] = self._live(agent, 0)
                else:
                    self._adopt(agent, named)
        again = commands.again
        self.perform(commands)
        while again:
            commands = self.scheduler.handle((), self.now)
            again = commands.again
            self.perform(commands)
        self.check()

    def cancel(self, story: Story) -> None:
        """The final status is in the table already when the scheduler learns of it."""
        story.end = Final(story.id, None, None)
        self.early.pop(story.id, None) if not story.is_loaded else None
        self.handle(Cancelled(story.id))

    def look_up(self) -> None:
        """What was asked about is looked up in the table."""
        unknown, self.unknown = sorted(self.unknown), set()
        for expression in unknown:
            story = self.stories.get(expression)
            if (story is None or story.end is not None) and not (story and story.is_loaded):
                for agent, claims in self.undecided.items():
                    for named in [one for one in claims if one.task.rpartition(".")[0] == expression]:
                        claims.remove(named)
                        self.given_up[named] = self._live(agent, 0)
                self.early.pop(expression, None)
                self.handle(Absent(expression))

    def commit(self) -> None:
        """The oldest batch becomes durable: rows and ends together, each row once."""
        runs, finals = self.batches.popleft()
        ended: list[str] = []
        for run in runs:
            story = self.stories[run.execution.id]
            assert run.task not in story.rows, "each task has at most one row"
            story.rows[run.task] = run.value
        for final in finals:
            story = self.stories[final.expression]
            ended.append(story.id)
            if story.end is None:
                story.end = final
                if final.value is not None:
                    assert len(story.plan) - 1 in story.rows, "the root's row and the end are one"
        self.handle(Stored(runs, ended))

    # --- time and crashes ---

    def tick(self, seconds: float, late_s: float = 0.0) -> None:
        self.now += seconds
        self.late_s += late_s
        waited = self.now - max(self.opened_s, self.hello_s) >= self.rules.recovery_quiet_s
        if not self.expected or waited or self.now - self.opened_s >= self.rules.recovery_max_s:
            never_came, self.expected = self.expected if not self.gate_is_open else set(), set()
            self.gate_is_open = True
        else:
            never_came = set()
        for name, attempts in self.live.items():
            if any(self.now > live.limit_s - ROUNDING_S for live in attempts.values()):
                self.slow.add(name)
        due = {agent for agent in self.known - self.lost if self._is_due(agent)}
        for agent in sorted(due):
            self._lose_all(agent)
        self._lose_pulled()
        pulling = {agent for agent in self.known if self.peers[agent].pulls}
        commands = self.handle(Ticked(late_s))
        assert due | never_came == set(commands.lost) - pulling, "who is lost, and who is not yet"
        for agent in pulling & set(commands.lost):
            assert self.lease_s - self.heard[agent] > self.rules.pull_lease_s
            assert not any(live.agent == agent for all_ in self.live.values() for live in all_.values())
            self.lost.add(agent)
            self.peers[agent].is_connected = False

    def _is_due(self, agent: str) -> bool:
        """Whether the agent's time is up: closed for the grace, silent for the lease, or deaf for it."""
        if self.peers[agent].pulls:
            return False
        now, rules = self.lease_s, self.rules
        if agent in self.gone:
            return now - self.gone[agent] > rules.grace_s
        unseen = self.unseen[agent]
        if now - self.heard[agent] > rules.lease_s:
            return True
        # The operands here are short: whatever time they are given on their way is below the rounding.
        return bool(unseen) and now - unseen[0][1] > rules.lease_s + ROUNDING_S

    def _lose_all(self, agent: str) -> None:
        self.lost.add(agent)
        self.undecided.pop(agent, None)
        self._forget_given_up(agent)
        for name, attempts in self.live.items():
            for attempt in [a for a, live in attempts.items() if live.agent == agent]:
                del attempts[attempt]
                self._count_loss(name)

    def _lose_pulled(self) -> None:
        for name, attempts in self.live.items():
            for attempt, live in list(attempts.items()):
                if self.peers[live.agent].pulls and self.lease_s - live.leased_s > self.rules.pull_lease_s:
                    del attempts[attempt]
                    self._count_loss(name)

    def _count_loss(self, name: str) -> None:
        story, task = self._find(name)
        assert story is not None
        story.losses[task] = story.losses.get(task, 0) + 1

    def crash(self) -> None:
        """kill -9, and another term: what was not committed is gone, agents keep what they hold."""
        expected = [peer.name for peer in self.peers.values() if peer.is_connected and not peer.pulls]
        self.epoch += 1
        for peer in self.peers.values():
            peer.is_connected = False
            peer.wire.clear()
        for story in self.stories.values():
            story.is_loaded = story.is_ended = story.is_ending = False
            story.arrived, story.failures, story.losses = {}, {}, {}
            story.too_large = set()
        self._begin(expected)
