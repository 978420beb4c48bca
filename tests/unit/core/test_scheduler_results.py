"""Results: what they release, when they are acknowledged, and how an expression ends."""

from tests.support.stage import ADDITION, DIVISION, Stage, named

from curta_server.core.crew import Run
from curta_server.core.events import Answer, Answered, Drained, Stored, Ticked, Unsent
from curta_server.core.execution import Execution
from curta_server.core.scheduler import Rules


def late(stage: Stage, agent: str, run: Run, value: str = "666") -> Answered:
    return Answered(agent, stage.sessions[agent], [Answer(run.name, run.attempt, value)])


def slow(stage: Stage, seconds: float, agents: str) -> None:
    """Time passes, and everybody beats."""
    for _ in range(round(seconds)):
        stage.now += 1
        stage.do(*(stage.beat_of(agent) for agent in agents), Ticked())


# --- durable ---


def test_an_expression_is_computed_to_its_exact_value() -> None:
    stage = Stage()
    stage.join("a", slots=2)
    stage.join("b", slots=1)
    it = stage.submit("-(0.1 + 0.2) * 3 / -(7 - 10/3)")
    stage.finish("ab")
    assert stage.ends[it.id].value == "27/110"
    assert not stage.scheduler.executions and not stage.scheduler.users


def test_dependents_are_released_before_the_result_is_durable() -> None:
    stage = Stage()
    stage.join("a")
    stage.submit("(1+2)*3")
    commands = stage.answer(stage.only("a"))
    assert len(commands.journal) == 1 and len(commands.pushes["a"]) == 1 and not commands.acks


def test_a_result_is_acknowledged_when_it_is_durable() -> None:
    stage = Stage()
    stage.join("a")
    stage.submit("1+2")
    run = stage.only("a")
    stage.answer(run)
    assert stage.store().acks == {"a": [named(run)]}


def test_a_repeated_result_is_acknowledged_only_after_the_commit() -> None:
    stage = Stage()
    stage.join("a")
    stage.submit("(1+2)*3")
    run = stage.only("a")
    stage.answer(run)
    assert not stage.do(late(stage, "a", run, "3")).acks
    assert stage.store().acks == {"a": [named(run), named(run)]}
    assert stage.do(late(stage, "a", run, "3")).acks == {"a": [named(run)]}, "and at once after it"


def test_an_attempt_that_was_never_handed_out_is_not_believed() -> None:
    stage = Stage()
    stage.join("a")
    stage.submit("1+2")
    run = stage.only("a")
    commands = stage.do(Answered("a", stage.sessions["a"], [Answer(run.name, run.attempt + 7, "666")]))
    assert not commands.journal and stage.scheduler.crew.agents["a"].held == 1


def test_the_roots_row_and_the_end_are_told_together() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    commands = stage.answer(stage.only("a"))
    assert [run.task for run in commands.journal] == [it.root]
    assert [final.value for final in commands.finals] == ["3"]


def test_values_are_freed_while_a_long_chain_goes_on() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1" + "+2-3" * 20, optimize=False)
    most = 0
    while stage.hands["a"]:
        stage.answer(stage.only("a"))
        stage.store()
        most = max(most, sum(value is not None for value in it.values))
    assert most <= 3 and stage.ends


def test_an_expression_starts_with_its_first_hand_out() -> None:
    stage = Stage()
    it = stage.submit("1+2")
    stage.now += 7
    assert stage.join("a").started == [it] and it.started_s == stage.now


# --- the first valid result ---


def too_long(stage: Stage) -> tuple[Execution, Run, Run]:
    """An attempt that takes too long, and its second."""
    stage.join("a")
    it = stage.submit("1+2")
    first = stage.only("a")
    stage.join("b")
    slow(stage, 32, "ab")
    assert not stage.held("b"), "twice its duration and 30 s are not over"
    slow(stage, 2, "ab")
    return it, first, stage.only("b")


def test_an_attempt_that_takes_too_long_gets_one_second_elsewhere() -> None:
    stage = Stage()
    it, first, second = too_long(stage)
    assert second.attempt == first.attempt + 1
    stage.join("c")
    slow(stage, 25, "abc")
    assert not stage.held("c") and it.held == 2
    assert stage.only("a") is first, "the first is never taken away for that"


def test_a_second_attempt_waits_until_another_agent_is_there() -> None:
    stage = Stage()
    stage.join("a", slots=3)
    it = stage.submit("1+2")
    slow(stage, 40, "a")
    assert it.held == 1
    stage.join("b")
    slow(stage, 1, "ab")
    assert it.held == 2


def test_whoever_is_first_wins_and_the_other_is_cancelled() -> None:
    for winner, loser in ("ab", "ba"):
        stage = Stage()
        it, first, second = too_long(stage)
        runs = {"a": first, "b": second}
        assert stage.answer(runs[winner]).cancels == {loser: [named(runs[loser])]}
        stage.hands[loser].clear()
        assert not stage.do(late(stage, loser, runs[loser])).acks, "not before the winner's row is durable"
        assert sorted(stage.store().acks) == ["a", "b"]
        assert stage.ends[it.id].value == "3"


def test_a_cancelled_attempt_keeps_its_slot_until_it_is_answered() -> None:
    stage = Stage()
    _, first, second = too_long(stage)
    stage.answer(second)
    stage.store()
    stage.submit("(3+4)*(5+6)")
    assert len(stage.held("b")) == 1 and stage.only("a") is first
    stage.answer(first, error="cancelled")
    assert len(stage.held("a")) == 1


def test_when_the_first_is_lost_the_second_goes_on_alone() -> None:
    stage = Stage()
    it, _, second = too_long(stage)
    stage.leave("a", bye=True)
    assert it.runs == {0: second} and not it.twins
    stage.answer(second)
    assert stage.ends[it.id].value == "3"


def test_a_lost_attempt_that_was_too_long_is_not_handed_out_twice() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    slow(stage, 40, "a")
    stage.leave("a", bye=True)
    stage.join("b")
    stage.join("c")
    assert it.held == 1 and not it.twins


def test_it_may_go_to_the_same_agent_again_when_that_gave_it_back() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    slow(stage, 40, "a")
    stage.beat("a", held=[])
    assert stage.computing(it) == ["a"]


# --- failures and losses ---


def test_an_agent_that_failed_a_task_is_avoided_for_it() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    stage.join("b")
    failed = stage.only("a")
    commands = stage.answer(failed, error="out_of_memory")
    assert commands.acks == {"a": [named(failed)]}
    assert stage.computing(it) == ["b"]


def test_it_is_avoided_even_while_the_other_is_busy() -> None:
    stage = Stage()
    stage.join("a")
    stage.join("b")
    one, two = stage.submit("1+2"), stage.submit("3+4")
    stage.answer(stage.only("a"), error="out_of_memory")
    assert (one.held, two.held) == (0, 1)
    stage.answer(stage.only("b"))
    stage.wait(0.2, beating="ab")
    assert stage.computing(one) == ["b"]


def test_without_another_agent_the_same_one_tries_again() -> None:
    stage = Stage()
    stage.join("a")
    stage.join("other", operations=DIVISION)
    it = stage.submit("1+2")
    stage.answer(stage.only("a"), error="out_of_memory")
    stage.answer(stage.only("a"))
    assert stage.ends[it.id].value == "3"


def test_the_third_failure_fails_the_expression_and_says_of_what() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("(1+2)*3")
    stage.answer(stage.only("a"))
    for _ in range(3):
        assert not stage.ends
        stage.answer(stage.only("a"), error="out_of_memory")
    error = stage.ends[it.id].error
    assert error is not None and error.code == "agents_failed" and error.task == it.name(1)
    assert "3 * 3" in error.message and "out_of_memory" in error.message


def test_the_fifth_loss_fails_the_expression() -> None:
    stage = Stage()
    it = stage.submit("1+2")
    for n in range(5):
        assert not stage.ends
        stage.join(f"a{n}")
        stage.wait(11)
    error = stage.ends[it.id].error
    assert error is not None and error.code == "agents_failed" and "1 + 2" in error.message


def test_losses_of_agents_that_came_back_do_not_count() -> None:
    stage = Stage()
    it = stage.submit("1+2")
    stage.join("a")
    for _ in range(7):
        run = stage.only("a")
        stage.wait(11)
        assert stage.join("a", held=[named(run)]).welcomes[0].keep
    assert it.losses[0] == 0 and not stage.ends


# --- errors that are results ---


def test_division_by_zero_ends_the_expression_when_it_is_durable_and_stops_the_rest() -> None:
    stage = Stage()
    stage.join("a", operations=DIVISION)
    stage.join("b", operations=ADDITION)
    it = stage.submit("1/0 + (2+3)", optimize=False)
    other = stage.only("b")
    commands = stage.answer(stage.only("a"), error="division_by_zero")
    assert [run.value for run in commands.journal] == [None] and not commands.cancels
    error = stage.ends[it.id].error
    assert error is not None and error.code == "division_by_zero" and "1 / 0" in error.message
    commands = stage.store()
    assert commands.cancels == {"b": [named(other)]} and commands.dropped == [it.id]


def test_nothing_of_an_expression_that_ends_is_handed_out() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("(1/0)*3 + (2+3)*(4+5)", optimize=False)
    while it.plan.operations[stage.only("a").task] != 3:
        stage.answer(stage.only("a"))
    stage.answer(stage.only("a"), error="division_by_zero")
    assert not stage.held("a")


def test_too_large_ends_the_expression_and_is_acknowledged_at_its_end() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("(1+2)*3")
    run = stage.only("a")
    commands = stage.answer(run, error="too_large")
    assert not commands.acks and not commands.journal
    error = stage.ends[it.id].error
    assert error is not None and error.code == "too_large"
    assert stage.store().acks == {"a": [named(run)]}


def test_the_values_of_one_expression_are_limited_together() -> None:
    stage = Stage(rules=Rules(values_bytes_max=3))
    stage.join("a", slots=2)
    it = stage.submit("(10*11)*(12*13)")
    for run in list(stage.held("a")):
        stage.answer(run)
    error = stage.ends[it.id].error
    assert error is not None and error.code == "too_large" and "3 bytes" in error.message


# --- cancelling ---


def test_cancelling_stops_what_runs_at_once() -> None:
    stage = Stage()
    stage.join("a", slots=2)
    it = stage.submit("(1+2)*(3+4)")
    runs = list(stage.held("a"))
    commands = stage.cancel(it)
    assert commands.cancels == {"a": [named(run) for run in runs]} and commands.dropped == [it.id]
    assert stage.scheduler.crew.agents["a"].held == 2
    for run in runs:
        assert stage.answer(run, error="cancelled").acks == {"a": [named(run)]}
    assert stage.scheduler.crew.agents["a"].held == 0


def test_a_cancelled_attempt_that_never_went_out_takes_no_slot() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("1+2")
    run = stage.only("a")
    stage.cancel(it)
    other = stage.submit("3+4")
    stage.do(Unsent("a", stage.sessions["a"] + 1, [named(run)]))
    assert other.held == 0, "said of another session"
    stage.do(Unsent("a", stage.sessions["a"], [named(run)]))
    assert stage.computing(other) == ["a"]


def test_rows_of_a_cancelled_expression_harm_nothing() -> None:
    stage = Stage()
    stage.join("a")
    it = stage.submit("(1+2)*3")
    run = stage.only("a")
    stage.answer(run)
    assert stage.cancel(it).acks == {"a": [named(run)]}, "nobody wants it any more"
    stage.do(Stored([run], []))
    assert not stage.scheduler.executions


# --- why nothing runs ---


def test_what_an_expression_waits_for_is_said_in_a_sentence() -> None:
    stage = Stage()
    it = stage.submit("1/2")
    why = stage.scheduler.waiting_for
    assert why(it) == "no agent is connected"
    stage.join("a", operations=ADDITION)
    assert why(it) == "no agent offers division"
    stage.do(Drained("a"))
    assert why(it) == "every connected agent is draining"
    stage.join("b")
    assert why(it) is None
    assert why(stage.submit("3+4", "bob")) == "others are first"
