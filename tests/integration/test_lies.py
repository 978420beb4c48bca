"""Agents that say what is not so: nobody else is affected, and what they held is computed all the same."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator

import pytest

from tests.integration.orchestrators import Orchestrator, orchestrator
from tests.support.foreign import ForeignAgent, Frame, named
from tests.support.waiting import until

FAR_EPOCH = 2**52
GHOST = str(uuid.uuid4())


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Orchestrator]:
    async with orchestrator(
        database_url, heartbeat_s=0.2, idle_heartbeat_s=0.5, lease_s=5.0, grace_s=0.3, recovery_quiet_s=0.3
    ) as running:
        yield running


def lies_about(task: Frame) -> dict[str, list[Frame]]:
    """Results that must change nothing, by what is wrong with them; the task is in another agent's hands."""
    name, attempt = task["task"], task["attempt"]
    expression = name.partition(".")[0]
    return {
        "an attempt of somebody else": [{"task": name, "attempt": attempt, "value": "666"}],
        "an attempt that comes next": [{"task": name, "attempt": attempt + 1, "value": "666"}],
        "an attempt of a future epoch": [{"task": name, "attempt": FAR_EPOCH, "value": "666"}],
        "an attempt of no epoch": [{"task": name, "attempt": 1, "value": "666"}],
        "a task beyond the plan": [{"task": f"{expression}.999999", "attempt": attempt, "value": "666"}],
        "a task with a large number": [{"task": f"{expression}.{10**30}", "attempt": attempt, "value": "6"}],
        "a negative task": [{"task": f"{expression}.-1", "attempt": attempt, "value": "666"}],
        "a task that is none": [{"task": "no such thing", "attempt": attempt, "value": "666"}],
        "an empty task": [{"task": "", "attempt": 0, "value": "666"}],
        "an unknown expression": [{"task": f"{GHOST}.0", "attempt": attempt, "value": "666"}],
        "an unknown expression's earlier attempt": [{"task": f"{GHOST}.0", "attempt": 7, "value": "666"}],
        "a failure of somebody else": [{"task": name, "attempt": attempt, "error": {"code": "broken"}}] * 5,
        "a division by zero of somebody else": [
            {"task": name, "attempt": attempt, "error": {"code": "division_by_zero"}}
        ],
        "no number": [{"task": name, "attempt": attempt, "value": "six"}],
        "texts that cannot be stored": [
            {"task": name, "attempt": attempt, "error": {"code": "\0", "message": "\0" * 1000}}
        ],
    }


@pytest.mark.parametrize("lie", lies_about({"task": "", "attempt": 0}))
async def test_results_of_what_an_agent_was_not_handed_change_nothing(server: Orchestrator, lie: str) -> None:
    async with server.agent(name="honest") as honest, server.agent(name="liar") as liar:
        await honest.join()
        id = (await server.admin.submit("20+22"))["id"]
        (task,) = await honest.tasks(1)
        await liar.join()
        results = lies_about(task)[lie]
        for _ in range(2):
            await liar.send("results", results=results)
        await liar.beat()
        await liar.expect("ack")
        shown = await server.admin.show(id)
        assert (shown["status"], shown["tasks"]) == ("running", {"total": 1, "done": 0, "running": 1})
        await honest.answer(task)
        assert (await server.admin.final(id))["result"] == "42"
        await liar.beat()
        await liar.expect("ack")


async def test_attempts_that_an_agent_only_says_it_holds_are_cancelled_and_take_nothing_from_anybody(
    server: Orchestrator,
) -> None:
    async with server.agent(name="honest") as honest, server.agent(name="liar") as liar:
        await honest.join()
        id = (await server.admin.submit("20+22"))["id"]
        (task,) = await honest.tasks(1)
        invented = [
            named(task),
            {"task": task["task"], "attempt": FAR_EPOCH},
            {"task": f"{GHOST}.0", "attempt": task["attempt"]},
            {"task": f"{GHOST}.0", "attempt": 1},
            {"task": "", "attempt": 0},
        ]
        welcome = await liar.join(held=invented)
        assert named(task) in welcome["drop"] and welcome["keep"] == []
        cancelled: list[Frame] = []

        async def all_are_cancelled() -> bool:
            await liar.beat(invented, seen=10**9)
            frame = await liar.receive()
            if frame["type"] == "cancel":
                cancelled.extend(frame["tasks"])
            return all(one in cancelled for one in invented)

        await until(all_are_cancelled)
        await honest.beat([task])
        await honest.answer(task)
        assert (await server.admin.final(id))["result"] == "42"


async def test_an_agent_that_has_seen_every_frame_before_it_was_sent_hurts_itself_alone(
    server: Orchestrator,
) -> None:
    async with server.agent(name="liar") as liar, server.agent(name="honest") as honest:
        await liar.join()
        await liar.beat([], seen=10**9)
        id = (await server.admin.submit("20+22"))["id"]
        await liar.tasks(1)
        await honest.join()
        await liar.beat([], seen=10**9)
        (task,) = await honest.tasks(1)
        await honest.answer(task)
        assert (await server.admin.final(id))["result"] == "42"


async def test_a_task_of_an_operation_that_an_agent_cannot_do_goes_elsewhere(server: Orchestrator) -> None:
    """It offered everything, and has no multiplication."""
    async with server.agent(name="boaster") as boaster, server.agent(name="able") as able:
        await boaster.join()
        id = (await server.admin.submit("6*7"))["id"]
        (task,) = await boaster.tasks(1)
        await able.join()
        await boaster.answer(task, error="unknown_operation")
        (again,) = await able.tasks(1)
        await able.answer(again)
        assert (await server.admin.final(id))["result"] == "42"


async def test_agents_that_all_fail_end_the_expression_with_the_operation_and_its_operands(
    server: Orchestrator,
) -> None:
    async with (
        server.agent(name="one") as one,
        server.agent(name="two") as two,
        server.agent(name="3") as three,
    ):
        agents = {agent.name: agent for agent in (one, two, three)}
        for agent in agents.values():
            await agent.join()
        id = (await server.admin.submit("(1+2)*3/7"))["id"]
        tried: list[str] = []
        serving = [asyncio.create_task(fail_at(agent, "multiplication", tried)) for agent in agents.values()]
        ended = await server.admin.final(id)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "agents_failed")
        assert "3 * 3" in ended["error"]["message"] and "broken" in ended["error"]["message"]
        assert ended["error"]["task"].startswith(id)
        assert sorted(tried) == sorted(agents), "each agent tried once"
        for task in serving:
            task.cancel()


async def fail_at(agent: ForeignAgent, operation: str, tried: list[str]) -> None:
    """Compute everything but one operation."""
    while True:
        for task in (await agent.expect("tasks", within_s=60))["tasks"]:
            if task["operation"] == operation:
                tried.append(agent.name)
                await agent.answer(task, error="broken")
            else:
                await agent.answer(task)


async def test_a_hung_agent_that_beats_with_its_task_for_ever_is_helped_by_one_other(
    database_url: str,
) -> None:
    async with (
        orchestrator(database_url, limit_factor=1.0, limit_extra_s=0.3, heartbeat_s=0.2) as server,
        server.agent(name="hung") as hung,
        server.agent(name="third") as third,
    ):
        await hung.join()
        id = (await server.admin.submit("20+22"))["id"]
        (task,) = await hung.tasks(1)
        beating = asyncio.create_task(beat_for_ever(hung, [task]))
        async with server.agent(name="second") as second:
            await second.join()
            (again,) = await second.tasks(1)
            also = asyncio.create_task(beat_for_ever(second, [again]))
            await third.join()

            async def both_run() -> bool:
                agents = await server.admin.agents()
                return [len(agents[name]["tasks"]) for name in ("hung", "second", "third")] == [1, 1, 0]

            await until(both_run)
            also.cancel()
            await second.answer(again)
            ended = await server.admin.final(id)
            assert ended["result"] == "42"
            (shown,) = await server.admin.tasks(id)
            assert shown["agent"]["name"] == "second"
        beating.cancel()


async def beat_for_ever(agent: ForeignAgent, held: list[Frame]) -> None:
    while True:
        await agent.beat(held)
        await asyncio.sleep(0.1)  # a heart


async def test_a_huge_hello_and_huge_beats_hold_nobody_up(server: Orchestrator) -> None:
    """50,000 attempts that do not exist: decided in slices, while others are served."""
    invented = [{"task": f"{GHOST}.{n}", "attempt": n} for n in range(50_000)]
    async with server.agent(name="liar") as liar, server.agent(name="honest") as honest:
        await honest.join()
        await liar.join(held=invented)
        for _ in range(3):
            await liar.beat(invented)
            id = (await server.admin.submit("20+22"))["id"]
            (task,) = await honest.tasks(1)
            await honest.answer(task)
            assert (await server.admin.final(id))["result"] == "42"
        frame = await liar.expect("cancel")
        assert len(json.dumps(frame)) < 4 * 1024 * 1024
