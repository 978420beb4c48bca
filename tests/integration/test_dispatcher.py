"""The dispatcher in a whole orchestrator: who comes first, what is tried again, what survives a restart."""

import asyncio
import time
from fractions import Fraction

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import journal, store
from tests.integration.orchestrators import orchestrator
from tests.support.drafts import scalar
from tests.support.foreign import named
from tests.support.processes import AGENT
from tests.support.waiting import until

SLOW = {"lease_s": 30.0, "heartbeat_s": 1.0, "recovery_quiet_s": 0.3}


async def test_an_attempt_that_takes_too_long_gets_one_more_beside_it(database_url: str) -> None:
    async with (
        orchestrator(database_url, limit_factor=1.0, limit_extra_s=0.3, **SLOW) as server,
        server.agent(name="slow") as slow,
        server.agent(name="quick") as quick,
    ):
        await slow.join()
        id = (await server.admin.submit("20+22"))["id"]
        (first,) = await slow.tasks(1)
        await quick.join()
        (second,) = await quick.tasks(1, within_s=5)
        assert second["task"] == first["task"] and second["attempt"] > first["attempt"]
        assert (await server.admin.show(id))["status"] == "running"
        # Either may win; here it is the first.
        await slow.answer(first)
        assert (await server.admin.final(id))["result"] == "42"
        assert (await quick.expect("cancel"))["tasks"] == [named(second)]
        assert (await server.admin.tasks(id))[0]["attempt"] == first["attempt"]


async def test_a_task_that_agents_are_lost_with_again_and_again_fails(database_url: str) -> None:
    async with orchestrator(database_url, losses_max=2, grace_s=0.1, **SLOW) as server:
        id = (await server.admin.submit("20+22"))["id"]
        for number in range(2):
            async with server.agent(name=f"victim {number}") as victim:
                await victim.join()
                await victim.tasks(1)
        ended = await server.admin.final(id)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "agents_failed")


async def test_two_users_share_the_slots(database_url: str) -> None:
    async with orchestrator(database_url, **SLOW) as server, server.agent(slots=4) as agent:
        _, secret = await server.admin.make_token("somebody", "user")
        large = (await server.admin.submit("(1+2)*(3+4)*(5+6)*(7+8)*(9+10)*(11+12)"))["id"]
        async with server.client(secret) as somebody:
            small = (await somebody.submit("(101+102)*(103+104)*(105+106)"))["id"]
            await agent.join()
            tasks = await agent.tasks(4)
            counts = [sum(task["task"].startswith(id) for task in tasks) for id in (large, small)]
            assert counts == [2, 2]


async def test_what_does_not_fit_into_memory_waits_in_the_table_and_has_its_turn(database_url: str) -> None:
    async with orchestrator(database_url, loaded_expressions_max=2, **SLOW) as server:
        texts = [f"{number}+{number}*2" for number in range(20)]
        items = (
            await server.admin.ask(
                "POST", "/expressions/batch", json={"expressions": [{"expression": text} for text in texts]}
            )
        )["items"]
        last = await server.admin.show(items[-1]["id"])
        assert last["status"] == "queued" and last["waiting_for"]
        async with server.agent(slots=2) as agent:
            await agent.join()
            serving = asyncio.create_task(agent.serve())
            for number, item in enumerate(items):
                assert (await server.admin.final(item["id"]))["result"] == str(number * 3)
            serving.cancel()


async def test_values_that_grow_too_large_together_fail_the_expression(database_url: str) -> None:
    async with (
        orchestrator(database_url, values_bytes_max=2000, **SLOW) as server,
        server.agent(slots=4) as agent,
    ):
        await agent.join()
        serving = asyncio.create_task(agent.serve())
        text = "+".join(f"1e{300 + number}*3" for number in range(8))
        ended = await server.admin.compute(text)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "too_large")
        assert (await server.admin.compute("20+22"))["result"] == "42"
        serving.cancel()


async def test_a_long_fraction_is_exact(database_url: str) -> None:
    async with orchestrator(database_url, **SLOW) as server, server.agent(slots=8) as agent:
        await agent.join()
        serving = asyncio.create_task(agent.serve())
        ended = await server.admin.compute("+".join(f"1/{number}" for number in range(1, 60)))
        exact = sum((Fraction(1, number) for number in range(1, 60)), Fraction(0))
        assert ended["exact"] == str(exact)
        serving.cancel()


async def test_an_answer_that_is_waited_for_comes_as_soon_as_there_is_one(database_url: str) -> None:
    async with orchestrator(database_url, **SLOW) as server, server.agent() as agent:
        await agent.join()
        id = (await server.admin.submit("20+22"))["id"]
        (task,) = await agent.tasks(1)
        waiting = asyncio.create_task(server.admin.show(id, wait=30))
        began = time.monotonic()
        unfinished = await server.admin.show(id, wait=0.2)
        assert unfinished["status"] == "running" and time.monotonic() - began >= 0.2
        await agent.answer(task)
        shown = await asyncio.wait_for(waiting, 2)
        assert (shown["status"], shown["result"]) == ("done", "42")


async def test_an_end_takes_the_rows_with_it_that_nobody_waited_for(
    database_url: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "REST_S", 60.0)
    async with orchestrator(database_url, **SLOW) as server, server.agent() as agent:
        await agent.join()
        id = (await server.admin.submit("2+2*2"))["id"]
        (product,) = await agent.tasks(1)
        await agent.answer(product)
        (total,) = await agent.tasks(1)
        await agent.answer(total)
        assert (await server.admin.final(id))["result"] == "6"
        # Both rows, in one transaction.
        assert await scalar(engine, "SELECT count(*) FROM journal GROUP BY xmin") == 2


async def test_what_waits_when_the_orchestrator_stops_is_done_by_the_next(database_url: str) -> None:
    async with orchestrator(database_url, **SLOW) as server, server.agent() as agent:
        await agent.join()
        id = (await server.admin.submit("(1+2)*(3+4)"))["id"]
        (task,) = await agent.tasks(1)
        await agent.answer(task)
        await agent.acked(task)
        (before,) = [task for task in await server.admin.tasks(id) if task["state"] == "done"]
    async with orchestrator(database_url, **SLOW) as server, server.agent() as agent:
        shown = await server.admin.show(id)
        assert (shown["status"], shown["tasks"]["done"]) == ("running", 1)
        await agent.join()
        serving = asyncio.create_task(agent.serve())
        assert (await server.admin.final(id))["result"] == "21"
        assert before in await server.admin.tasks(id), "what was journalled is computed once"
        serving.cancel()


async def test_recovered_tasks_wait_a_moment_for_the_agent_that_may_still_hold_them(
    database_url: str, engine: AsyncEngine
) -> None:
    settings = {**SLOW, "recovery_quiet_s": 1.5}
    async with orchestrator(database_url, **settings) as server, server.agent(name="old") as old:
        await old.join()
        id = (await server.admin.submit("20+22"))["id"]
        (task,) = await old.tasks(1)

        async def is_remembered() -> bool:
            async with engine.connect() as connection:
                return len(await store.connected_agents(connection)) == 1

        await until(is_remembered)
        held = named(task)
    async with (
        orchestrator(database_url, **settings) as server,
        server.agent(name="new") as new,
        server.agent(name="old", agent=old.id) as old,
    ):
        await new.join()
        # Somebody else's new expression need not wait.
        fresh = (await server.admin.submit("1+2"))["id"]
        (other,) = await new.tasks(1)
        assert other["task"].startswith(fresh)
        await new.answer(other)
        welcome = await old.join(held=[held])
        assert welcome["drop"] == []
        await old.answer(task)
        assert (await server.admin.final(id))["result"] == "42"
        assert (await server.admin.tasks(id))[0]["attempt"] == held["attempt"]


async def test_a_pulling_agent_goes_on_with_its_task_over_a_restart(database_url: str) -> None:
    async with orchestrator(database_url, **SLOW) as server, server.client(AGENT) as agent:
        id = (await server.admin.submit("20+22"))["id"]
        (task,) = (await agent.ask("GET", "/tasks", params={"wait": 10}))["tasks"]
    attempt = {"attempt": task["attempt"]}
    async with orchestrator(database_url, **SLOW) as server, server.client(AGENT) as agent:

        async def is_renewed() -> bool:
            answer = await agent.http.post(f"/tasks/{task['task']}/lease", json=attempt)
            assert answer.status_code in (200, 503), answer.text
            return answer.status_code == 200

        await until(is_renewed)
        async with server.agent() as other:
            await other.join()
            fresh = (await server.admin.submit("1+2"))["id"]
            (easy,) = await other.tasks(1)
            assert easy["task"].startswith(fresh), "what is in somebody's hands is not handed out again"
            await other.answer(easy)
            await server.admin.final(fresh)
            (still,) = await server.admin.running(id)
            assert (still["task"], still["attempt"]) == (task["task"], task["attempt"])
        await agent.ask("POST", f"/tasks/{task['task']}/result", json={**attempt, "value": "42"})
        assert (await server.admin.final(id))["result"] == "42"
        assert (await server.admin.tasks(id))[0]["attempt"] == task["attempt"]


async def test_cancelling_what_waits_in_the_table_is_final(database_url: str) -> None:
    async with orchestrator(database_url, loaded_expressions_max=1, **SLOW) as server:
        ids = [(await server.admin.submit(f"{number}+1"))["id"] for number in range(3)]
        cancelled = await server.admin.ask("DELETE", f"/expressions/{ids[2]}")
        assert cancelled["status"] == "cancelled"
        async with server.agent() as agent:
            await agent.join()
            serving = asyncio.create_task(agent.serve())
            assert [(await server.admin.final(id))["status"] for id in ids] == ["done", "done", "cancelled"]
            serving.cancel()
