"""SIGTERM ends orchestrator and agents in good order: quickly, with exit code 0, nothing begun again."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.support.client import Client
from tests.support.foreign import ForeignAgent
from tests.support.processes import ADMIN, AGENT, Cluster
from tests.support.waiting import until


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    return make_cluster()


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(cluster.url, ADMIN) as client:
        yield client


async def test_an_agent_that_is_told_to_stop_delivers_what_it_has_begun(
    cluster: Cluster, admin: Client
) -> None:
    leaver = cluster.start_agent("leaver", slots=1)
    await admin.set_all_durations(1500)
    submitted = await admin.submit("20+22")

    async def runs() -> bool:
        return len(await admin.running(submitted["id"])) == 1

    await until(runs)
    (before,) = await admin.running(submitted["id"])
    cluster.start_agent("stayer", slots=1)
    code, took_s = leaver.terminate()
    assert code == 0 and took_s < 5
    ended = await admin.final(submitted["id"], within_s=5)
    assert ended["result"] == "42"
    (task,) = await admin.tasks(submitted["id"])
    assert (task["agent"]["name"], task["attempt"]) == ("leaver", before["attempt"])
    assert "Traceback" not in leaver.output


async def test_what_a_stopping_agent_cannot_finish_runs_elsewhere_at_once(
    cluster: Cluster, admin: Client
) -> None:
    cluster.start_agent("leaver", slots=1, settings={"CURTA_DRAIN_S": "0.5"})
    await admin.set_all_durations(60_000)
    submitted = await admin.submit("20+22")

    async def runs() -> bool:
        return len(await admin.running(submitted["id"])) == 1

    await until(runs)
    cluster.start_agent("stayer", slots=1)
    await admin.set_all_durations(0)
    code, took_s = cluster.agents[0].terminate()
    assert code == 0 and took_s < 5
    ended = await admin.final(submitted["id"], within_s=2)
    assert ended["result"] == "42"


async def test_an_orchestrator_that_is_told_to_stop_hands_over_in_good_order(
    cluster: Cluster, admin: Client
) -> None:
    agent = cluster.start_agent("one", slots=2)
    async with ForeignAgent(cluster.url, AGENT) as foreign:
        await foreign.join()
        await admin.set_durations(addition=4000, multiplication=0)
        submitted = await admin.submit("(1+2)*(3+4)*(5+6)")

        async def all_run() -> bool:
            return len(await admin.running(submitted["id"])) == 3

        await until(all_run)
        before = {task["task"]: task["attempt"] for task in await admin.running(submitted["id"])}
        (held,) = await foreign.tasks(1)
        await foreign.answer(held)
        await foreign.acked(held)
        code, took_s = cluster.server.terminate()
        assert code == 0 and took_s < 5
        assert (await foreign.closed())[0] == 1012
        assert "Traceback" not in cluster.server.output
        assert '"level": "error"' not in cluster.server.output
    cluster.start_server()
    assert agent.is_running
    ended = await admin.final(submitted["id"], within_s=25)
    assert ended["result"] == "231"
    after = {task["task"]: task["attempt"] for task in await admin.tasks(submitted["id"])}
    assert before.items() <= after.items(), "an agent's work was begun again"


async def test_a_foreign_agent_beside_ours_computes_its_part(cluster: Cluster, admin: Client) -> None:
    cluster.start_agent("ours", slots=2)
    await admin.set_all_durations(0)
    async with ForeignAgent(cluster.url, AGENT, slots=2) as foreign:
        await foreign.join()
        serving = asyncio.create_task(foreign.serve())
        text = "+".join(f"{number}*{number + 1}" for number in range(1, 1001))
        ended = await admin.compute(text)
        assert ended["result"] == str(sum(number * (number + 1) for number in range(1, 1001)))
        names = {task["agent"]["name"] for task in await admin.tasks(ended["id"])}
        assert names == {"ours", "foreign"}
        serving.cancel()
