"""The visits of agents: they join, leave, beat, answer and ask, and the scheduler's replies are checked."""

from collections import deque
from collections.abc import Sequence

from curta_server.core.events import (
    Answer,
    Answered,
    Asked,
    Beaten,
    Commands,
    Heard,
    Joined,
    Left,
    Named,
    Removed,
    Renewed,
    Unsent,
    Welcomed,
)
from tests.support.peer import Peer
from tests.support.promises import Promises


class Visits(Promises):
    def join(self, peer: Peer) -> None:
        """A new connection of the agent; what it holds is told truly, what it claims beside it."""
        self._sessions += 1
        was_known = peer.name in self.known and peer.name not in self.lost
        replaced = peer.session if peer.is_connected else 0
        peer.begin(self._sessions)
        held = peer.held()
        self.known.add(peer.name)
        self.lost.discard(peer.name)
        self.heard[peer.name] = self.lease_s
        self.gone.pop(peer.name, None)
        self.unseen[peer.name] = deque()
        self.undecided[peer.name] = []
        self.asked[peer.name] = 0
        if not peer.pulls:
            self.hello_s = self.now
        self.expected.discard(peer.name)
        if was_known:
            self._hand_back(peer.name, set(held), None)
        cancelled = {named for named, live in self.given_up.items() if live.agent == peer.name}
        self._forget_given_up(peer.name)
        commands = self.scheduler.handle(
            [
                Joined(
                    peer.name, peer.session, peer.slots, peer.operations, held,
                    peer.name in self.draining, peer.pulls,
                )
            ],
            self.now,
        )  # fmt: skip
        (welcome,) = commands.welcomes
        self._check_welcome(peer, held, welcome, cancelled)
        self.perform(commands)
        if replaced and not peer.pulls:
            assert [(closed.session, closed.code) for closed in commands.closes] == [(replaced, 4002)]
        assert (peer.name in commands.drains) == (peer.name in self.draining)
        self.check()

    def _check_welcome(self, peer: Peer, held: list[Named], welcome: Welcomed, cancelled: set[Named]) -> None:
        assert (welcome.agent, welcome.session) == (peer.name, peer.session)
        keep, drop = set(welcome.keep), set(welcome.drop)
        assert not keep & drop and keep | drop <= set(held)
        for named in held:
            story, task = self._find(named.task)
            live = self.live.get(named.task, {})
            if named in cancelled and named in drop:
                pass  # nobody wants it, whatever term it is of
            elif self._is_undecided(named):
                assert named not in keep | drop, "nothing is decided about an expression that is not here"
                self.undecided[peer.name].append(named)
                self.unknown.add(named.task.rpartition(".")[0])
            elif story is None or not story.is_loaded:
                assert named in drop, "what this term handed out is here until it is final"
            elif named.attempt in live and live[named.attempt].agent == peer.name:
                assert named in keep, "what it was handed and still holds, it keeps"
                live[named.attempt].number = 0
            elif self._is_delivered(story, peer.name, named) and task not in story.rows:
                assert named in keep, "its result waits for the commit"
            elif named in keep:
                assert self._is_legitimate(peer.name, named), "only its own attempts are kept"
                self._adopt(peer.name, named)
            else:
                assert named in drop
                wanted = self._is_wanted(story, named) and self._is_legitimate(peer.name, named)
                assert not wanted, "coming back keeps the work"
        for named in drop:
            peer.forget(named)
            peer.unsent = [one for one in peer.unsent if (one.task, one.attempt) != named]
            if named in peer.claims:
                peer.claims.remove(named)

    def leave(self, peer: Peer, *, bye: bool) -> None:
        peer.is_connected = False
        peer.wire.clear()
        if peer.name in self.known and peer.name not in self.lost and peer.name not in self.gone:
            self.gone[peer.name] = self.lease_s
            if bye:
                self._forget_agent(peer.name)
        self.handle(Left(peer.name, peer.session, bye))

    def remove(self, peer: Peer) -> None:
        """An admin removes it; it never comes back (its process ends)."""
        self._forget_agent(peer.name)
        self.handle(Removed(peer.name))
        del self.peers[peer.name]

    def beat(self, peer: Peer) -> None:
        if self._is_heard(peer):
            held = set(peer.held())
            unseen = self.unseen[peer.name]
            before = len(unseen)
            while unseen and unseen[0][0] <= peer.seen:
                unseen.popleft()
            if unseen and len(unseen) < before:
                unseen[0] = unseen[0][0], self.lease_s
            self._hand_back(peer.name, held, peer.seen)
            claims = self.undecided[peer.name]
            claims[:] = [one for one in claims if one in held]
            for named in held:
                if self._is_undecided(named) and named not in claims:
                    claims.append(named)
                    self.unknown.add(named.task.rpartition(".")[0])
        commands = self.handle(Beaten(peer.name, peer.session, peer.held(), peer.seen))
        if self._is_heard(peer):
            assert peer.name in commands.acks, "every heartbeat is answered"

    def trickle(self, peer: Peer) -> None:
        """Part of a long frame comes; no beat can pass it."""
        if self._is_heard(peer):
            unseen = self.unseen[peer.name]
            if unseen:
                unseen[0] = unseen[0][0], self.lease_s
        self.handle(Heard(peer.name, peer.session))

    def take_back(self, peer: Peer) -> None:
        """What was cancelled before it was sent is not sent."""
        coming = [frame for frame in peer.wire if frame.kind == "tasks"]
        unsent = [named for frame in coming for named in frame.attempts if named in self.given_up]
        for frame in peer.wire:
            if frame.kind in ("tasks", "cancel"):
                frame.attempts[:] = [named for named in frame.attempts if named not in unsent]
        for named in unsent:
            del self.given_up[named]
        self.handle(Unsent(peer.name, peer.session, unsent))

    def say(self, peer: Peer, answers: Sequence[Answer]) -> None:
        """Answers go in: the agent's own, or whatever the test makes up."""
        heard = self._is_heard(peer)
        if heard:
            for answer in answers:
                self._take_answer(peer.name, answer)
        before = {(name, attempt) for name, all_ in self.live.items() for attempt in all_}
        commands = self.handle(Answered(peer.name, peer.session, answers))
        if heard:
            self._check_cancelled(answers, commands, before)

    def _check_cancelled(
        self, answers: Sequence[Answer], commands: Commands, before: set[tuple[str, int]]
    ) -> None:
        """The first valid result wins, the other attempt is cancelled."""
        cancelled = {one for all_ in commands.cancels.values() for one in all_}
        for answer in answers:
            story, task = self._find(answer.task)
            if story is not None and story.arrived.get(task) == (answer.task, answer.attempt):
                for attempt in [a for name, a in before if name == answer.task]:
                    assert Named(answer.task, attempt) in cancelled
                    self.live.get(answer.task, {}).pop(attempt, None)

    def ask(self, peer: Peer, count: int) -> None:
        if self._is_heard(peer):
            self.asked[peer.name] = count
            self.unseen[peer.name].clear()
        self.handle(Asked(peer.name, peer.session, count))

    def renew(self, peer: Peer, task: str) -> None:
        for live in self.live.get(task, {}).values():
            if live.agent == peer.name:
                live.leased_s = self.lease_s
                self.heard[peer.name] = self.lease_s
        self.handle(Renewed(peer.name, task))
