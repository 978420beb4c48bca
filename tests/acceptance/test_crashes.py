"""Processes are killed and frozen in the middle; what was accepted is computed, and only once."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.client import Client
from tests.support.postgres import NEWEST, PostgresServer, programs
from tests.support.processes import ADMIN, Cluster
from tests.support.waiting import until

CHAIN = "1000000-" + "-".join(str(number) for number in range(1, 1001))
CHAIN_RESULT = str(1_000_000 - sum(range(1, 1001)))
"""A thousand subtractions, each of which needs the one before."""

SUMS = "(1+2)*(3+4)+(5+6)*(7+8)"


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    return make_cluster()


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[Client]:
    async with Client(cluster.url, ADMIN) as client:
        yield client


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that may be killed."""
    found = programs(NEWEST)
    assert found is not None
    server = PostgresServer(found)
    try:
        yield server
    finally:
        server.close()


def journal(cluster: Cluster) -> set[str]:
    """The journal's rows: which attempt of which agent settled a task, when."""
    database = cluster.database_url.partition("@/")[2].partition("?")[0]
    found = cluster.postgres.sql(
        "SELECT expression_id, task, value, agent, attempt, started_at, finished_at FROM journal",
        database=database,
    )
    return set(found.splitlines())


async def on_agents(client: Client, id: str, count: int) -> set[str]:
    """Wait until `count` tasks of the expression run; the names of the agents that run them."""
    names: set[str] = set()

    async def all_run() -> bool:
        nonlocal names
        running = await client.running(id)
        names = {task["agent"]["name"] for task in running}
        return len(running) == count

    await until(all_run, within_s=20)
    return names


async def test_the_tasks_of_a_killed_agent_run_elsewhere_within_six_seconds(
    cluster: Cluster, admin: Client
) -> None:
    victim = cluster.start_agent("victim")
    cluster.start_agent("survivor", slots=4)
    await admin.set_all_durations(600_000)
    submitted = await admin.submit(SUMS)
    assert await on_agents(admin, submitted["id"], 4) == {"victim", "survivor"}
    lost = {
        task["task"] for task in await admin.running(submitted["id"]) if task["agent"]["name"] == "victim"
    }
    await admin.set_all_durations(0)
    victim.kill()
    killed_at = time.monotonic()

    async def moved() -> bool:
        # The survivor's own two go on for minutes; the lost ones come to it and are done at once, and with
        # them whatever needs no more than those.
        tasks = await admin.tasks(submitted["id"])
        return lost <= {task["task"] for task in tasks if task["state"] == "done"}

    await until(moved, within_s=10)
    assert time.monotonic() - killed_at < 6.5
    done = [task for task in await admin.tasks(submitted["id"]) if task["state"] == "done"]
    assert {task["agent"]["name"] for task in done} == {"survivor"}
    assert cluster.status_of("victim") == "lost"


async def test_the_tasks_of_a_frozen_agent_run_elsewhere_and_its_return_does_no_harm(
    cluster: Cluster, admin: Client
) -> None:
    frozen = cluster.start_agent("frozen", slots=2)
    cluster.start_agent("other", slots=2)
    await admin.set_all_durations(2000)
    submitted = await admin.submit(SUMS)
    assert await on_agents(admin, submitted["id"], 4) == {"frozen", "other"}
    frozen.freeze()
    frozen_at = time.monotonic()
    ended = await admin.final(submitted["id"], within_s=30)
    # 11 s until it is found out, then two sums, and two levels above them.
    assert time.monotonic() - frozen_at < 11 + 3 * 2 + 1
    assert ended["result"] == "186"
    tasks = await admin.tasks(submitted["id"])
    assert {task["agent"]["name"] for task in tasks} == {"other"}
    frozen.thaw()
    await until(lambda: cluster.status_of("frozen") == "connected", within_s=15)
    await admin.set_all_durations(0)
    again = await admin.compute("(1+2)*(3+4)+(5+6)*(7+9)")
    assert again["result"] == "197"
    agents = await admin.agents()
    assert agents["frozen"]["tasks"] == []
    assert (await admin.show(submitted["id"]))["result"] == "186"


async def test_a_killed_orchestrator_goes_on_where_it_was_and_computes_nothing_twice(
    cluster: Cluster, admin: Client
) -> None:
    cluster.start_agent("one", slots=2)
    cluster.start_agent("two", slots=2)
    await admin.set_durations(addition=9000, subtraction=5, multiplication=0)
    long = await admin.submit("(1+2)*(3+4)")
    assert len(await on_agents(admin, long["id"], 2)) == 2
    began = time.monotonic()
    before_kill = {task["task"]: task["attempt"] for task in await admin.running(long["id"])}
    chain = await admin.submit(CHAIN, optimize=False)

    async def is_at_a_third() -> bool:
        done: int = (await admin.show(chain["id"]))["tasks"]["done"]
        return done >= 300

    await until(is_at_a_third)
    cluster.server.kill()
    durable = journal(cluster)
    assert len(durable) >= 300
    cluster.start_server()

    ended = await admin.final(long["id"], within_s=20)
    assert ended["result"] == "21"
    assert time.monotonic() - began < 9 + 3, "what the agents had in their hands was begun again"
    after = {task["task"]: task["attempt"] for task in await admin.tasks(long["id"])}
    assert before_kill.items() <= after.items(), "another attempt settled it"
    ended = await admin.final(chain["id"], within_s=40)
    assert (ended["result"], ended["tasks"]["done"]) == (CHAIN_RESULT, 1000)
    rows = journal(cluster)
    assert durable <= rows, "a row that was durable has changed"
    assert len(rows) == 1000 + 3


async def test_postgresql_killed_in_the_middle_is_waited_for(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    cluster = Cluster(own_postgres, tmp_path)
    try:
        async with Client(cluster.url, ADMIN) as admin:
            cluster.start_agent("one", slots=2)
            await admin.set_durations(subtraction=2, addition=0)
            chain = await admin.submit(CHAIN, optimize=False)

            async def has_begun() -> bool:
                done: int = (await admin.show(chain["id"]))["tasks"]["done"]
                return done >= 100

            await until(has_begun)
            own_postgres.kill()
            for method, path in (
                ("POST", "/expressions"),
                ("GET", "/expressions"),
                ("GET", f"/expressions/{chain['id']}"),
                ("GET", "/readyz"),
            ):
                answer = await admin.http.request(method, path, content="1+1" if method == "POST" else None)
                assert answer.status_code == 503, (method, path, answer.text)
                assert int(answer.headers["retry-after"]) >= 1
                assert answer.json()["type"] == "/problems/unavailable"
            assert (await admin.http.get("/healthz")).status_code == 200
            own_postgres.start()

            async def is_accepted() -> bool:
                answer = await admin.http.post("/expressions", content="20+22")
                assert answer.status_code in (200, 503), answer.text
                return answer.status_code == 200

            assert await until(is_accepted, within_s=20) < 15
            ended = await admin.final(chain["id"], within_s=30)
            assert ended["result"] == CHAIN_RESULT
            assert (await admin.compute("20+22"))["result"] == "42"
            assert len(journal(cluster)) >= 1000
            assert cluster.server.is_running
    finally:
        cluster.close()


async def test_an_orchestrator_waits_for_a_database_that_is_away_when_it_starts(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    cluster = Cluster(own_postgres, tmp_path)
    try:
        async with Client(cluster.url, ADMIN) as admin:
            submitted = await admin.submit("2+2*2")
            cluster.server.kill()
            own_postgres.kill()
            cluster.launch_server()

            await until(lambda: _refuses(cluster), within_s=20)
            own_postgres.start()
            cluster.wait_until_served(within_s=20)
            cluster.start_agent("one")
            await admin.set_all_durations(0)
            assert (await admin.final(submitted["id"]))["result"] == "6"
    finally:
        cluster.close()


def _refuses(cluster: Cluster) -> bool:
    """Whether the orchestrator answers, and says that it is not ready."""
    try:
        return cluster.get("/readyz").status_code == 503
    except httpx.TransportError:
        return False
