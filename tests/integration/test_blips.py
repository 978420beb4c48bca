"""A real agent behind a network that fails for a moment: nothing that it computes is begun again."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.integration.far_agents import agent_behind, proxy_of
from tests.integration.orchestrators import Orchestrator, orchestrator
from tests.support.proxy import Proxy
from tests.support.waiting import until

LEASE_S = 2.0
BLIP_S = 1.2
"""Shorter than the lease and the grace, and much longer than the heartbeat."""

COMPUTING_MS = 2_500


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Orchestrator]:
    async with orchestrator(
        database_url,
        heartbeat_s=0.2,
        idle_heartbeat_s=0.5,
        lease_s=LEASE_S,
        grace_s=2.0,
        recovery_quiet_s=0.5,
    ) as running:
        yield running


def hold(proxy: Proxy) -> None:
    proxy.hold()


def hold_questions(proxy: Proxy) -> None:
    proxy.hold(from_target=False)


def hold_answers(proxy: Proxy) -> None:
    proxy.hold(to_target=False)


def refuse(proxy: Proxy) -> None:
    proxy.refuse()


@pytest.mark.parametrize("fail", [hold, hold_questions, hold_answers, refuse])
async def test_a_blip_repeats_nothing(server: Orchestrator, fail: Callable[[Proxy], None]) -> None:
    with proxy_of(server) as proxy:
        async with agent_behind(proxy), server.agent(name="near", slots=4) as near:
            await server.admin.set_all_durations(COMPUTING_MS)
            id = (await server.admin.submit("(1+2)*(3+4)"))["id"]

            async def both_run() -> bool:
                return len(await server.admin.running(id)) == 2

            await until(both_run)
            before = {task["task"]: task["attempt"] for task in await server.admin.running(id)}
            await near.join()
            serving = asyncio.create_task(near.serve())  # it would take what is given up
            fail(proxy)
            await asyncio.sleep(BLIP_S)  # the blip itself: nothing can be waited for
            proxy.release()
            proxy.accept()
            await server.admin.set_all_durations(0)
            ended = await server.admin.final(id)
            assert ended["result"] == "21"
            tasks = {task["task"]: task["attempt"] for task in await server.admin.tasks(id)}
            assert before.items() <= tasks.items(), "what was computed was begun again"
            assert {attempt % 2**20 for attempt in tasks.values()} == {1}
            assert (await server.admin.agents())["far"]["status"] == "connected"
            serving.cancel()


async def test_a_connection_that_breaks_again_and_again_loses_nothing(server: Orchestrator) -> None:
    with proxy_of(server) as proxy:
        async with agent_behind(proxy, slots=4):
            await server.admin.set_all_durations(300)
            ids = [(await server.admin.submit(f"({n}+1)*({n}+2)"))["id"] for n in range(8)]

            async def is_over() -> bool:
                proxy.cut()
                return all([(await server.admin.show(id))["status"] == "done" for id in ids])

            await until(is_over, within_s=20)
            for n, id in enumerate(ids):
                assert (await server.admin.show(id))["result"] == str((n + 1) * (n + 2))
