"""Attempts that fail or are lost once too often, and how long a task waits for a better agent."""

import pytest
from tests.support.stage import DIVISION, Stage, named

from curta_server.core.crew import Run
from curta_server.core.execution import Execution
from curta_server.core.scheduler import Rules


def beside(stage: Stage, failures: int) -> tuple[Execution, Run, Run]:
    """An attempt that failed so often before, takes too long now, and has a second beside it."""
    stage.join("a")
    it = stage.submit("1+2")
    for _ in range(failures):
        stage.answer(stage.only("a"), error="out_of_memory")
    first = stage.only("a")
    for _ in range(17):
        stage.now += 2
        stage.do(stage.beat_of("a"))
    stage.join("b")
    stage.wait(2, beating="ab")
    return it, first, stage.only("b")


# --- the last failure and the last loss ---


def test_the_third_failure_waits_for_the_attempt_beside_it() -> None:
    stage = Stage()
    it, first, second = beside(stage, failures=2)
    stage.answer(first, error="out_of_memory")
    assert not stage.ends and it.held == 1, "the other may succeed, and nothing is handed out beside it"
    stage.answer(second)
    assert stage.ends[it.id].value == "3"


@pytest.mark.parametrize("how", ["fails", "is lost", "is handed back"])
def test_when_the_attempt_beside_it_comes_to_nothing_the_expression_fails(how: str) -> None:
    stage = Stage()
    it, first, second = beside(stage, failures=2)
    stage.answer(first, error="out_of_memory")
    if how == "fails":
        stage.answer(second, error="disk_full")
    elif how == "is lost":
        stage.wait(11, beating="a")
    else:
        stage.beat("b", held=[])
    error = stage.ends[it.id].error
    assert error is not None and error.code == "agents_failed" and error.task == it.name(0)
    assert "1 + 2" in error.message and ("disk_full" if how == "fails" else "out_of_memory") in error.message


def test_the_last_loss_waits_for_the_attempt_beside_it() -> None:
    stage = Stage(rules=Rules(losses_max=1))
    it, _, second = beside(stage, failures=0)
    stage.wait(11, beating="b")
    assert it.losses == {0: 1} and not stage.ends
    stage.answer(second)
    assert stage.ends[it.id].value == "3"


def test_a_last_loss_is_forgiven_when_the_agent_comes_back_with_the_attempt() -> None:
    stage = Stage(rules=Rules(losses_max=1))
    it, first, _ = beside(stage, failures=0)
    stage.wait(11, beating="b")
    assert stage.join("a", held=[named(first)]).welcomes[0].keep == [named(first)]
    stage.leave("b", bye=True)
    stage.leave("a", bye=True)
    assert not stage.ends, "who says bye is not lost"
    stage.join("c")
    stage.answer(stage.only("c"))
    assert stage.ends[it.id].value == "3"


# --- avoided, while another can take it ---


def test_a_failed_task_waits_for_a_busy_agent_no_longer_than_half_a_minute() -> None:
    stage = Stage(durations_ms=(3_600_000,) * 4)
    stage.join("a")
    stage.join("b")
    one = stage.submit("1+2")
    (bad,) = stage.computing(one)
    stage.submit("3+4")
    stage.answer(stage.only(bad), error="out_of_memory")
    stage.wait(29, beating="ab")
    assert one.held == 0, "the other might soon be free"
    stage.wait(2, beating="ab")
    assert stage.computing(one) == [bad]


def test_a_pulling_agent_between_its_requests_is_not_waited_for() -> None:
    stage = Stage()
    stage.join("p", pulls=True)
    stage.ask("p", 1)
    stage.ask("p", 0)
    stage.join("a")
    it = stage.submit("1+2")
    stage.wait(6, beating="a")
    stage.answer(stage.only("a"), error="out_of_memory")
    assert stage.computing(it) == ["a"]


def test_a_pulling_agent_that_asks_is_preferred_to_one_that_failed() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    stage.join("p", pulls=True)
    stage.ask("p", 1)
    stage.answer(stage.only("a"), error="out_of_memory")
    assert stage.computing(it) == ["p"]


def test_a_half_deaf_agent_is_avoided_for_what_it_did_not_hold() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    stage.join("b", slots=1)
    stage.submit("3+4")
    stage.beat("a", held=[])
    stage.hands["a"].clear()
    assert it.held == 0, "the other one is waited for"
    stage.answer(stage.only("b"))
    stage.wait(0.4, beating="ab")
    assert stage.computing(it) == ["b"]


def test_a_half_deaf_agent_that_is_the_only_one_gets_it_again() -> None:
    stage = Stage()
    stage.join("a")
    stage.join("other", operations=DIVISION)
    it = stage.submit("1+2")
    stage.beat("a", held=[])
    assert stage.computing(it) == ["a"]
