"""What counts as slower than before."""

import math

import pytest
from bench.comparison import changes, report
from bench.report import Row
from bench.results import Results


def run(*rows: Row, quick: bool = False, cores: int = 2) -> Results:
    return Results("2031-01-01T00:00:00+00:00", quick, {"cores": cores, "commit": "abc"}, rows)


def test_a_lower_rate_and_a_higher_cost_are_slower() -> None:
    before = [Row("rate", "tasks/s", [100.0]), Row("wait", "ms", [10.0])]
    rate, wait = changes(before, [Row("rate", "tasks/s", [50.0]), Row("wait", "ms", [15.0])])
    assert (rate.name, rate.factor) == ("rate", 2.0)
    assert (wait.name, wait.factor) == ("wait", 1.5)


def test_where_there_are_ratios_they_count_and_not_the_machines_speed() -> None:
    before = Row("tree", "tasks/s", [100.0, 100.0], beside=[200.0, 200.0])
    now = Row("tree", "tasks/s", [50.0, 50.0], beside=[100.0, 100.0])
    assert [change.factor for change in changes([before], [now])] == [1.0]


def test_medians_are_compared() -> None:
    before, now = Row("wait", "ms", [10.0, 10.0, 99.0]), Row("wait", "ms", [10.0, 10.0, 10.0])
    assert [change.factor for change in changes([before], [now])] == [1.0]


def test_what_is_not_in_both_or_not_watched_is_not_compared() -> None:
    before = [Row("gone", "ms", [1.0]), Row("others'", "ms", [1.0])]
    now = [Row("new", "ms", [9.0]), Row("others'", "ms", [9.0], is_watched=False)]
    assert changes(before, now) == []


@pytest.mark.parametrize(
    ("before", "now", "factor"), [(0.0, 0.0, 1.0), (0.0, 3.0, math.inf), (3.0, 0.0, 0.0)]
)
def test_zeros_are_compared_too(before: float, now: float, factor: float) -> None:
    found = changes([Row("twice", "tasks", [before])], [Row("twice", "tasks", [now])])
    assert [change.factor for change in found] == [factor]


def test_more_than_fifteen_percent_is_named_and_less_is_not() -> None:
    before = run(Row("a", "ms", [100.0]), Row("b", "ms", [100.0]), Row("c", "tasks", [1.0]))
    now = run(Row("a", "ms", [114.0]), Row("b", "ms", [116.0]), Row("c", "tasks", [0.0]))
    lines, is_slower = report(before, now)
    assert is_slower
    assert [line.split()[:2] for line in lines if line.startswith("  ")] == [
        ["slower", "b:"],
        ["faster", "c:"],
    ]
    assert lines[-1] == "1 of 3 figures became slower by more than 15%."


def test_runs_that_lie_among_each_other_are_doubted() -> None:
    before = Row("a", "ms", [90.0, 100.0, 130.0])
    (apart,) = changes([before], [Row("a", "ms", [131.0, 140.0, 150.0])])
    (among,) = changes([before], [Row("a", "ms", [120.0, 140.0, 150.0])])
    assert (apart.is_doubtful, among.is_doubtful) == (False, True)
    assert str(among).endswith("measure again")


def test_what_is_left_out_now_is_named_and_not_compared() -> None:
    nothing = Row("a", "", [], note="not there")
    lines, is_slower = report(run(Row("a", "ms", [1.0])), run(nothing))
    assert not is_slower
    assert lines[1:] == ["  left out now  a: not there", "0 of 0 figures became slower by more than 15%."]
    assert changes([nothing], [Row("a", "ms", [1.0])]) == []


def test_nothing_slower_is_no_failure() -> None:
    same = run(Row("a", "ms", [100.0]))
    lines, is_slower = report(same, same)
    assert not is_slower
    assert lines == [
        "Compared with the run of 2031-01-01T00:00:00+00:00 (abc):",
        "0 of 1 figures became slower by more than 15%.",
    ]


def test_other_sizes_and_other_machines_are_said() -> None:
    lines, _ = report(run(quick=True), run(cores=64))
    assert len([line for line in lines if "quick" in line or "machine" in line]) == 2
