"""One expression as it runs: what is ready, what is needed, what is kept."""

from curta_server.core.execution import COMMITTED, DONE, READY, RUNNING, UNNEEDED, WAITING, Execution
from curta_server.core.expression import parse
from curta_server.core.plan import build

DURATIONS = (1000, 1000, 2000, 2000)


def execution(text: str, *, recovered: bool = False, optimize: bool = False) -> Execution:
    plan = build(parse(text), DURATIONS, optimize=optimize)
    return Execution("x", plan, DURATIONS, recovered=recovered)


def settle(it: Execution, task: int, value: str = "1") -> list[int]:
    it.state[task] = RUNNING
    return it.settle(task, value)


def test_a_fresh_expression_begins_with_all_tasks_that_need_no_other() -> None:
    it = execution("(1+2)*(3+4)+(5+6)")
    ready, more = it.advance(100)
    assert not more
    assert sorted(ready) == [task for task in range(len(it.plan)) if not it.pending[task]]
    assert len(ready) == 3


def test_the_start_of_a_large_expression_goes_in_slices() -> None:
    it = execution("+".join(f"({n}*{n + 1})" for n in range(100)))
    found: list[int] = []
    more, slices = True, 0
    while more:
        ready, more = it.advance(7)
        assert len(ready) <= 7
        found += ready
        slices += 1
    assert len(found) == len(set(found)) == 100 and slices >= 14


def test_a_value_releases_those_that_waited_for_it_alone() -> None:
    it = execution("(1+2)*(3+4)")
    it.advance(10)
    assert settle(it, 0) == []
    assert settle(it, 1) == [2]


def test_a_task_used_for_both_operands_releases_its_user_once() -> None:
    it = execution("(1+2)*(1+2)", optimize=True)
    assert len(it.plan) == 2
    it.advance(10)
    assert settle(it, 0, "3") == [1]


def test_a_value_is_freed_once_all_its_users_are_committed() -> None:
    it = execution("((1+2)*5)+((1+2)*7)", optimize=True)
    shared = next(k for k in range(len(it.plan)) if it.plan.users_at[k + 1] - it.plan.users_at[k] == 2)
    users = list(it.plan.users[it.plan.users_at[shared] : it.plan.users_at[shared + 1]])
    it.advance(10)
    for task in [shared, *users]:
        settle(it, task, "3")
    it.commit(shared)
    it.commit(users[0])
    assert it.values[shared] == "3"
    it.commit(users[1])
    assert it.values[shared] is None


def test_a_value_used_twice_by_one_task_is_freed_with_that_task() -> None:
    it = execution("(1+2)*(1+2)", optimize=True)
    it.advance(10)
    settle(it, 0, "3")
    settle(it, 1, "9")
    it.commit(0)
    assert it.values[0] == "3"
    it.commit(1)
    assert it.values == [None, "9"]


def test_the_roots_value_is_kept() -> None:
    it = execution("1+2")
    it.advance(1)
    settle(it, 0, "3")
    it.commit(0)
    assert it.values == ["3"] and it.state[0] == COMMITTED


def test_after_a_recovery_only_what_the_root_needs_is_asked_for() -> None:
    it = execution("((1+2)+3)*(4+5)", recovered=True)
    first, second, other = 0, 1, 2
    assert list(it.plan.operations) == [0, 0, 0, 2]
    left = {of >> 1 for of in (it.plan.left[3], it.plan.right[3])}
    assert left == {second, other}
    it.fold([(second, "6")])
    ready, more = it.advance(100)
    assert (ready, more) == ([other], False)
    assert it.state[first] == UNNEEDED, "its only user has its row already"


def test_rows_may_be_folded_in_any_order() -> None:
    rows: list[tuple[int, str | None]] = [(0, "3"), (1, "6"), (2, "9")]
    for order in (rows, rows[::-1], [rows[1], rows[2], rows[0]]):
        it = execution("((1+2)+3)*(4+5)", recovered=True)
        it.fold(order)
        assert it.values == [None, "6", "9", None] and it.committed == 3
        assert it.advance(100) == ([3], False)


def test_a_recovery_does_not_find_what_an_agent_held_on_to() -> None:
    it = execution("(1+2)*(3+4)", recovered=True)
    it.state[2] = RUNNING
    assert it.advance(100) == ([], False)
    assert it.state[0] == it.state[1] == UNNEEDED


def test_what_a_task_needs_is_asked_for_when_its_agent_is_gone() -> None:
    it = execution("(1+2)*(3+4)", recovered=True)
    it.state[2] = RUNNING
    it.advance(100)
    ready, is_more = it.reopen(2, 100)
    assert (sorted(ready), is_more) == ([0, 1], False)
    assert it.state[2] == WAITING and it.pending[2] == 2
    settle(it, 0)
    assert settle(it, 1) == [2] and it.state[2] == READY


def test_a_task_that_is_done_is_not_opened_again() -> None:
    it = execution("1+2")
    it.advance(1)
    settle(it, 0)
    assert it.state[0] == DONE and it.reopen(0, 1) == ([], False)


def test_the_most_urgent_ready_task_comes_first() -> None:
    it = execution("(1+2)+(3+4)+((5+6)+(7+8)+(9+10))")
    ready, _ = it.advance(100)
    for task in reversed(ready):
        it.queue([task])
    order = []
    while (first := it.first_ready(0)) is not None:
        order.append(it.take(0))
        it.state[first] = RUNNING
    assert order == sorted(ready)


def test_what_was_queued_twice_is_taken_once() -> None:
    """An agent came back with a task that was ready again, and was lost once more."""
    it = execution("(1+2)*(3+4)")
    ready, _ = it.advance(100)
    it.queue(ready)
    it.queue(ready[:1])
    operation = it.plan.operations[ready[0]]
    assert it.take_run([operation], 0b1111, 10) == sorted(ready)
    assert it.take_run([operation], 0b1111, 10) == []


def test_attempts_are_numbered_within_the_epoch() -> None:
    it = execution("1+2")
    assert it.next_attempt(0, 5) == 5 * 2**20 + 1
    it.count_attempt(0, 5 * 2**20 + 1, 5)
    assert it.next_attempt(0, 5) == 5 * 2**20 + 2
    it.count_attempt(0, 4 * 2**20 + 77, 5)
    assert it.next_attempt(0, 5) == 5 * 2**20 + 2, "an earlier epoch's number does not count"


def test_the_remaining_work_shrinks_with_each_row() -> None:
    it = execution("(1+2)*(3+4)")
    assert it.remaining_ms() == 4000
    it.advance(10)
    settle(it, 0)
    assert it.remaining_ms() == 4000, "not durable yet"
    it.commit(0)
    assert it.remaining_ms() == 3000
