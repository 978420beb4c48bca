"""What agents still say of attempts of before a restart, and of attempts that nobody wants any more."""

from tests.support.stage import Stage, named

from curta_server.core.events import Answer, Answered, Named

EARLIER = 2 << 20 | 1
"""An attempt of the epoch before the stage's."""


def say(stage: Stage, agent: str, *answers: Answer) -> None:
    stage.do(Answered(agent, stage.sessions[agent], answers))


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
