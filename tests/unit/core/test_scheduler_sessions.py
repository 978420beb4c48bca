"""Agents that come back: newer sessions replace older ones, and work that is held is kept."""

from tests.support.stage import Stage, named

from curta_server.core.events import Answer, Answered, Left

# --- a newer session ---


def test_a_newer_session_replaces_the_older() -> None:
    stage = Stage()
    stage.join("a")
    old = stage.sessions["a"]
    commands = stage.join("a")
    assert [(closed.session, closed.code) for closed in commands.closes] == [(old, 4002)]


def test_what_a_replaced_session_still_says_is_ignored() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    run = stage.only("a")
    old = stage.sessions["a"]
    stage.join("a", held=[named(run)])
    stage.do(Left("a", old), Answered("a", old, [Answer(run.name, run.attempt, "666")]))
    stage.do(stage.beat_of("a", [], 100, session=old))
    stage.wait(6, beating=["a"])
    assert stage.computing(it) == ["a"] and stage.only("a") is run


# --- coming back ---


def test_an_agent_that_comes_back_in_its_grace_keeps_its_work() -> None:
    stage = Stage()
    stage.join("a")
    stage.submit("1+2")
    run = stage.only("a")
    stage.leave("a")
    stage.wait(3)
    assert stage.join("a", held=[named(run)]).welcomes[0].keep == [named(run)]
    assert not stage.wait(6, beating=["a"]).pushes


def test_what_it_does_not_hold_any_more_is_ready_at_once() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    stage.leave("a")
    commands = stage.join("a", held=[])
    assert [run.attempt for run in commands.pushes["a"]] == [(3 << 20) + 2] and it.losses == {}


def test_a_lost_agent_that_comes_back_goes_on_beside_the_newer_attempt() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    first = stage.only("a")
    stage.wait(11)
    stage.join("b")
    second = stage.only("b")
    assert second.attempt == first.attempt + 1
    assert stage.join("a", held=[named(first)]).welcomes[0].keep == [named(first)]
    commands = stage.do(Answered("a", stage.sessions["a"], [Answer(first.name, first.attempt, "3")]))
    assert commands.cancels == {"b": [named(second)]}, "the first result wins"
    stage.store()
    assert stage.ends[it.id].value == "3"


def test_at_most_two_attempts_run() -> None:
    stage = Stage()
    runs = []
    for agent in "abc":
        stage.join(agent)
        if agent == "a":
            it = stage.submit("1+2")
        runs.append(stage.only(agent))
        if agent != "c":
            stage.wait(11)
    assert stage.join("b", held=[named(runs[1])]).welcomes[0].keep
    assert stage.join("a", held=[named(runs[0])]).welcomes[0].drop == [named(runs[0])]
    assert len(it.runs) == len(it.twins) == 1


def test_an_attempt_that_was_handed_to_somebody_else_is_not_kept() -> None:
    stage = Stage()
    stage.join("a")
    stage.submit("1+2")
    run = stage.only("a")
    assert stage.join("b", held=[named(run)]).welcomes[0].drop == [named(run)]
    commands = stage.do(Answered("b", stage.sessions["b"], [Answer(run.name, run.attempt, "666")]))
    assert not commands.journal


def test_a_result_not_yet_stored_is_kept_by_who_comes_back() -> None:
    stage = Stage()
    stage.join("a")
    stage.submit("1+2")
    run = stage.only("a")
    stage.answer(run)
    stage.leave("a", bye=True)
    assert stage.join("a", held=[named(run)]).welcomes[0].keep == [named(run)]
    assert stage.store().acks == {"a": [named(run)]}
