"""Counting: rates, places, bytes, and who of the connections is overdue."""

from hypothesis import given
from hypothesis import strategies as st

from curta_server.connections import ANSWERING, CLOSING, HEAD, IDLE, Connections
from curta_server.limits import BUCKETS_KEPT, Bucket, Buckets, Budget, Places


def test_a_full_bucket_gives_its_burst_at_once_and_then_its_rate() -> None:
    bucket = Bucket(10.0, 20.0, now=100.0)
    assert [bucket.take(1, 100.0) for _ in range(20)] == [0.0] * 20
    assert bucket.take(1, 100.0) == 0.1
    assert bucket.take(1, 100.05) > 0
    assert bucket.take(1, 100.125) == 0.0
    assert not bucket.is_full(102.0)
    assert bucket.is_full(102.25)


def test_whoever_waits_as_long_as_told_is_given() -> None:
    bucket = Bucket(4.0, 8.0, now=0.0)
    assert bucket.take(8, 0.0) == 0.0
    wait_s = bucket.take(6, 0.5)
    assert wait_s == 1.0
    assert bucket.take(6, 0.5 + wait_s) == 0.0


def test_more_than_the_burst_passes_a_full_bucket_and_is_paid_off() -> None:
    bucket = Bucket(10.0, 20.0, now=0.0)
    assert bucket.take(100, 0.0) == 0.0
    assert bucket.take(1, 0.0) == 8.1
    assert bucket.take(100, 8.0) == 2.0
    assert bucket.take(100, 10.0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 50)), max_size=60))
def test_over_time_no_more_is_given_than_the_rate_and_the_burst(asked: list[tuple[float, int]]) -> None:
    bucket = Bucket(5.0, 50.0, now=0.0)
    now = given = 0.0
    for later, amount in asked:
        now += later
        if not bucket.take(amount, now):
            given += amount
        assert given <= 50 + 5 * now + 1e-6


def test_each_key_has_a_bucket_and_full_ones_are_forgotten() -> None:
    buckets: Buckets[int] = Buckets(1.0, 2.0)
    assert buckets.take(-1, 2, 0.0) == buckets.take(-2, 2, 0.0) == 0.0
    for key in range(BUCKETS_KEPT):
        assert buckets.take(key, 0, 0.5) == 0.0
    assert len(buckets) < BUCKETS_KEPT
    assert buckets.take(-1, 2, 0.5) == 1.5


def test_places_are_counted_for_each_key_and_for_all() -> None:
    places: Places[str] = Places(2, 3)
    assert places.take("a") and places.take("a") and not places.take("a")
    assert places.take("b")
    assert places.is_full
    assert not places.take("c")
    places.give_back("a")
    assert places.taken("a") == 1 and places.take("c")
    for key in "abc":
        places.give_back(key)
    assert not places.is_full and places.taken("a") == 0


def test_a_budget_is_never_overdrawn() -> None:
    budget = Budget(10)
    assert budget.claim(6) and not budget.claim(5) and budget.claim(4)
    budget.give_back(6)
    assert budget.claimed == 4 and budget.claim(6)


# --- connections ------------------------------------------------------------------------------------------


class Wire:
    """A connection that notes what is done to it."""

    def __init__(self, known: Connections) -> None:
        self.known = known
        self.ends = 0
        self.aborts = 0
        self.left = 100

    def end(self) -> None:
        self.ends += 1
        self.known.enter(self, CLOSING, 1000.0)

    def abort(self) -> None:
        self.aborts += 1
        self.known.leave(self)

    def unsent(self) -> int:
        return self.left


def known(most: int = 100) -> Connections:
    return Connections(most=most, head_s=10, idle_s=75, stall_s=30)


def test_a_connection_is_ended_when_its_phase_has_lasted_too_long() -> None:
    connections = known()
    slow, resting, busy = (Wire(connections) for _ in range(3))
    connections.enter(slow, HEAD, 0.0)
    connections.enter(resting, IDLE, 0.0)
    connections.enter(busy, ANSWERING, 0.0)
    connections.sweep(9.9)
    assert not slow.ends
    connections.sweep(10.0)
    assert (slow.ends, resting.ends) == (1, 0)
    connections.sweep(80.0)
    assert (resting.ends, busy.ends, busy.aborts) == (1, 0, 0)


def test_a_new_phase_has_its_whole_time() -> None:
    connections = known()
    wire = Wire(connections)
    connections.enter(wire, HEAD, 0.0)
    connections.enter(wire, IDLE, 9.0)
    connections.enter(wire, HEAD, 20.0)
    connections.sweep(29.0)
    assert not wire.ends
    connections.sweep(30.0)
    assert wire.ends == 1


def test_what_does_not_close_is_dropped() -> None:
    connections = known()
    wire = Wire(connections)
    connections.enter(wire, HEAD, 900.0)
    connections.sweep(1000.0)
    connections.sweep(1029.0)
    assert (wire.ends, wire.aborts) == (1, 0)
    connections.sweep(1030.0)
    assert wire.aborts == 1 and len(connections) == 0


def test_of_too_many_the_one_that_asked_for_nothing_the_longest_goes() -> None:
    connections = known(most=3)
    busy, idle, slow = (Wire(connections) for _ in range(3))
    connections.enter(slow, HEAD, 2.0)
    connections.enter(idle, IDLE, 1.0)
    assert connections.make_room()
    connections.enter(busy, ANSWERING, 0.0)
    assert connections.make_room()
    assert (busy.ends, idle.ends, slow.ends) == (0, 1, 0)
    connections.leave(idle)
    connections.enter(Wire(connections), ANSWERING, 3.0)
    assert connections.make_room()
    assert slow.ends == 1
    connections.leave(slow)
    connections.enter(Wire(connections), ANSWERING, 3.0)
    assert not connections.make_room()


def test_a_reader_that_takes_nothing_is_dropped_and_a_slow_one_is_not() -> None:
    connections = known()
    dead, slow = Wire(connections), Wire(connections)
    connections.stall(dead, 0.0)
    connections.stall(slow, 0.0)
    slow.left -= 1
    connections.sweep(29.0)
    assert (dead.aborts, slow.aborts) == (0, 0)
    connections.sweep(30.0)
    assert (dead.aborts, slow.aborts) == (1, 0)
    connections.sweep(59.0)
    assert slow.aborts == 0
    connections.sweep(60.0)
    assert slow.aborts == 1
