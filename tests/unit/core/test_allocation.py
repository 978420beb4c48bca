"""Who gets the next free slot: which user, which expression, which task, which agent."""

import itertools
from collections import Counter

import pytest
from tests.support.stage import ADDITION, DIVISION, EVERYTHING, MULTIPLICATION, Stage

from curta_server.core.events import Blocked, Drained, DurationSet
from curta_server.core.execution import Execution

WIDE = "+".join(f"({n}*{n + 1})" for n in range(1, 200))
"""Far more ready tasks than slots."""


def of(text: str, low: int) -> str:
    """A wide sum with literals of its own."""
    return "+".join(f"({n}{text}{n + 1})" for n in range(low, low + 200))


def test_a_small_expression_is_not_delayed_by_another_users_large_one() -> None:
    stage = Stage()
    stage.join("a", slots=4)
    stage.submit(WIDE, "ann")
    small = stage.submit("2+2", "bob")
    assert small.held == 0, "all slots are taken"
    stage.answer(stage.held("a")[0])
    assert stage.computing(small) == ["a"], "the next free slot is bob's"


def taking_turns(stage: Stage, agent: str, steps: int) -> list[Execution]:
    """Whose tasks the agent is handed while it answers one after the other, the oldest first."""
    turns = []
    for _ in range(steps):
        stage.answer(stage.held(agent)[0])
        turns.append(stage.held(agent)[-1].execution)
    return turns


def test_a_single_slot_goes_round_among_users() -> None:
    stage = Stage()
    stage.join("a", slots=1)
    large = stage.submit(WIDE, "ann")
    other, small = stage.submit(of("/", 900), "bob"), stage.submit("2-2", "cid")
    assert taking_turns(stage, "a", 6) == [other, small, large, other, large, other]


def test_a_single_slot_goes_round_among_the_expressions_of_one_user() -> None:
    stage = Stage()
    stage.join("a", slots=1)
    large, other, small = stage.submit(WIDE), stage.submit(of("/", 900)), stage.submit("2-2")
    assert taking_turns(stage, "a", 6) == [other, small, large, other, large, other]


@pytest.mark.parametrize("operations", list(itertools.product("*/-", repeat=2)))
def test_whoever_waits_has_a_slot_before_anybody_has_another_one(operations: tuple[str, str]) -> None:
    """As many slots as others: each of them gives one back and would take it again at once. No operation
    comes before another one."""
    theirs, hers = operations
    stage = Stage()
    stage.join("a", slots=4)
    others = [stage.submit(of(theirs, 1000 * n), f"user {n}") for n in range(1, 5)]
    it = stage.submit(of(hers, 9000), "ann")
    assert [one.held for one in others] == [4, 0, 0, 0], "the first one was alone"
    turns = taking_turns(stage, "a", 40)[8:]
    assert all(turns[step : step + 5].count(it) == 1 for step in range(0, 30, 5)), "one in five"


def test_a_stream_of_newcomers_keeps_nobody_waiting() -> None:
    stage = Stage()
    stage.join("a", slots=1)
    stage.submit(of("*", 1), "ann")
    old = stage.submit(of("*", 300), "ann")
    turns = []
    for n in range(40):
        stage.submit(f"{n}+{n + 1}", "ann")
        stage.answer(stage.held("a")[0])
        turns.append(stage.held("a")[0].execution)
    assert turns.count(old) >= 3


def test_users_share_the_slots_evenly_however_much_they_submit() -> None:
    stage = Stage()
    for low in (1, 300, 600):
        stage.submit(of("*", low), "ann")
    stage.submit(of("*", 900), "bob")
    stage.join("a", slots=10)
    assert Counter(run.execution.user.name for run in stage.held("a")) == {"ann": 5, "bob": 5}


def test_the_expressions_of_one_user_share_her_slots_evenly() -> None:
    stage = Stage()
    first, second = stage.submit(of("*", 1)), stage.submit(of("*", 300))
    stage.join("a", slots=10)
    assert (first.held, second.held) == (5, 5)


def test_a_user_whose_other_expression_ended_counts_with_what_is_left() -> None:
    """What a user holds shrinks when something of hers ends that has nothing ready any more."""
    stage = Stage()
    stage.join("a", slots=12)
    narrow = stage.submit("*".join(f"({n}/{n + 1})" for n in range(2, 18, 2)), "ann", optimize=False)
    stage.submit(of("*", 1), "bob")
    assert Counter(run.execution.user.name for run in stage.held("a")) == {"ann": 8, "bob": 4}
    waiting = stage.submit(of("*", 300), "ann")
    stage.cancel(narrow)
    stage.join("b", slots=4)
    assert waiting.held == 4, "ann computes nothing now, so she comes first until both have four"


def test_the_longest_remaining_path_comes_first() -> None:
    stage = Stage(durations_ms=(1000, 1000, 2000, 2000))
    it = stage.submit("(1+2)*3*4*5*6 + (7+8)", optimize=False)
    stage.join("a", slots=1)
    assert stage.only("a").task == 0
    assert it.plan.literal(it.plan.left[0]) == "1", "what the long chain needs, not what the last sum needs"


def test_the_parts_of_one_expression_run_on_different_machines() -> None:
    stage = Stage()
    for agent in "abcd":
        stage.join(agent, slots=4)
    it = stage.submit("(1+2)*(3+4)+(5+6)*(7+8)")
    assert stage.computing(it) == ["a", "b", "c", "d"]


def test_the_agent_that_holds_least_gets_the_next_task() -> None:
    stage = Stage()
    stage.join("a", slots=8)
    stage.submit("(1+2)*(3+4)")
    stage.join("b", slots=8)
    it = stage.submit("5+6")
    assert stage.computing(it) == ["b"]


def test_no_agent_gets_more_than_its_slots() -> None:
    stage = Stage()
    stage.submit(WIDE)
    for agent, slots in (("a", 1), ("b", 3), ("c", 7)):
        stage.join(agent, slots)
        assert len(stage.held(agent)) == slots


def test_an_agent_gets_only_the_operations_it_offers() -> None:
    stage = Stage()
    stage.join("a", 8, DIVISION)
    stage.join("m", 8, MULTIPLICATION)
    stage.submit("(1+2)*(3+4)*(5/6)/(7*8)", optimize=False)
    assert {run.execution.plan.operations[run.task] for run in stage.held("a")} == {3}
    assert {run.execution.plan.operations[run.task] for run in stage.held("m")} == {2}


def test_a_less_urgent_task_runs_where_the_most_urgent_one_has_no_agent() -> None:
    stage = Stage()
    stage.join("a", 1, ADDITION)
    it = stage.submit("(1/2)*3*4*5 + (6+7)", optimize=False)
    assert stage.computing(it) == ["a"]


def test_freed_slots_are_filled_in_the_same_turn() -> None:
    stage = Stage()
    stage.join("a", slots=2)
    stage.submit(WIDE)
    commands = stage.answer(stage.held("a")[0])
    assert len(commands.pushes["a"]) == 1


def test_nothing_is_handed_out_while_too_many_results_wait_for_their_commit() -> None:
    stage = Stage()
    it = stage.submit(WIDE)
    stage.do(Blocked(True))
    stage.join("a", slots=2)
    assert stage.held("a") == []
    assert stage.scheduler.waiting_for(it) == "results wait to be stored"
    stage.do(Blocked(False))
    assert len(stage.held("a")) == 2


def test_a_draining_agent_finishes_what_it_has_and_gets_nothing_more() -> None:
    stage = Stage()
    stage.join("a", slots=2)
    stage.submit(WIDE)
    assert stage.do(Drained("a")).drains == ["a"]
    for run in list(stage.held("a")):
        assert not stage.answer(run).pushes
    assert stage.held("a") == []
    assert stage.join("a", slots=2, draining=True).drains == ["a"], "also when it comes back"
    assert stage.held("a") == []


def test_a_pulling_agent_gets_what_it_asks_for_and_no_more() -> None:
    stage = Stage()
    stage.submit(WIDE)
    stage.join("p", slots=3, operations=EVERYTHING, pulls=True)
    assert stage.held("p") == [], "to connect is not to ask"
    stage.ask("p", 2)
    assert len(stage.held("p")) == 2
    stage.answer(stage.held("p")[0])
    assert len(stage.held("p")) == 1, "a result is no request"
    stage.ask("p", 0)
    stage.answer(stage.only("p"))
    assert stage.held("p") == []


def test_durations_count_for_what_is_handed_out_from_then_on() -> None:
    stage = Stage()
    stage.join("a", slots=1)
    stage.submit("(1+2)+3", optimize=False)
    stage.do(DurationSet(0, 7))
    assert stage.only("a").duration_ms == 1000
    stage.answer(stage.only("a"))
    assert stage.only("a").duration_ms == 7
