"""The chaos run sees what it is there to see: its plan, its comparisons and its rule about live work."""

from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from tests.chaos.chronicle import Chronicle
from tests.chaos.clients import Accepted, Wrong, compare
from tests.chaos.expressions import Exercise, draw
from tests.chaos.faults import KINDS, SETTLES_S, plan
from tests.chaos.observer import Began, Observer, Row
from tests.chaos.verdict import false_acks, repeats_of_live_work
from tests.chaos.witnesses import Hold, Visit, Witness

SEEDS = range(50)


def test_a_seed_gives_the_same_plan_again() -> None:
    assert plan(7, 600) == plan(7, 600) != plan(8, 600)


def test_ten_minutes_have_a_hundred_faults_of_every_kind() -> None:
    for seed in SEEDS:
        faults = plan(seed, 600)
        assert len(faults) >= 100
        assert {fault.kind for fault in faults} == {kind.name for kind in KINDS}


def test_two_faults_of_one_subject_never_overlap_and_all_end_in_time() -> None:
    subjects = {kind.name: kind.subject for kind in KINDS}
    for seed in SEEDS:
        free_at: dict[tuple[str, int], float] = {}
        for fault in plan(seed, 120):
            subject = subjects[fault.kind], fault.number
            assert fault.at_s >= free_at.get(subject, 0.0)
            assert fault.at_s + fault.lasts_s <= 120
            free_at[subject] = fault.at_s + fault.lasts_s + SETTLES_S


def test_random_expressions_divide_by_zero_now_and_then() -> None:
    random = Random(1)
    drawn = [draw(random) for _ in range(1000)]
    assert len({exercise.text for exercise in drawn}) > 900
    assert 5 < sum(exercise.value is None for exercise in drawn) < 300


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        ({"status": "done", "result": "3", "exact": None}, Fraction(2)),
        ({"status": "done", "result": "0.333333333333333333333333333333", "exact": None}, Fraction(1, 3)),
        ({"status": "done", "result": "1", "exact": None}, None),
        ({"status": "failed", "error": {"code": "division_by_zero"}}, Fraction(2)),
        ({"status": "failed", "error": {"code": "agents_failed"}}, None),
        ({"status": "cancelled"}, Fraction(2)),
    ],
)
def test_a_client_believes_nothing_wrong(shown: dict[str, object], value: Fraction | None) -> None:
    with pytest.raises(Wrong):
        compare(Accepted("id", Exercise("some text", value)), shown)


def test_a_client_believes_what_is_right() -> None:
    compare(
        Accepted("id", Exercise("1/3", Fraction(1, 3))), {"status": "done", "result": "0.333", "exact": "1/3"}
    )
    compare(
        Accepted("id", Exercise("1/0", None)), {"status": "failed", "error": {"code": "division_by_zero"}}
    )
    compare(Accepted("id", Exercise("2", Fraction(2)), asked_to_cancel=True), {"status": "cancelled"})


class Notes:
    """What two witnesses and the journal know, put together by hand. Times are seconds."""

    def __init__(self, directory: Path) -> None:
        chronicle = Chronicle(directory / "chronicle.txt")
        self.one, self.other = (Witness(n, ["http://none"], {}, "", chronicle) for n in range(2))
        self.observer = Observer("", chronicle, int)
        chronicle.close()

    def holds(self, witness: Witness, attempt: int, came_at: float, went_at: float) -> None:
        witness.holds.append(Hold(witness.id, "e.0", attempt, 1.0, came_at, went_at))

    def visits(self, came_at: float, went_at: float, epoch: int) -> None:
        self.one.visits.append(Visit(self.one.id, came_at, went_at, epoch))

    def settles(self, attempt: int, started_at: float) -> None:
        self.observer.rows["e", 0] = Row("e", 0, "1", "another", attempt, started_at, started_at + 1)

    def term(self, epoch: int, not_before: float, *expected: Witness) -> None:
        self.observer.terms[epoch] = Began(
            epoch, not_before, not_before + 0.3, frozenset(one.id for one in expected)
        )

    def found(self) -> int:
        return len(list(repeats_of_live_work(self.one, [self.one, self.other], self.observer)))


FIRST, SECOND, NEXT_TERM = (1 << 20) + 1, (1 << 20) + 2, (2 << 20) + 1


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


def test_a_second_attempt_beside_a_witness_at_work_is_seen_in_the_journal(notes: Notes) -> None:
    notes.visits(0, 100, 1)
    notes.holds(notes.one, FIRST, 10, 20)
    notes.settles(SECOND, 15)
    assert notes.found() == 1


def test_a_second_attempt_in_another_witnesss_hands_is_seen(notes: Notes) -> None:
    notes.visits(0, 100, 1)
    notes.holds(notes.one, FIRST, 10, 20)
    notes.holds(notes.other, SECOND, 15, 16)
    assert notes.found() == 1


def test_a_blip_within_the_grace_is_no_excuse(notes: Notes) -> None:
    notes.visits(0, 12, 1)
    notes.visits(14, 100, 1)
    notes.holds(notes.one, FIRST, 10, 20)
    notes.settles(SECOND, 13)
    assert notes.found() == 1


def test_a_witness_that_is_handed_nothing_any_more_is_present_all_the_same(notes: Notes) -> None:
    notes.term(1, 0, notes.one)
    notes.visits(1, 12, 1)
    notes.visits(12, 100, 0)
    notes.holds(notes.one, FIRST, 10, 20)
    notes.settles(SECOND, 18)
    assert notes.found() == 1


@pytest.mark.parametrize("second_at", [9.0, 13.0, 14.0, 19.0])
def test_a_witness_that_was_away_for_long_has_no_claim(notes: Notes, second_at: float) -> None:
    notes.visits(0, 12, 1)
    notes.visits(18, 100, 1)
    notes.holds(notes.one, FIRST, 10, 20)
    notes.settles(SECOND, second_at)
    assert notes.found() == 0


def test_what_was_answered_or_taken_away_must_not_be_handed_out_again_in_its_term(notes: Notes) -> None:
    notes.visits(0, 30, 1)
    notes.holds(notes.one, FIRST, 10, 20)
    notes.settles(SECOND, 21)
    assert notes.found() == 1


def test_what_was_answered_or_taken_away_may_be_handed_out_again_in_another_term(notes: Notes) -> None:
    notes.term(2, 30, notes.one)
    notes.visits(0, 30, 1)
    notes.visits(31, 100, 2)
    notes.holds(notes.one, FIRST, 10, 20)
    notes.settles(NEXT_TERM, 40)
    assert notes.found() == 0


def test_beyond_its_limit_an_attempt_may_get_a_second_one(notes: Notes) -> None:
    notes.visits(0, 100, 1)
    notes.holds(notes.one, FIRST, 10, 90)
    notes.settles(SECOND, 10 + 2 * 1 + 30 + 1)
    assert notes.found() == 0


def test_a_new_term_waits_for_a_witness_that_comes_back_in_time(notes: Notes) -> None:
    notes.term(2, 50, notes.one)
    notes.visits(0, 49, 1)
    notes.visits(52, 100, 2)
    notes.holds(notes.one, FIRST, 40, 60)
    notes.settles(NEXT_TERM, 55)
    assert notes.found() == 1


@pytest.mark.parametrize("came_at", [55.0, 70.0])
def test_a_new_term_does_not_wait_for_ever(notes: Notes, came_at: float) -> None:
    notes.term(2, 50, notes.one)
    notes.visits(0, 49, 1)
    notes.visits(came_at, 100, 2)
    notes.holds(notes.one, FIRST, 40, 80)
    notes.settles(NEXT_TERM, came_at + 5)
    assert notes.found() == 0


def test_a_new_term_does_not_wait_for_somebody_unknown(notes: Notes) -> None:
    notes.term(2, 50)
    notes.visits(0, 49, 1)
    notes.visits(52, 100, 2)
    notes.holds(notes.one, FIRST, 40, 60)
    notes.settles(NEXT_TERM, 55)
    assert notes.found() == 0


@pytest.mark.parametrize(("started_at", "count"), [(9.0, 0), (25.0, 1)])
def test_an_ack_of_what_was_not_durable_is_found(notes: Notes, started_at: float, count: int) -> None:
    notes.holds(notes.one, FIRST, 10, 20)
    notes.one.holds[0].acked_at = 20.1
    notes.settles(NEXT_TERM, started_at)
    assert len(list(false_acks(notes.one, notes.observer))) == count


def test_a_row_of_the_journal_that_changes_is_found(tmp_path: Path) -> None:
    chronicle = Chronicle(tmp_path / "chronicle.txt")
    observer = Observer("", chronicle, int)
    row = Row("e", 0, "1", "agent", FIRST, 1.0, 2.0)
    observer.compare([row])
    observer.compare([row])
    assert not chronicle.findings
    observer.compare([row._replace(attempt=SECOND)])
    assert len(chronicle.findings) == 1
    chronicle.close()
