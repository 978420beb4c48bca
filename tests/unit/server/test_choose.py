"""Which waiting expressions a leader loads."""

from uuid import UUID

from curta_server.store.terms import Waiting, choose


def waiting(number: int, owner: str, tasks: int = 1) -> Waiting:
    return Waiting(UUID(int=number), owner, tasks)


def chosen(
    ran: list[Waiting], queued: list[Waiting], *, tasks: int = 100, expressions: int = 100, **loaded: int
) -> list[int]:
    return [id.int for id in choose(ran, queued, tasks, expressions, loaded)]


def test_what_ran_comes_first_in_order() -> None:
    assert chosen([waiting(8, "a"), waiting(9, "b")], [waiting(1, "a")]) == [8, 9, 1]


def test_users_take_turns_by_the_tasks_they_have_loaded() -> None:
    queued = [
        waiting(1, "a", 5),
        waiting(2, "a", 5),
        waiting(3, "b", 2),
        waiting(4, "b", 2),
        waiting(5, "b", 2),
    ]
    assert chosen([], queued) == [1, 3, 4, 5, 2]


def test_a_user_with_a_full_memory_yields_to_one_with_none() -> None:
    assert chosen([], [waiting(1, "a"), waiting(2, "b")], expressions=1, a=50) == [2]


def test_neither_budget_is_exceeded() -> None:
    queued = [waiting(i, "a", 30) for i in range(1, 6)]
    assert chosen([], queued, tasks=100) == [1, 2, 3]
    assert chosen([], queued, tasks=1000, expressions=2) == [1, 2]


def test_one_is_taken_whatever_its_size_where_nothing_is_loaded() -> None:
    assert chosen([], [waiting(1, "a", 500), waiting(2, "a", 1)]) == [1]
    assert chosen([], [waiting(1, "a", 500)], b=1) == []


def test_while_one_waits_for_room_small_ones_of_others_pass_but_nobody_exceeds_half() -> None:
    queued = [waiting(1, "big", 80), waiting(2, "small", 1), waiting(3, "full", 10)]
    assert chosen([], queued, tasks=40, full=60) == [2]


def test_a_later_expression_of_the_same_user_does_not_overtake_one_that_waits_for_room() -> None:
    assert chosen([], [waiting(1, "a", 80), waiting(2, "a", 1)], tasks=40, b=60) == []


def test_the_reserve_is_for_users_who_have_nothing_loaded_one_expression_each() -> None:
    queued = [waiting(1, "rich"), waiting(2, "rich"), waiting(3, "late"), waiting(4, "late")]
    loaded = {"rich": 90}
    found = choose([], queued, 10, 10, loaded, reserved_tasks=10)
    assert [id.int for id in found] == [3]
    found = choose([], queued, 100, 3, loaded, reserved_expressions=1)
    assert [id.int for id in found] == [3, 4]


def test_nobody_reserves_anything_against_an_empty_memory() -> None:
    queued = [waiting(1, "a", 500), waiting(2, "b", 1)]
    found = choose([], queued, 100, 100, {}, reserved_tasks=10, reserved_expressions=10)
    assert [id.int for id in found] == [1]
