"""Agents that say what nobody expected: the orchestrator answers, and goes on."""

import uuid

from tests.integration.orchestrators import orchestrator

SLOW = {"lease_s": 30.0, "heartbeat_s": 1.0}
EARLIER = 5
"""An attempt of before the first term."""


async def test_a_result_for_an_expression_that_is_not_there_is_acknowledged(database_url: str) -> None:
    async with orchestrator(database_url, **SLOW) as server, server.agent() as agent:
        await agent.join()
        known = (await server.admin.submit("20+22"))["id"]
        (task,) = await agent.tasks(1)
        for expression in (str(uuid.uuid4()), known.upper(), f"{known}\u00e9\0", "", "\0" * 250):
            stray = {"task": f"{expression}.0", "attempt": EARLIER, "operands": ["1", "1"]}
            await agent.answer(stray, "2")
            await agent.acked(stray)
        await agent.answer(task)
        assert (await server.admin.final(known))["result"] == "42"


async def test_a_held_attempt_of_an_expression_that_was_cancelled_while_it_waited_is_cancelled_too(
    database_url: str,
) -> None:
    async with orchestrator(database_url, loaded_expressions_max=1, **SLOW) as server:
        await server.admin.submit("1+2")
        waiting = (await server.admin.submit("3+4"))["id"]
        async with server.agent(operations=["division"]) as agent:
            held = {"task": f"{waiting}.0", "attempt": EARLIER}
            welcome = await agent.join([held])
            assert welcome["keep"] == welcome["drop"] == []
            await server.admin.ask("DELETE", f"/expressions/{waiting}")
            assert (await agent.expect("cancel", within_s=5))["tasks"] == [held]
