"""Slow links: long frames take longer than silence is borne, and nobody is lost for that."""

from tests.support.stage import Stage, named

from curta_server.core.events import Heard, Ticked
from curta_server.core.liveness import SLOW_BYTES_S

LONG = "7" * 10_000


def test_part_of_a_frame_is_a_sign_of_life() -> None:
    stage = Stage()
    stage.join("a")
    stage.submit("1+2")
    for _ in range(20):
        stage.now += 4
        assert not stage.do(Heard("a", stage.sessions["a"]), Ticked()).lost, "its result is on the way"
    assert stage.wait(10.4).lost == ["a"]


def test_part_of_a_frame_of_a_replaced_session_is_none() -> None:
    stage = Stage()
    stage.join("a")
    old = stage.sessions["a"]
    stage.join("a")
    stage.wait(9)
    stage.do(Heard("a", old))
    assert stage.wait(1.4).lost == ["a"]


def test_a_push_of_long_operands_has_the_time_that_a_slow_link_takes() -> None:
    stage = Stage()
    stage.join("a", slots=100)
    stage.submit("+".join(f"({LONG}*{LONG[: 9_000 + n]})" for n in range(100)), optimize=False)
    (push,) = {run.push for run in stage.held("a")}
    size = sum(len(operand) for run in stage.held("a") for operand in (LONG, LONG[:9_000]))
    waited_s = 0.0
    while waited_s < 10 + size / SLOW_BYTES_S:
        stage.now += 2
        waited_s += 2
        assert not stage.do(stage.beat_of("a", [], push - 1), Ticked()).lost
    for _ in range(5):
        stage.now += 2
        lost = stage.do(stage.beat_of("a", [], push - 1), Ticked()).lost
        if lost:
            break
    assert lost == ["a"], "so slow is deaf"


def test_short_operands_have_no_more_than_the_lease() -> None:
    stage = Stage()
    stage.join("a", slots=100)
    stage.submit("+".join(f"({n}*{n + 1})" for n in range(100)))
    for _ in range(5):
        stage.now += 2
        stage.do(stage.beat_of("a", [], 0), Ticked())
    stage.now += 0.2
    assert stage.do(stage.beat_of("a", [], 0), Ticked()).lost == ["a"]


def test_a_push_that_waits_behind_another_has_its_lease_from_when_that_was_read() -> None:
    stage = Stage()
    stage.join("a", slots=3)
    for n in range(3):
        stage.submit(f"{n}+1")
    runs = stage.held("a")
    assert [run.push for run in runs] == [1, 2, 3]
    for seen in range(3):
        for _ in range(4):
            stage.now += 2
            read = [named(run) for run in runs[:seen]]
            assert not stage.do(stage.beat_of("a", read, seen), Ticked()).lost
    stage.beat("a", [named(run) for run in runs], 3)
    assert not stage.wait(12, beating="a").lost


def test_what_was_heard_before_a_pause_was_known_does_not_count_beyond_it() -> None:
    stage = Stage()
    stage.join("a")
    stage.now += 60
    stage.do(stage.beat_of("a"), Ticked(late_s=59.8))
    assert stage.wait(10.4).lost == ["a"]
