"""Agents that pull: each attempt has a lease of its own."""

from tests.support.stage import Stage

from curta_server.core.events import Answer, Answered, Renewed, Ticked
from curta_server.core.execution import READY, RUNNING

WIDE = "+".join(f"({n}*{n + 1})" for n in range(1, 50))


def test_each_pulled_attempt_has_a_lease_of_a_minute() -> None:
    stage = Stage()
    stage.submit(WIDE)
    stage.join("p", pulls=True)
    stage.ask("p", 1)
    stage.ask("p", 0)
    run = stage.only("p")
    stage.now += 50
    stage.do(Ticked(), Renewed("p", run.name))
    stage.now += 50
    stage.do(Ticked())
    assert run.execution.state[run.task] == RUNNING
    stage.now += 11
    stage.do(Ticked())
    assert run.execution.state[run.task] == READY and run.execution.losses == {run.task: 1}


def test_what_a_vanished_pulling_agent_lost_is_not_handed_to_it_again() -> None:
    stage = Stage()
    it = stage.submit("1+2")
    stage.join("p", pulls=True)
    stage.ask("p", 1)
    stage.ask("p", 0)
    for _ in range(10):
        stage.now += 61
        stage.do(Ticked())
    assert it.losses == {0: 1} and not stage.ends


def test_a_pulled_result_after_its_lease_still_counts() -> None:
    stage = Stage()
    it = stage.submit("1+2")
    stage.join("p", pulls=True)
    stage.ask("p", 1)
    run = stage.only("p")
    stage.ask("p", 0)
    stage.now += 61
    stage.do(Ticked())
    assert it.state[0] == READY
    stage.join("p", pulls=True)
    stage.do(Answered("p", stage.sessions["p"], [Answer(run.name, run.attempt, "3")]))
    assert stage.ends[it.id].value == "3"
