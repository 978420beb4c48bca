"""`GET /expressions/{id}/tasks`: what of a plan is shown, and in which state."""

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from tests.support.fakes import NOW
from tests.support.rest import Rest

from curta_server import store
from curta_server.api import plan_figures, plan_walk
from curta_server.core.expression import parse
from curta_server.core.plan import Plan, build, summarize
from curta_server.views import TaskState

AGENT = UUID("01900000-0000-7000-8000-00000000000a")


def _plan(text: str, *, optimize: bool = False) -> Plan:
    return build(parse(text), (1000, 1000, 2000, 2000), optimize=optimize)


def _row(task: int, value: str | None, name: str | None = "box") -> store.JournalRow:
    return store.JournalRow(task, value, AGENT, name, 7, NOW, NOW + timedelta(seconds=1))


async def _tasks(rest: Rest, id: str, query: str = "") -> dict[str, Any]:
    answer = await rest.ask("GET", f"/expressions/{id}/tasks?{query}")
    assert answer.status == 200, answer.data
    assert answer.body is not None
    return cast("dict[str, Any]", answer.body)


def _states(body: dict[str, Any]) -> dict[str, str]:
    return {item["task"].rpartition(".")[2]: item["state"] for item in body["items"]}


async def test_a_waiting_plan_is_shown_from_its_root(rest: Rest) -> None:
    id = (await rest.submit("-(1.5-2)*-(0003+4)"))["id"]
    body = await _tasks(rest, id)
    product, *sums = body["items"]
    assert body["root"] == {"task": f"{id}.2", "negated": False}
    assert (product["task"], product["operation"], product["state"]) == (
        f"{id}.2",
        "multiplication",
        "waiting",
    )
    assert [operand["negated"] for operand in product["operands"]] == [True, True]
    assert {tuple(item["operands"]): item["state"] for item in sums} == {
        ("3/2", "2"): "ready",
        ("3", "4"): "ready",
    }
    assert all(item[name] is None for item in body["items"] for name in ("value", "agent", "attempt"))
    assert all(item["below"] == 0 for item in body["items"])


async def test_a_negated_literal_shows_its_sign(rest: Rest) -> None:
    id = (await rest.submit("-2*--3"))["id"]
    assert (await _tasks(rest, id))["items"][0]["operands"] == ["-2", "3"]


async def test_a_bare_number_has_no_tasks(rest: Rest) -> None:
    id = (await rest.submit("-5"))["id"]
    assert await _tasks(rest, id) == {"root": "-5", "items": []}


async def test_rows_of_the_journal_show_who_computed_what_and_when(rest: Rest) -> None:
    id = (await rest.submit("(1+2)*(3+4)"))["id"]
    rest.table.journal[UUID(id)] = [_row(0, "3"), _row(1, "7" * 300, None)]
    body = await _tasks(rest, id)
    by_task = {item["task"]: item for item in body["items"]}
    assert _states(body) == {"0": "done", "1": "done", "2": "ready"}
    done = by_task[f"{id}.0"]
    assert (done["value"], done["agent"], done["attempt"]) == ("3", {"id": str(AGENT), "name": "box"}, 7)
    assert (done["started_at"], done["finished_at"]) == (
        "2030-01-02T03:04:05.678901Z", "2030-01-02T03:04:06.678901Z",
    )  # fmt: skip
    long = by_task[f"{id}.1"]
    assert (long["value"], long["truncated"]) == ("7" * 200, ["value"])


async def test_what_the_leader_holds_in_memory_counts(rest: Rest) -> None:
    id = (await rest.submit("(1+2)*(3+4)"))["id"]
    rest.table.journal[UUID(id)] = [_row(0, "3")]
    us = 1_900_000_000_000_000
    rest.dispatcher.plans[id] = _plan("(1+2)*(3+4)")
    rest.table.plans.clear()
    rest.dispatcher.states[id] = {
        0: TaskState("done"),
        1: TaskState("running", 9, str(AGENT), "box", us),
        2: TaskState("waiting"),
    }
    body = await _tasks(rest, id)
    assert _states(body) == {"0": "done", "1": "running", "2": "waiting"}
    running = next(item for item in body["items"] if item["state"] == "running")
    assert (running["attempt"], running["agent"]["name"]) == (9, "box")
    assert running["started_at"] == "2030-03-17T17:46:40Z"


async def test_a_done_expression_keeps_its_states_when_the_journal_is_pruned(rest: Rest) -> None:
    id = (await rest.submit("(1+2)*(3+4)"))["id"]
    rest.table.change(id, status="done", finished_at=NOW, result="21", tasks_done=3)
    body = await _tasks(rest, id)
    assert set(_states(body).values()) == {"done"}
    assert all(item["value"] is None for item in body["items"])


async def test_a_failed_expression_shows_what_failed_and_what_was_given_up(rest: Rest) -> None:
    id = (await rest.submit("(1/(2-2))*(3+4)"))["id"]
    plan = Plan.decode(rest.table.plans[UUID(id)][1], "(1/(2-2))*(3+4)")
    division = plan.operations.index(3)
    subtraction = plan.operations.index(1)
    rest.table.journal[UUID(id)] = [_row(division, None), _row(subtraction, "0")]
    rest.table.change(
        id, status="failed", finished_at=NOW, error_code="division_by_zero", error_message="m",
        error_task=f"{id}.{division}",
    )  # fmt: skip
    expected = {"failed": 1, "done": 1, "cancelled": 2}
    body = await _tasks(rest, id)
    states = list(_states(body).values())
    assert {state: states.count(state) for state in set(states)} == expected
    rest.table.journal.clear()  # pruned
    states = list(_states(await _tasks(rest, id)).values())
    assert {state: states.count(state) for state in set(states)} == expected


async def test_only_the_name_of_a_task_as_it_is_given_opens_it(rest: Rest) -> None:
    id = (await rest.submit("(1+2)*(3+4)"))["id"]
    assert (await rest.ask("GET", f"/expressions/{id}/tasks?root={id}.0")).status == 200
    for name in ("00", "01", "000000000", "9", "9999999999"):
        answer = await rest.ask("GET", f"/expressions/{id}/tasks?root={id}.{name}")
        assert (answer.status, answer.code) == (404, "not_found"), name


async def test_a_subtree_is_opened_by_root_and_cut_by_depth(rest: Rest) -> None:
    answer = await rest.ask("POST", "/expressions?optimize=false", data="1+2+3+4+5")
    assert answer.body is not None
    id = answer.body["id"]
    body = await _tasks(rest, id, "depth=1")
    assert [(item["task"], item["below"]) for item in body["items"]] == [(f"{id}.3", 0), (f"{id}.2", 2)]
    body = await _tasks(rest, id, f"root={id}.2&depth=0")
    assert body["root"] == {"task": f"{id}.2", "negated": False}
    assert [(item["task"], item["below"]) for item in body["items"]] == [(f"{id}.2", 2)]
    body = await _tasks(rest, id, f"root={id}.0")
    assert [(item["task"], item["below"]) for item in body["items"]] == [(f"{id}.0", 0)]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("root=x", 400), ("root=", 400), ("root={id}", 400), ("root={id}.x", 400), ("root={id}.1", 404),
        ("root={id}.99999999999999999999", 404), ("root={id}.-1", 400), ("root={id}.²", 400),
        ("root=01900000-0000-7000-8000-000000000000.0", 404), ("depth=-1", 422), ("depth=x", 400),
    ],
)  # fmt: skip
async def test_a_root_that_is_not_there_is_refused(rest: Rest, query: str, status: int) -> None:
    id = (await rest.submit("1+2"))["id"]
    query = query.replace("{id}", id).replace("²", "%C2%B2")
    assert (await rest.ask("GET", f"/expressions/{id}/tasks?{query}")).status == status


# --- the walk ---------------------------------------------------------------------------------------------


def test_the_walk_is_breadth_first_and_names_a_shared_task_once() -> None:
    plan = _plan("(1+2)*(1+2)+(1+2)/3", optimize=True)
    shown = plan_walk.shown(plan, len(plan) - 1, None)
    assert sorted(shown) == list(range(len(plan)))
    assert shown[-1] == plan.operations.index(0)


async def test_a_wide_plan_is_cut_at_2000_and_the_rest_is_counted() -> None:
    plan = _plan("+".join(map(str, range(6000))), optimize=True)
    shown = plan_walk.shown(plan, len(plan) - 1, None)
    assert len(shown) == 2000
    counts = await plan_walk.counts_below(plan, shown)
    assert sum(count or 0 for count in counts.values()) == len(plan) - 2000


async def test_a_deep_plan_is_counted_to_10000_only() -> None:
    plan = _plan("+".join(map(str, range(20_000))))
    assert await plan_walk.counts_below(plan, [len(plan) - 1]) == {len(plan) - 1: 10_000}


async def test_counting_gives_up_where_it_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_walk, "STEPS_MAX", 10)
    plan = _plan("+".join(map(str, range(64))), optimize=True)
    counts = await plan_walk.counts_below(plan, plan_walk.shown(plan, len(plan) - 1, 2))
    assert sorted(counts.values(), key=str) == [14, None, None, None]


def test_a_task_whose_user_is_done_is_over_also_without_a_row() -> None:
    plan = _plan("1+2+3+4")
    rows = {1: _row(1, "6")}
    states = plan_walk.fold(plan_walk.excerpt(plan, [2, 1, 0]), rows, {}, status="running", failed=None)
    assert states == {2: "ready", 1: "done", 0: "done"}
    assert plan_walk.fold(plan_walk.excerpt(plan, [0]), rows, {}, status="running", failed=None) == {
        0: "done"
    }


def test_a_result_that_is_not_durable_is_not_told() -> None:
    plan = _plan("1+2")
    assert plan_walk.fold(plan_walk.excerpt(plan, [0]), {}, {0: "done"}, status="running", failed=None) == {
        0: "running"
    }


async def test_a_window_begins_above_a_task_at_what_needs_it(rest: Rest) -> None:
    id = (await rest.submit("((1+2)*3-4)/5"))["id"]
    for above, root in ((0, 0), (1, 1), (2, 2), (64, 3)):
        body = await _tasks(rest, id, f"root={id}.0&above={above}")
        assert body["root"] == {"task": f"{id}.{root}", "negated": False}
        assert body["items"][0]["task"] == f"{id}.{root}"
    assert (await rest.ask("GET", f"/expressions/{id}/tasks?above=65")).code == "unprocessable"


async def _figures(rest: Rest, id: str) -> dict[str, Any]:
    answer = await rest.ask("GET", f"/expressions/{id}/plan")
    assert answer.status == 200, answer.data
    return cast("dict[str, Any]", answer.body)


async def test_a_plans_figures_are_those_of_the_durations_now_and_of_what_it_took(rest: Rest) -> None:
    id = (await rest.submit("(1+2)*(3+4)"))["id"]
    planned = {"tasks": 3, "sequential_ms": 4000, "critical_path_ms": 3000}
    assert await _figures(rest, id) == {**planned, "computed_ms": None}
    rest.table.journal[UUID(id)] = [_row(0, "3"), _row(1, "7"), _row(2, "21")]
    rest.table.change(id, status="done", finished_at=NOW, result="21", tasks_done=3)
    await rest.ask("PUT", "/operations/addition", json={"duration_ms": 5000})
    planned |= {"sequential_ms": 12000, "critical_path_ms": 7000}
    assert await _figures(rest, id) == {**planned, "computed_ms": 3000}


async def test_a_pruned_journal_does_not_say_what_a_plan_took(rest: Rest) -> None:
    id = (await rest.submit("(1+2)*(3+4)"))["id"]
    rest.table.change(id, status="done", finished_at=NOW, result="21", tasks_done=3)
    assert (await _figures(rest, id))["computed_ms"] is None


async def test_the_figures_of_a_long_plan_are_those_that_planning_says(rest: Rest) -> None:
    text = "+".join(f"{n}*{n + 1}" for n in range(3 * plan_figures.STEP))
    plan, durations = _plan(text, optimize=True), (3, 5, 7, 11)
    summary = summarize(parse(text), plan, durations)
    assert await plan_figures.costs(plan, durations) == (summary.sequential_ms, summary.critical_path_ms)


async def test_only_who_may_see_an_expression_sees_what_it_costs(rest: Rest) -> None:
    id = (await rest.submit("1+2"))["id"]
    assert (await rest.ask("GET", f"/expressions/{id}/plan", by="bert-user")).code == "not_found"
    assert (await rest.ask("GET", f"/expressions/{UUID(int=1)}/plan")).code == "not_found"
