"""What agents still say of attempts of before a restart, and of attempts that nobody wants any more."""

from tests.support.stage import Stage, named

from curta_server.core.crew import Run
from curta_server.core.events import Answer, Answered, Commands, Named, Renewed, Ticked

EARLIER = 2 << 20 | 1
"""An attempt of the epoch before the stage's."""


def say(stage: Stage, agent: str, *answers: Answer) -> Commands:
    return stage.do(Answered(agent, stage.sessions[agent], answers))


def test_a_failure_of_before_the_restart_counts_once_however_often_it_is_said() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2", journal=[])
    for _ in range(5):
        say(stage, "a", Answer(it.name(0), EARLIER, None, "out_of_memory"))
    assert it.failures == {0: 1} and not it.ended


def test_the_answer_to_a_cancel_is_nobodys_failure() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    run = stage.only("a")
    stage.leave("a")
    stage.wait(5.4)
    assert it.losses == {0: 1}
    stage.join("a")
    say(stage, "a", Answer(*named(run), None, "cancelled"))
    assert not it.failures and not it.ended
    assert stage.only("a").attempt > run.attempt


def test_a_result_of_before_the_restart_starts_an_expression_that_was_queued() -> None:
    stage = Stage()
    stage.join("a", operations=0)
    it = stage.submit("1+2*3")
    commands = stage.do(Answered("a", stage.sessions["a"], [Answer(it.name(0), EARLIER, "6")]))
    assert commands.journal and commands.started == [it], "what has a journal is never taken for queued"
    assert stage.do(Answered("a", stage.sessions["a"], [Answer(it.name(1), EARLIER, "7")])).started == []


def test_an_attempt_that_failed_before_the_restart_is_dropped_if_it_is_held_again() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2", journal=[])
    say(stage, "a", Answer(it.name(0), EARLIER, None, "out_of_memory"))
    welcome = stage.join("a", held=[Named(it.name(0), EARLIER)]).welcomes[0]
    assert welcome.drop == [Named(it.name(0), EARLIER)]


# --- repeated by an agent that pulls: it has to know that it was its attempt ---


def pulled(stage: Stage, agent: str = "p") -> Run:
    """What an agent that pulls has in its hands."""
    stage.join(agent, pulls=True)
    stage.ask(agent, 1)
    stage.ask(agent, 0)
    return stage.only(agent)


def test_a_failure_that_is_said_again_is_known_as_its_agents_and_counts_once() -> None:
    stage = Stage()
    it = stage.submit("1+2")
    run = pulled(stage)
    stage.answer(run, error="out_of_memory")
    assert stage.scheduler.knows_attempt("p", *named(run)) is True
    assert stage.scheduler.knows_attempt("other", *named(run)) is False
    assert say(stage, "p", Answer(*named(run), None, "out_of_memory")).acks["p"] == [named(run)]
    assert it.failures == {0: 1}


def test_an_error_that_ends_the_expression_is_acknowledged_with_its_end_however_often_it_is_said() -> None:
    stage = Stage()
    stage.submit("1+2")
    run = pulled(stage)
    stage.answer(run, error="too_large")
    assert stage.scheduler.knows_attempt("p", *named(run)) is True
    assert not say(stage, "p", Answer(*named(run), None, "too_large")).acks
    assert stage.store().acks["p"] == [named(run)]


def test_a_failure_of_before_the_restart_is_known_as_its_agents_when_it_is_said_again() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2", journal=[])
    say(stage, "a", Answer(it.name(0), EARLIER, None, "out_of_memory"))
    assert stage.scheduler.knows_attempt("a", it.name(0), EARLIER) is True
    assert stage.scheduler.knows_attempt("b", it.name(0), EARLIER) is False


def test_a_lost_attempts_answer_to_a_cancel_is_known_when_it_is_said_again() -> None:
    stage = Stage()
    stage.submit("1+2")
    run = pulled(stage)
    stage.now += 61
    stage.do(Ticked())
    stage.join("p", pulls=True)
    say(stage, "p", Answer(*named(run), None, "cancelled"))
    assert stage.scheduler.knows_attempt("p", *named(run)) is True


def test_a_result_beside_the_winner_that_is_said_again_is_acknowledged_with_the_winners_row() -> None:
    stage = Stage(durations_ms=(1000,) * 4)
    stage.submit("1+2")
    slow = pulled(stage, "slow")
    stage.now += 40
    stage.do(Renewed("slow", slow.name), Ticked())
    stage.answer(pulled(stage, "quick"))
    assert slow.given_up
    stage.answer(slow)
    assert stage.scheduler.knows_attempt("slow", *named(slow)) is True
    assert "slow" not in say(stage, "slow", Answer(*named(slow), "3")).acks
    assert stage.store().acks["slow"] == [named(slow)]
