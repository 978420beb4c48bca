"""What design and contract promise: commands are performed, and each of them is held against the ledger."""

from collections import Counter
from collections.abc import Iterable

from curta_server.core.crew import Run
from curta_server.core.events import Closed, Commands, Event, Final, Named
from curta_server.core.invariants import check
from curta_server.core.scheduler import Scheduler
from tests.support import exact
from tests.support.ledger import Ledger, Story
from tests.support.peer import Frame, Peer

ROUNDING_S = 1e-6


class Promises(Ledger):
    def _begin(self, expected: Iterable[str]) -> None:
        super()._begin(expected)
        self.scheduler = Scheduler(
            self.epoch, self.rules, self.durations_ms, expected=self.expected, now=self.now
        )

    def handle(self, event: Event) -> Commands:
        commands = self.scheduler.handle([event], self.now)
        again = commands.again
        self.perform(commands)
        while again:
            more = self.scheduler.handle((), self.now)
            again = more.again
            self.perform(more)
        self.check()
        return commands

    def check(self) -> None:
        """Its own invariants, and ours: nothing that is ready waits while a suitable slot is free."""
        check(self.scheduler)
        offered = 0
        taken = Counter(live.agent for attempts in self.live.values() for live in attempts.values())
        taken += Counter(live.agent for live in self.given_up.values())
        for agent in self.known - self.lost - self.gone.keys() - self.draining:
            peer = self.peers[agent]
            if not peer.pulls and taken[agent] + len(self.undecided[agent]) < peer.slots:
                offered |= peer.operations
        for story in self.stories.values():
            is_over = story.is_ending or story.is_ended or story.end is not None
            # After a recovery only the scheduler knows which tasks are needed.
            if story.is_loaded and not is_over and not story.is_recovered and not self.is_blocked:
                for task, operation in enumerate(story.plan.operations):
                    assert not (offered >> operation & 1 and self._is_ready(story, task)), (
                        "nothing is ready while a slot is free"
                    )

    def perform(self, commands: Commands) -> None:
        """Do it, and hold it against the ledger."""
        for execution in commands.started:
            self.stories[execution.id].is_started = True
        self._check_journal(commands)
        for closed in commands.closes:
            self._close(closed)
        for agent, attempts in commands.cancels.items():
            self._check_cancels(agent, attempts, commands)
        for agent, runs in commands.pushes.items():
            self._check_push(agent, runs)
        for agent, acks in commands.acks.items():
            self._check_acks(agent, [Named(*one) for one in acks])
        for expression in commands.dropped:
            story = self.stories[expression]
            assert story.end is not None, "only what is final leaves memory"
            story.is_loaded = False
        self.unknown |= commands.unknown

    def _check_journal(self, commands: Commands) -> None:
        if commands.journal or commands.finals:
            self.batches.append((list(commands.journal), list(commands.finals)))
        for run in commands.journal:
            story = self.stories[run.execution.id]
            assert story.arrived[run.task] == (run.name, run.attempt), "the row is the first valid result"
            assert run.value == exact.wire(story.outcomes[run.task])
        finals = {final.expression for final in commands.finals}
        for story in self.stories.values():
            assert story.is_ended or not story.is_ending or story.id in finals, "it ends at the first error"
        for final in commands.finals:
            story = self.stories[final.expression]
            assert not story.is_ended, "an expression ends once"
            story.is_ended = True
            self._check_final(story, final, {run.name for run in commands.journal})

    def _check_final(self, story: Story, final: Final, rows: set[str]) -> None:
        root = len(story.plan) - 1
        if final.error is None:
            assert final.value == exact.wire(story.value)
            assert story.name(root) in rows or root in story.rows
            return
        error, task = final.error, self._find(final.error.task)[1]
        match error.code:
            case "division_by_zero":
                assert story.name(task) in rows and story.outcomes[task] is None
            case "too_large":
                assert task in story.too_large
            case _:
                assert error.code == "agents_failed"
                failures, losses = story.failures.get(task, 0), story.losses.get(task, 0)
                assert failures >= self.rules.failures_max or losses >= self.rules.losses_max
                assert not self.live.get(story.name(task)), "an attempt that still runs may succeed"

    def _close(self, closed: Closed) -> None:
        peer = self.peers.get(closed.agent)
        if peer is not None and peer.session == closed.session:
            assert peer.name not in self.gone
            self.gone[peer.name] = self.lease_s
            peer.is_connected = False
            peer.wire.clear()

    def _check_cancels(self, agent: str, attempts: list[Named], commands: Commands) -> None:
        for named in attempts:
            story, task = self._find(named.task)
            live = self.live.get(named.task, {}).get(named.attempt)
            if live is not None and live.agent == agent and story is not None:
                unwanted = task in story.arrived or story.end is not None
                assert unwanted, "nobody stops an attempt that is wanted"
                self.given_up[named] = self.live[named.task].pop(named.attempt)
        self._write(agent, "cancel", attempts)

    def _check_push(self, agent: str, runs: list[Run]) -> None:
        peer = self.peers[agent]
        assert runs and not self.is_blocked
        assert peer.is_connected and agent in self.known - self.lost and agent not in self.gone
        assert agent not in self.draining, "a draining agent gets nothing"
        peer.pushes += 1
        self.unseen[agent].append((peer.pushes, self.lease_s))
        for run in runs:
            self._check_handed(peer, run)
        attempts = [Named(run.name, run.attempt) for run in runs]
        if peer.pulls:
            self.asked[agent] -= len(attempts)
            assert self.asked[agent] >= 0, "a pulling agent gets what it asked for"
            peer.open |= dict.fromkeys(attempts, 0)
            return
        self._write(agent, "tasks", attempts)
        assert peer.unanswered(self.concluded.keys()) <= peer.slots, "never more than its slots"

    def _check_handed(self, peer: Peer, run: Run) -> None:
        story = self.stories[run.execution.id]
        task = run.task
        assert story.is_loaded and not story.is_ended and story.end is None
        assert task not in story.arrived, "what is known is not computed again"
        assert not story.is_gated or self.gate_is_open, "recovered tasks wait for the agents"
        operation = story.plan.operations[task]
        assert peer.operations >> operation & 1, "only what it offers"
        assert run.duration_ms == self.durations_ms[operation]
        for of in exact.operand_tasks(story.plan, task):
            assert of in story.arrived, "operands first"
            assert run.execution.values[of] == exact.wire(story.outcomes[of])
        live = self.live.setdefault(run.name, {})
        assert len(live) < 2, "at most two attempts at once"
        for other in live.values():
            assert other.agent != peer.name
            assert self.now > other.limit_s - ROUNDING_S, "no second attempt before its limit"
        named = Named(run.name, run.attempt)
        assert named not in self.handed and run.attempt >> 20 == self.epoch
        self.handed[named] = peer.name
        live[run.attempt] = self._live(peer.name, run.duration_ms)

    def _check_acks(self, agent: str, attempts: list[Named]) -> None:
        for named in attempts:
            story, task = self._find(named.task)
            if story is None or not 0 <= task < len(story.plan) or named in self.failed:
                continue
            foreign = named.attempt >> 20 == self.epoch and self.handed.get(named) != agent
            stored = task in story.rows or story.end is not None
            if not stored:
                arrived = story.arrived.get(task)
                assert foreign and arrived is None, "nothing is acknowledged before it is durable"
        self._write(agent, "ack", attempts)

    def _write(self, agent: str, kind: str, attempts: list[Named]) -> None:
        peer = self.peers.get(agent)
        if peer is None or not (peer.is_connected or kind == "ack"):
            return
        if peer.pulls or not peer.is_connected:
            # A pulling agent learns of acks by the answers to its requests, of cancels never.
            if kind == "ack":
                for named in attempts:
                    peer.forget(named)
            return
        peer.wire.append(Frame(kind, peer.pushes if kind == "tasks" else 0, list(attempts)))
