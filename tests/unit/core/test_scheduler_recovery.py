"""After a restart: recovered tasks wait for the agents, whose results may come before their expressions."""

import pytest
from tests.support.stage import Stage

from curta_server.core.events import Absent, Answer, Answered, Cancelled, Left, Named, Ticked
from curta_server.core.execution import UNNEEDED
from curta_server.core.hands import ASK_BUDGET
from curta_server.core.scheduler import ADVANCE_BUDGET, Rules

EARLIER = 2 << 20 | 1
"""An attempt of the epoch before the stage's."""


# --- recovered tasks ---


def test_recovered_tasks_wait_until_all_agents_are_back() -> None:
    stage = Stage(expected=["a", "b"])
    it = stage.submit("1+2", journal=[], gated=True)
    stage.join("a")
    stage.wait(1, beating=["a"])
    assert it.held == 0
    assert "time to come back" in str(stage.scheduler.waiting_for(it))
    stage.join("b")
    stage.wait(0.2, beating="ab")
    assert it.held == 1


def test_recovered_tasks_wait_no_longer_than_five_quiet_seconds() -> None:
    stage = Stage(expected=["a", "b"])
    it = stage.submit("1+2", journal=[], gated=True)
    stage.wait(3)
    stage.join("a")
    stage.wait(4.8, beating=["a"])
    assert it.held == 0
    assert stage.wait(0.4, beating=["a"]).lost == ["b"], "who never came is not waited for again"
    assert it.held == 1


def test_recovered_tasks_wait_at_most_a_minute() -> None:
    stage = Stage(expected=["never", *(f"a{n}" for n in range(40))])
    it = stage.submit("1+2", journal=[], gated=True)
    for n in range(20):
        stage.join(f"a{n}")
        stage.now += 3
        stage.do(Ticked())
        assert (it.held == 1) == (n == 19)


def test_new_expressions_need_not_wait_for_anybody() -> None:
    stage = Stage(expected=["b"])
    stage.join("a", slots=2)
    old, new = stage.submit("1+2", journal=[], gated=True), stage.submit("3+4")
    assert (old.held, new.held) == (0, 1)


def test_an_attempt_of_before_the_restart_goes_on_and_its_operands_are_not_computed() -> None:
    stage = Stage(expected=["a"])
    held = Named("x.2", EARLIER)
    assert stage.join("a", slots=3, held=[held]).unknown == {"x"}
    it = stage.submit("(1+2)*(3+4)", id="x", journal=[], gated=True)
    stage.wait(1, beating=[])
    assert it.runs[2].attempt == EARLIER and len(stage.held("a")) == 0
    stage.do(Answered("a", stage.sessions["a"], [Answer(*held, "21")]))
    stage.store()
    assert stage.ends["x"].value == "21"


def test_when_that_attempt_is_lost_its_operands_are_computed() -> None:
    stage = Stage(expected=["a"])
    stage.join("a", held=[Named("x.2", EARLIER)])
    stage.submit("(1+2)*(3+4)", id="x", journal=[], gated=True)
    stage.wait(11)
    stage.join("b", slots=2)
    assert sorted(run.task for run in stage.held("b")) == [0, 1]


def test_when_that_attempt_takes_too_long_its_operands_come_first() -> None:
    stage = Stage(expected=["a"])
    held = Named("x.2", EARLIER)
    stage.join("a", held=[held])
    it = stage.submit("(1+2)*(3+4)", id="x", journal=[], gated=True)
    stage.join("b", slots=2)
    for _ in range(20):
        stage.now += 2
        stage.do(stage.beat_of("a", [held]), stage.beat_of("b"), Ticked())
    assert sorted(run.task for run in stage.held("b")) == [0, 1]
    stage.finish(["b"])
    for _ in range(2):
        stage.now += 1
        stage.do(stage.beat_of("a", [held]), stage.beat_of("b"), Ticked())
    assert [run.task for run in stage.held("b")] == [2] and len(it.twins) == 1


# --- attempts and results of expressions that are not here yet ---


def test_an_undecided_attempt_takes_its_slot_until_it_is_decided() -> None:
    stage = Stage()
    held = Named("x.0", EARLIER)
    stage.join("a", slots=1, held=[held])
    stage.submit("3+4")
    assert stage.held("a") == []
    assert stage.do(Absent("x")).cancels == {"a": [held]}
    assert stage.held("a") == [], "its slot is free once it has answered"
    stage.do(Answered("a", stage.sessions["a"], [Answer(*held, None, "cancelled")]))
    assert len(stage.held("a")) == 1


def test_what_a_beat_does_not_name_any_more_is_not_undecided() -> None:
    stage = Stage()
    stage.join("a", slots=1, held=[Named("x.0", EARLIER)])
    stage.submit("3+4")
    stage.beat("a", [])
    assert len(stage.held("a")) == 1


def test_results_may_come_before_their_expression() -> None:
    stage = Stage(expected=["a"])
    held = Named("x.0", EARLIER)
    stage.join("a", held=[held])
    commands = stage.do(Answered("a", stage.sessions["a"], [Answer(*held, "3")]))
    assert commands.unknown == {"x"} and not commands.acks
    stage.submit("1+2", id="x", journal=[], gated=True)
    assert stage.ends["x"].value == "3"
    assert stage.store().acks == {"a": [held]}


def test_an_early_result_that_beats_name_takes_no_slot_once_its_expression_is_there() -> None:
    stage = Stage()
    held = Named("x.0", EARLIER)
    stage.join("a", held=[held])
    stage.do(Answered("a", stage.sessions["a"], [Answer(*held, "3")]))
    stage.beat("a", [held])
    stage.submit("1+2", id="x", journal=[], gated=True)
    stage.submit("4+5")
    assert len(stage.held("a")) == 1


@pytest.mark.parametrize("event", [Absent("x"), Cancelled("x")])
def test_early_results_of_what_is_final_already_are_acknowledged(event: Absent | Cancelled) -> None:
    stage = Stage()
    held = Named("x.0", EARLIER)
    stage.join("a", held=[held])
    stage.do(Answered("a", stage.sessions["a"], [Answer(*held, "3")]))
    assert stage.do(event).acks == {"a": [held]}
    assert len(stage.scheduler.early) == 0


def test_early_results_are_bounded() -> None:
    stage = Stage(rules=Rules(early_bytes_max=2000))
    stage.join("a")
    answers = [Answer(f"x.{n}", EARLIER, "3") for n in range(10)]
    commands = stage.do(Answered("a", stage.sessions["a"], answers))
    assert {closed.code for closed in commands.closes} == {1013}


def test_an_early_result_that_is_repeated_counts_once() -> None:
    stage = Stage(rules=Rules(early_bytes_max=2000))
    stage.join("a", held=[Named("x.0", EARLIER)])
    for _ in range(10):
        answers = [Answer("x.0", EARLIER, "3")]
        assert not stage.do(Answered("a", stage.sessions["a"], answers)).closes
    assert len(stage.scheduler.early) == 1
    stage.submit("1+2", id="x", journal=[], gated=True)
    assert stage.ends["x"].value == "3"
    assert len(stage.scheduler.early) == 0
    many = [Answer(f"y.{n}", EARLIER, "3") for n in range(3)]
    assert not stage.do(Answered("a", stage.sessions["a"], many)).closes, "its room is free again"


def test_what_a_lost_attempt_needs_is_asked_for_in_slices() -> None:
    """An attempt of before the restart stood for all that it needs; that may be very much."""
    stage = Stage()
    wide = "+".join(f"({n}*{n + 1})" for n in range(ADVANCE_BUDGET))
    it = stage.submit(wide, id="x")
    root = len(it.plan) - 1
    stage = Stage()
    stage.join("a", held=[Named(f"x.{root}", EARLIER)])
    it = stage.submit(wide, id="x", journal=[])
    assert it.held == 1
    stage.scheduler.handle([Left("a", stage.sessions["a"], bye=True)], stage.now)
    looked_at = len(it.state) - it.state.count(UNNEEDED)
    assert 0 < looked_at <= ASK_BUDGET + ADVANCE_BUDGET < len(it.plan), "not all of it in one turn"
    stage.join("b", slots=100_000)
    assert it.held == ADVANCE_BUDGET


def test_the_roots_row_alone_makes_an_expression_done() -> None:
    stage = Stage()
    held = Named("x.0", EARLIER)
    stage.join("a", held=[held])
    stage.submit("-((1+2)*(3+4))", id="x", journal=[(2, "21")], gated=True)
    assert stage.ends["x"].value == "-21"
    assert stage.store().dropped == ["x"]
    assert stage.scheduler.crew.agents["a"].held == 1, "cancelled, and not answered yet"
    assert stage.do(Answered("a", stage.sessions["a"], [Answer(*held, "3")])).unknown == {"x"}
    assert stage.do(Absent("x")).acks == {"a": [held]}
    assert stage.scheduler.crew.agents["a"].held == 0
