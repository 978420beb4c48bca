"""A queue in which whoever holds least comes first."""

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from curta_server.core.fair import Fair

TURNS = count(1)


class Somebody:
    def __init__(self, held: int = 0) -> None:
        self.held = held
        self.turn = next(TURNS)

    def gets(self, slots: int) -> None:
        self.held += slots
        self.turn = next(TURNS)


def serve(queue: Fair[Somebody]) -> Somebody:
    """Whoever comes first gets a slot."""
    first = queue.first()
    assert first is not None
    first.gets(1)
    return first


def test_whoever_holds_least_comes_first() -> None:
    queue: Fair[Somebody] = Fair()
    much, little = Somebody(5), Somebody(1)
    queue.add(much)
    queue.add(little)
    assert queue.first() is little


def test_among_equals_whoever_waited_longest_comes_first() -> None:
    queue: Fair[Somebody] = Fair()
    people = [Somebody() for _ in range(4)]
    for one in people:
        queue.add(one)
    turns = [people.index(serve(queue)) for _ in range(8)]
    assert turns == [0, 1, 2, 3, 0, 1, 2, 3]


def test_who_had_a_slot_and_gave_it_back_unseen_waits_behind_those_who_had_none() -> None:
    queue: Fair[Somebody] = Fair()
    people = [Somebody() for _ in range(3)]
    for one in people:
        queue.add(one)
    turns = []
    for _ in range(6):
        first = serve(queue)
        turns.append(people.index(first))
        first.held -= 1
        queue.add(first)
    assert turns == [0, 1, 2, 0, 1, 2]


def test_who_was_served_in_one_queue_had_his_turn_in_all() -> None:
    here: Fair[Somebody] = Fair()
    there: Fair[Somebody] = Fair()
    one, other = Somebody(), Somebody()
    for queue in (here, there):
        queue.add(one)
        queue.add(other)
    assert here.first() is one
    one.gets(1)
    one.held -= 1
    here.add(one)
    there.add(one)
    assert there.first() is other


def test_who_holds_more_by_now_is_found_out_without_being_told() -> None:
    queue: Fair[Somebody] = Fair()
    one, other = Somebody(0), Somebody(1)
    queue.add(one)
    queue.add(other)
    one.gets(7)
    assert queue.first() is other


def test_who_holds_less_by_now_moves_when_added_again() -> None:
    queue: Fair[Somebody] = Fair()
    one, other = Somebody(9), Somebody(3)
    queue.add(one)
    queue.add(other)
    one.held = 0
    queue.add(one)
    assert queue.first() is one
    assert len(queue) == 2


def test_who_was_discarded_does_not_come() -> None:
    queue: Fair[Somebody] = Fair()
    one = Somebody()
    queue.add(one)
    queue.discard(one)
    queue.discard(one)
    assert queue.first() is None and one not in queue and not len(queue)


STEP = st.tuples(st.sampled_from(["add", "discard", "grow", "shrink"]), st.integers(0, 5))


@given(st.lists(STEP, max_size=200))
@settings(max_examples=300, deadline=None)
def test_the_first_always_holds_least_and_the_runner_up_is_never_overrated(
    steps: list[tuple[str, int]],
) -> None:
    queue: Fair[Somebody] = Fair()
    people = [Somebody() for _ in range(6)]
    there: set[Somebody] = set()
    for step, which in steps:
        one = people[which]
        match step:
            case "add":
                queue.add(one)
                there.add(one)
            case "discard":
                queue.discard(one)
                there.discard(one)
            case "grow":
                one.gets(which + 1)
            case _:
                one.held = max(0, one.held - 2)
                if one in there:
                    queue.add(one)
        first = queue.first()
        assert (first is None) == (not there) and len(queue) == len(there)
        if first is not None:
            assert (first.held, first.turn) == min((other.held, other.turn) for other in there)
            other_held = sorted(other.held for other in there - {first})
            runner_up = queue.runner_up()
            assert not other_held or (runner_up is not None and runner_up <= other_held[0])


def test_a_long_life_does_not_make_the_queue_long() -> None:
    queue: Fair[Somebody] = Fair()
    people = [Somebody() for _ in range(10)]
    for turn in range(10_000):
        people[turn % 10].held = turn % 7
        queue.add(people[turn % 10])
        queue.first()
    assert len(queue._heap) < 200
