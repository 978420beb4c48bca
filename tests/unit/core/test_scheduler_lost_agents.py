"""What is remembered of agents that are lost: that they were there, and which tasks others took over."""

from tests.support.stage import Stage

from curta_server.core.crew import PASSED_ON_KEPT
from curta_server.core.scheduler import Rules


def test_a_lost_agent_is_remembered_with_its_tasks_for_an_hour() -> None:
    stage = Stage()
    stage.join("a", slots=2)
    it = stage.submit("(1+2)*(3+4)")
    runs = stage.hands["a"]
    stage.wait(10.4)
    agent = stage.scheduler.crew.agents["a"]
    assert agent.is_lost and not agent.runs
    assert agent.passed_on == {run.name: it.user.name for run in runs} and agent.passed_on_count == 2
    stage.join("b", slots=2)
    assert stage.computing(it) == ["b", "b"]
    stage.wait(3590, beating="b")
    assert "a" in stage.scheduler.crew.agents
    stage.wait(20, beating="b")
    assert "a" not in stage.scheduler.crew.agents


def test_who_comes_back_is_lost_no_more() -> None:
    stage = Stage()
    stage.join("a")
    stage.submit("1+2")
    stage.wait(10.4)
    stage.join("a")
    agent = stage.scheduler.crew.agents["a"]
    assert (agent.is_lost, agent.passed_on, agent.passed_on_count) == (False, {}, 0)


def test_of_very_many_tasks_the_first_are_remembered_and_all_are_counted() -> None:
    stage = Stage()
    count = PASSED_ON_KEPT + 50
    stage.join("a", slots=count)
    stage.submit("+".join(f"{n}*{n + 1}" for n in range(2, count + 2)), optimize=False)
    stage.wait(10.4)
    agent = stage.scheduler.crew.agents["a"]
    assert agent.passed_on_count == count and len(agent.passed_on) == PASSED_ON_KEPT


def test_what_a_pulling_agent_did_not_renew_is_remembered_too() -> None:
    stage = Stage(rules=Rules(pull_lease_s=5.0))
    stage.join("a", slots=0, pulls=True)
    stage.ask("a", 1)
    stage.submit("1+2")
    stage.wait(6)
    agent = stage.scheduler.crew.agents["a"]
    assert agent.is_lost and agent.passed_on_count == 1


def test_tasks_that_nobody_wants_were_not_passed_on() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    stage.cancel(it)
    stage.wait(10.4)
    agent = stage.scheduler.crew.agents["a"]
    assert agent.is_lost and agent.passed_on_count == 0


def test_who_never_comes_back_to_a_new_leader_is_lost() -> None:
    stage = Stage(expected=["a", "b"])
    stage.join("b")
    assert stage.wait(30, beating="b").lost == ["a"]
    agents = stage.scheduler.crew.agents
    assert agents["a"].is_lost and not agents["b"].is_lost
    assert stage.submit("1+2") and stage.hands["b"], "it takes part in nothing"
    stage.join("a")
    assert not agents["a"].is_lost


def test_who_was_lost_before_the_term_is_remembered_for_the_rest_of_the_hour_or_until_it_comes() -> None:
    stage = Stage()
    crew = stage.scheduler.crew
    crew.recall("a", stage.now - 3590)
    crew.recall("b", stage.now - 3590)
    assert stage.submit("1+2") and not stage.hands, "they take part in nothing"
    stage.join("b")
    assert not crew.agents["b"].is_lost and stage.hands["b"]
    stage.wait(9, beating="b")
    assert crew.agents["a"].is_lost
    stage.wait(2, beating="b")
    assert set(crew.agents) == {"b"}
