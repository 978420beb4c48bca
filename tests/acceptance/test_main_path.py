"""An expression goes in, agents in processes of their own compute it, the exact answer comes out."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.processes import Cluster


@pytest.fixture(scope="module", autouse=True)
def two_agents(cluster: Cluster) -> Iterator[None]:
    for name in ("one", "two"):
        cluster.start_agent(name, slots=2)
    yield


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def seconds(began: str, ended: str) -> float:
    return (moment(ended) - moment(began)).total_seconds()


def level(tasks: list[dict[str, Any]], height: int) -> list[dict[str, Any]]:
    """The tasks that stand on `height` others: 0 are those with two numbers as operands."""
    heights: dict[str, int] = {}
    left = list(tasks)
    while left:
        task = left.pop(0)
        below = [operand["task"] for operand in task["operands"] if isinstance(operand, dict)]
        if all(one in heights for one in below):
            heights[task["task"]] = 1 + max((heights[one] for one in below), default=-1)
        else:
            left.append(task)
    return [task for task in tasks if heights[task["task"]] == height]


@pytest.mark.parametrize(
    ("text", "result", "exact"),
    [
        ("2+2*2", "6", None),
        ("0.1 + 0.2", "0.3", None),
        ("1/3*3", "1", None),
        ("16777216 + 1", "16777217", None),
        ("1/0.0000000001", "10000000000", None),
        ("2 - 3/7", "1.57142857142857142857142857143", "11/7"),
        ("--5 × -(1 − 3) ÷ 4", "2.5", None),
        ("7", "7", None),
    ],
)
async def test_a_submitted_expression_is_answered_exactly(
    admin: Client, text: str, result: str, exact: str | None
) -> None:
    await admin.set_all_durations(0)
    ended = await admin.compute(text, within_s=10)
    assert (ended["status"], ended["result"], ended["exact"]) == ("done", result, exact)
    assert ended["tasks"]["done"] == ended["tasks"]["total"]
    assert ended["tasks"]["running"] == 0
    assert ended["error"] is None and ended["waiting_for"] is None
    assert ended["created_at"] <= ended["finished_at"]


async def test_the_parts_of_one_expression_run_on_two_agents_at_the_same_time(admin: Client) -> None:
    await admin.set_all_durations(1000)
    ended = await admin.compute("(1+2)*(3+4)+(5+6)*(7+8)")
    assert ended["result"] == "186"
    took_s = seconds(ended["created_at"], ended["finished_at"])
    assert 3.0 <= took_s < 4.0, f"three levels of one second each took {took_s:.2f} s"
    first = level(await admin.tasks(ended["id"]), 0)
    assert len(first) == 4
    assert {task["agent"]["name"] for task in first} == {"one", "two"}
    assert max(moment(task["started_at"]) for task in first) < min(
        moment(task["finished_at"]) for task in first
    ), "the four sums did not overlap"


async def test_the_tasks_tell_what_became_of_each_part(admin: Client) -> None:
    await admin.set_all_durations(0)
    ended = await admin.compute("(1 + 2) * (3 - 4)")
    tasks = {task["operation"]: task for task in await admin.tasks(ended["id"])}
    assert set(tasks) == {"addition", "subtraction", "multiplication"}
    assert {task["state"] for task in tasks.values()} == {"done"}
    assert (tasks["addition"]["value"], tasks["subtraction"]["value"]) == ("3", "-1")
    assert tasks["multiplication"]["value"] == "-3"
    operands = {operand["task"] for operand in tasks["multiplication"]["operands"]}
    assert operands == {tasks["addition"]["task"], tasks["subtraction"]["task"]}
    assert all(task["agent"]["name"] in ("one", "two") and task["attempt"] for task in tasks.values())


async def test_a_long_expression_as_written_is_a_chain_and_regrouped_is_a_tree(admin: Client) -> None:
    await admin.set_all_durations(100)
    text = "+".join(str(number) for number in range(1, 9))
    regrouped = await admin.compute(text)
    as_written = await admin.compute(text, optimize=False)
    assert regrouped["result"] == as_written["result"] == "36"
    assert 0.3 <= seconds(regrouped["created_at"], regrouped["finished_at"]) < 0.7
    assert 0.7 <= seconds(as_written["created_at"], as_written["finished_at"])


async def test_an_edited_duration_counts_for_tasks_handed_out_from_then_on(admin: Client) -> None:
    await admin.set_all_durations(1000)
    submitted = await admin.submit("((1+2)*3+4)*5", optimize=False)
    await admin.set_durations(multiplication=0, addition=0)
    ended = await admin.final(submitted["id"], within_s=10)
    assert ended["result"] == "65"
    took_s = seconds(ended["created_at"], ended["finished_at"])
    assert took_s < 2.0, f"four tasks of which at most one took a second took {took_s:.2f} s"


async def test_a_division_by_zero_fails_the_expression_when_it_runs(admin: Client) -> None:
    await admin.set_all_durations(0)
    ended = await admin.compute("1 + 5/(3-3)")
    assert ended["status"] == "failed"
    assert ended["error"]["code"] == "division_by_zero"
    assert ended["error"]["message"]
    failed = [task for task in await admin.tasks(ended["id"]) if task["state"] == "failed"]
    assert [task["task"] for task in failed] == [ended["error"]["task"]]


async def test_a_value_that_grows_too_large_fails_the_expression(admin: Client) -> None:
    await admin.set_all_durations(0)
    square = "1e1000"
    for _ in range(10):
        square = f"({square})*({square})"
    ended = await admin.compute(square, within_s=60)
    assert ended["status"] == "failed"
    assert ended["error"]["code"] == "too_large"


async def test_a_value_of_nearly_a_million_digits_is_done(admin: Client) -> None:
    await admin.set_all_durations(0)
    text = "*".join(["1e999"] * 900)
    ended = await admin.compute(text, within_s=60)
    assert ended["status"] == "done"
    assert ended["result"] == "1" + "0" * (999 * 900)


async def test_somebody_s_sum_is_not_delayed_by_a_million_operands_of_another(
    cluster: Cluster, admin: Client
) -> None:
    await admin.set_all_durations(0)
    _, secret = await admin.make_token("somebody", "user")
    text = "+".join(str(number) for number in range(1, 1_000_001))
    large = await admin.submit(text)
    assert large["tasks"]["total"] == 999_999
    took: list[float] = []
    async with Client(cluster.url, secret) as somebody:
        for number in range(5):
            ended = await somebody.compute(f"{number}+2", within_s=10)
            assert ended["result"] == str(number + 2)
            took.append(seconds(ended["created_at"], ended["finished_at"]))
        assert (await admin.show(large["id"], full="false"))["status"] == "running"
    assert max(took) < 5.0, took
    await admin.ask("DELETE", f"/expressions/{large['id']}")


async def test_cancelling_stops_what_runs_and_frees_the_slots(admin: Client) -> None:
    await admin.set_all_durations(600_000)
    submitted = await admin.submit("(1+2)*(3+4)+(5+6)*(7+8)")

    async def count() -> int:
        return len(await admin.running(submitted["id"]))

    from tests.support.waiting import until

    async def all_run() -> bool:
        return await count() == 4

    await until(all_run)
    cancelled = await admin.ask("DELETE", f"/expressions/{submitted['id']}")
    assert cancelled["status"] == "cancelled"
    await admin.set_all_durations(0)
    ended = await admin.compute("20+22", within_s=5)
    assert ended["result"] == "42"
    again = await admin.ask("DELETE", f"/expressions/{submitted['id']}")
    assert again["status"] == "cancelled"
    problem = await admin.problem("DELETE", f"/expressions/{ended['id']}", status=409)
    assert problem["type"] == "/problems/conflict"
