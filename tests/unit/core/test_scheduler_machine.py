"""Everything that can happen to a scheduler, in any order, against a ledger of our own (`support.world`).

At the end of each run all chaos stops, one good agent stays, and every expression must end, with the exact
value.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.support import exact
from tests.support.peer import Peer
from tests.support.world import Story, World

from curta_server.core.events import Answer, Answered, Beaten, Blocked, Drained, DurationSet, Left, Named
from curta_server.core.scheduler import Rules

NUMBERS = st.sampled_from(["0", "1", "2", "3", "7", "-10"])
JOINTS = st.tuples(st.sampled_from("++-*/"), st.integers(0, 15), NUMBERS)


def join(sign: str, first: str, joints: list[tuple[str, int, str]]) -> str:
    """Operands joined two by two, at the places that the numbers say: any shape of tree."""
    terms = [first, *(operand for _, _, operand in joints)]
    for operator, place, _ in joints:
        at = place % (len(terms) - 1)
        terms[at : at + 2] = [f"({terms[at]}{operator}{terms[at + 1]})"]
    return sign + terms[0]


TEXTS = st.builds(
    join,
    st.sampled_from(["", "", "-"]),
    st.sampled_from(["1", "5"]),
    st.lists(JOINTS, min_size=1, max_size=12),
)
PICKS = st.integers(0, 63)
"""Which of those that are there: modulo their number."""
OPERATIONS = st.sampled_from([15, 15, 15, 7, 8, 1, 3])
FAULTS = st.sampled_from([None] * 8 + ["out_of_memory"] * 3 + ["too_large"])
STEPS_S = st.sampled_from([0.05, 0.2, 1.0, 3.0, 5.1, 6.0, 10.1, 36.0, 61.0])
RARELY = st.sampled_from([False, False, False, True])
RULES = Rules(losses_max=5, failures_max=3)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(RULES, (1000, 1000, 2000, 2000))

    @initialize(text=TEXTS, slots=st.integers(1, 3))
    def begin(self, text: str, slots: int) -> None:
        self.submit(text, "ann", True)
        self.join_new(slots, 15, False)

    # --- what there is to choose from

    def peers(self) -> list[Peer]:
        return list(self.world.peers.values())

    def connected(self) -> list[Peer]:
        return [peer for peer in self.peers() if peer.is_connected]

    def a_peer(self, pick: int) -> Peer:
        peers = self.peers()
        return peers[pick % len(peers)]

    def open_stories(self) -> list[Story]:
        return [story for story in self.world.stories.values() if story.end is None]

    # --- expressions

    @rule(text=TEXTS, user=st.sampled_from(["ann", "bob", "eve"]), optimize=st.booleans())
    def submit(self, text: str, user: str, optimize: bool) -> None:
        self.world.submit(text, user, optimize=optimize)

    @precondition(lambda self: self.open_stories())
    @rule(pick=PICKS, really=RARELY)
    def cancel(self, pick: int, really: bool) -> None:
        stories = self.open_stories()
        if really:
            self.world.cancel(stories[pick % len(stories)])

    @precondition(lambda self: any(not story.is_loaded for story in self.open_stories()))
    @rule(pick=PICKS)
    def load(self, pick: int) -> None:
        waiting = [story for story in self.open_stories() if not story.is_loaded]
        self.world.load(waiting[pick % len(waiting)])

    @precondition(lambda self: self.world.unknown)
    @rule()
    def look_up(self) -> None:
        self.world.look_up()

    # --- agents come and go

    @precondition(lambda self: len(self.world.peers) < 5)
    @rule(slots=st.integers(1, 3), operations=OPERATIONS, pulls=st.sampled_from([False, False, False, True]))
    def join_new(self, slots: int, operations: int, pulls: bool) -> None:
        peer = Peer(f"a{self.world.peers_made}")
        self.world.peers_made += 1
        peer.slots, peer.operations, peer.pulls = slots, operations, pulls
        self.world.peers[peer.name] = peer
        self.world.join(peer)

    @precondition(lambda self: self.world.peers)
    @rule(pick=PICKS, forgets=st.booleans(), claims=st.lists(st.tuples(PICKS, PICKS), max_size=2))
    def rejoin(self, pick: int, forgets: bool, claims: list[tuple[int, int]]) -> None:
        """Perhaps in the middle of a session; perhaps it has lost something, or says that it holds more."""
        peer = self.a_peer(pick)
        if forgets and peer.open:
            del peer.open[min(peer.open)]
        for which, what in claims:
            self.claim(peer, which, what)
        self.world.join(peer)

    def claim(self, peer: Peer, which: int, what: int) -> None:
        stories = list(self.world.stories.values())
        if not stories or which % 8 == 0:
            peer.claims.append(Named("ghost.0", self.world.epoch << 20 | 1))
            return
        story = stories[which % len(stories)]
        task = what % len(story.plan)
        name = story.name(task)
        if any(named.task == name for named in peer.held()):
            return
        if which % 2 and self.world.epoch > 1:
            # As an agent of an earlier epoch may; it will compute it, too.
            if all(story.outcomes[of] is not None for of in exact.operand_tasks(story.plan, task)):
                # A number for each agent: an attempt was handed to one of them.
                number = 99 + int(peer.name.removeprefix("a"))
                peer.open[Named(name, (self.world.epoch - 1) << 20 | number)] = 0
            return
        handed = [named for named, agent in self.world.handed.items() if agent != peer.name]
        if handed:
            foreign = handed[what % len(handed)]
            if not any(named.task == foreign.task for named in peer.held()):
                peer.claims.append(foreign)

    @precondition(lambda self: self.connected())
    @rule(pick=PICKS, bye=st.booleans())
    def leave(self, pick: int, bye: bool) -> None:
        connected = self.connected()
        self.world.leave(connected[pick % len(connected)], bye=bye)

    @precondition(lambda self: len(self.world.peers) > 1)
    @rule(pick=PICKS, really=RARELY)
    def remove(self, pick: int, really: bool) -> None:
        if really:
            self.world.remove(self.a_peer(pick))

    @precondition(lambda self: self.world.peers)
    @rule(pick=PICKS, really=RARELY)
    def drain(self, pick: int, really: bool) -> None:
        peer = self.a_peer(pick)
        if really and peer.name in self.world.known:
            self.world.draining.add(peer.name)
            self.world.handle(Drained(peer.name))

    @precondition(lambda self: self.connected())
    @rule(pick=PICKS)
    def freeze_or_thaw(self, pick: int) -> None:
        peer = self.connected()[pick % len(self.connected())]
        peer.is_frozen = not peer.is_frozen

    # --- agents at work

    @precondition(lambda self: any(peer.wire for peer in self.peers()))
    @rule(pick=PICKS, frames=st.integers(1, 3), skips=st.sampled_from([False, False, False, True]))
    def read(self, pick: int, frames: int, skips: bool) -> None:
        reading = [peer for peer in self.peers() if peer.wire]
        peer = reading[pick % len(reading)]
        for _ in range(min(frames, len(peer.wire))):
            if skips:
                peer.skip()
            else:
                peer.read()

    @precondition(lambda self: self.connected())
    @rule(pick=PICKS, forgets=st.sampled_from([False, False, False, True]))
    def beat(self, pick: int, forgets: bool) -> None:
        """A beat overtakes what is on the wire; something may have gone astray in the agent."""
        peer = self.connected()[pick % len(self.connected())]
        if forgets and peer.open:
            del peer.open[min(peer.open)]
        if not peer.pulls:
            self.world.beat(peer)

    @precondition(lambda self: any(not peer.pulls for peer in self.connected()))
    @rule(pick=PICKS)
    def trickle(self, pick: int) -> None:
        peers = [peer for peer in self.connected() if not peer.pulls]
        self.world.trickle(peers[pick % len(peers)])

    def cancelled_on_the_way(self, peer: Peer) -> bool:
        given_up = self.world.given_up
        return any(
            named in given_up for frame in peer.wire if frame.kind == "tasks" for named in frame.attempts
        )

    @precondition(lambda self: any(self.cancelled_on_the_way(peer) for peer in self.connected()))
    @rule()
    def take_back(self) -> None:
        for peer in self.connected():
            if self.cancelled_on_the_way(peer):
                self.world.take_back(peer)

    @precondition(lambda self: any(peer.open for peer in self.peers()))
    @rule(
        pick=PICKS,
        count=st.integers(1, 3),
        fault=st.sampled_from([None, None, None, None, "out_of_memory", "too_large"]),
    )
    def finish(self, pick: int, count: int, fault: str | None) -> None:
        """Some of what an agent computes is finished, connected or not; nothing is delivered yet."""
        busy = [peer for peer in self.peers() if peer.open]
        peer = busy[pick % len(busy)]
        for named in sorted(peer.open)[:count]:
            peer.finish(named, self.answer(named, fault))
        if pick % 3:
            self.deliver(peer)

    def answer(self, named: Named, fault: str | None = None) -> Answer:
        expression, _, task = named.task.rpartition(".")
        story = self.world.stories.get(expression)
        if fault is not None or story is None:
            return Answer(*named, None, fault or "unknown_task", "so it is")
        outcome = story.outcomes[int(task)]
        return Answer(*named, exact.wire(outcome), None if outcome is not None else "division_by_zero")

    def deliver(self, peer: Peer) -> None:
        if peer.is_connected and peer.unsent:
            self.world.say(peer, peer.take_unsent())

    @precondition(lambda self: self.connected())
    @rule(rounds=st.integers(1, 3), seconds=st.sampled_from([0.1, 1.0, 35.0]))
    def work(self, rounds: int, seconds: float) -> None:
        """All goes well for a while."""
        for _ in range(rounds):
            self.pass_time(seconds)
            for peer in self.connected():
                while peer.wire:
                    peer.read()
                for named in sorted(peer.open):
                    peer.finish(named, self.answer(named))
                self.deliver(peer)
            while self.world.batches:
                self.world.commit()

    @precondition(lambda self: any(peer.unsent and peer.is_connected for peer in self.peers()))
    @rule(pick=PICKS)
    def say(self, pick: int) -> None:
        saying = [peer for peer in self.connected() if peer.unsent]
        self.deliver(saying[pick % len(saying)])

    @precondition(lambda self: any(peer.results for peer in self.connected()))
    @rule(pick=PICKS)
    def say_again(self, pick: int) -> None:
        saying = [peer for peer in self.connected() if peer.results]
        peer = saying[pick % len(saying)]
        peer.unsent.clear()
        self.world.say(peer, list(peer.results.values()))

    @precondition(lambda self: self.connected() and self.world.handed)
    @rule(pick=PICKS, which=PICKS)
    def say_what_is_anothers(self, pick: int, which: int) -> None:
        """A value (a wrong one) for an attempt that was handed to somebody else is not taken."""
        peer = self.connected()[pick % len(self.connected())]
        foreign = [named for named, agent in self.world.handed.items() if agent != peer.name]
        if foreign:
            self.world.say(peer, [Answer(*foreign[which % len(foreign)], "666")])

    @precondition(lambda self: any(peer.former_session for peer in self.connected()))
    @rule(pick=PICKS)
    def hear_a_former_session(self, pick: int) -> None:
        """What a connection that was replaced still says changes nothing."""
        peers = [peer for peer in self.connected() if peer.former_session]
        peer = peers[pick % len(peers)]
        session = peer.former_session
        wrong = [Answer(*named, "666") for named in peer.open]
        self.world.handle(Answered(peer.name, session, wrong))
        self.world.handle(Beaten(peer.name, session, [], 10**6))
        self.world.handle(Left(peer.name, session))

    @precondition(lambda self: any(peer.pulls for peer in self.connected()))
    @rule(pick=PICKS, count=st.integers(0, 3))
    def pull(self, pick: int, count: int) -> None:
        pulling = [peer for peer in self.connected() if peer.pulls]
        peer = pulling[pick % len(pulling)]
        if peer.open and pick % 2:
            self.world.renew(peer, min(peer.open).task)
        self.world.ask(peer, count)

    # --- the rest of the world

    @precondition(lambda self: self.world.batches)
    @rule(count=st.integers(1, 4))
    def commit(self, count: int) -> None:
        for _ in range(min(count, len(self.world.batches))):
            self.world.commit()

    @rule(seconds=STEPS_S, late_s=st.sampled_from([0.0, 0.0, 0.0, 4.0]))
    def pass_time_in_silence(self, seconds: float, late_s: float) -> None:
        self.world.tick(seconds, min(late_s, seconds))

    @rule(seconds=STEPS_S)
    def pass_time(self, seconds: float) -> None:
        """Whoever is not frozen goes on beating."""
        while seconds > 0:
            self.world.tick(min(seconds, 2.0))
            seconds -= 2.0
            for peer in self.connected():
                if not peer.is_frozen and not peer.pulls:
                    self.world.beat(peer)

    @rule(operation=st.integers(0, 3), duration_ms=st.sampled_from([0, 500, 20_000]))
    def set_duration(self, operation: int, duration_ms: int) -> None:
        self.world.durations_ms[operation] = duration_ms
        self.world.handle(DurationSet(operation, duration_ms))

    @rule(blocked=RARELY)
    def block(self, blocked: bool) -> None:
        self.world.is_blocked = blocked
        self.world.handle(Blocked(blocked))

    @rule(really=RARELY)
    def crash(self, really: bool) -> None:
        if really:
            self.world.crash()

    # --- in the end

    def teardown(self) -> None:
        """One good agent and time enough: every expression ends as it must, and nothing stays behind."""
        world = self.world
        world.is_blocked = False
        world.handle(Blocked(False))
        for peer in self.peers():
            peer.is_frozen = True
        good = Peer("good")
        good.slots, good.operations = 4, 15
        world.peers["good"] = good
        world.join(good)
        for _ in range(400):
            self.one_good_second(good)
            if not self.open_stories() and not world.batches and not good.results:
                break
        assert not self.open_stories(), "every expression ends"
        for story in world.stories.values():
            self.check_end(story)
        for peer in self.peers():
            if peer is not good:
                world.remove(peer)
        self.one_good_second(good)
        self.check_nothing_is_left()

    def one_good_second(self, good: Peer) -> None:
        world = self.world
        for story in self.open_stories():
            if not story.is_loaded:
                world.load(story)
        world.look_up()
        world.tick(1.0)
        while good.wire:
            good.read()
        for named in sorted(good.open):
            good.finish(named, self.answer(named))
        self.deliver(good)
        world.beat(good)
        while world.batches:
            world.commit()

    def check_end(self, story: Story) -> None:
        end = story.end
        assert end is not None
        if end.value is not None:
            assert story.value is not None and end.value == exact.wire(story.value)
        elif end.error is not None and end.error.code == "division_by_zero":
            assert None in story.outcomes

    def check_nothing_is_left(self) -> None:
        scheduler = self.world.scheduler
        assert not scheduler.executions and not scheduler.users
        assert not scheduler.early
        assert not len(scheduler.acks)
        assert [agent.held for agent in scheduler.crew.agents.values()] == [0]


Machine.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestMachine = Machine.TestCase
