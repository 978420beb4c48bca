"""PostgreSQL goes away under load, in every way it can; everything goes on when it is back."""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.client import Client
from tests.support.foreign import ForeignAgent
from tests.support.postgres import NEWEST, PostgresServer, programs
from tests.support.processes import ADMIN, AGENT, Cluster
from tests.support.proxy import Proxy
from tests.support.waiting import until

CHAIN = "100000-" + "-".join(str(number) for number in range(1, 201))
CHAIN_RESULT = str(100_000 - sum(range(1, 201)))

REFUSED_WITHIN_S = 6.0
"""Of a request that meets a database that went silent just now: found out, said, and room for a busy
machine."""

TRUST_S = 8.0


class Load:
    """Clients that submit sums with ids of their own, and again until they are accepted."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = itertools.count()
        self.accepted: dict[str, tuple[str, int]] = {}
        self.refusals = 0
        self.slowest_s = 0.0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as clients:
            for _ in range(5):
                clients.create_task(self._client())

    async def _client(self) -> None:
        async with Client(self._url, ADMIN) as client:
            while True:
                number = next(self._numbers)
                a, b, c = (random.randrange(1000) for _ in range(3))
                await self._submit(client, f"load-{number}", f"({a}+{b})*{c}", (a + b) * c)
                await asyncio.sleep(0.05)

    async def _submit(self, client: Client, id: str, text: str, value: int) -> None:
        while True:
            began = time.monotonic()
            answer = await client.http.post("/expressions", json={"expression": text, "id": id})
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            if answer.status_code == 200:
                self.accepted[id] = (answer.json()["id"], value)
                return
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["type"] == "/problems/unavailable"
            self.refusals += 1
            await asyncio.sleep(0.2)


class Database:
    """A PostgreSQL that can go away, and the way to it."""

    def __init__(self, server: PostgresServer, proxy: Proxy, url: str) -> None:
        self.server = server
        self.proxy = proxy
        self.url = url

    def go(self, how: str) -> None:
        {
            "killed": self.server.kill,
            "stopped": self.server.stop,
            "silent": self.proxy.hold,
            "deaf": lambda: self.proxy.hold(from_target=False),
            "refused": self.proxy.refuse,
        }[how]()

    def come_back(self, how: str) -> None:
        if how in ("killed", "stopped"):
            self.server.start()
        else:
            self.proxy.release()
            self.proxy.accept()


@pytest.fixture
def database() -> Iterator[Database]:
    with own_database() as database:
        yield database


@contextmanager
def own_database() -> Iterator[Database]:
    found = programs(NEWEST)
    assert found is not None
    server = PostgresServer(found)
    try:
        name = server.database().partition("@/")[2].partition("?")[0]
        socket = Path(server.url().partition("host=")[2]) / ".s.PGSQL.5432"
        with Proxy(socket) as proxy:
            yield Database(server, proxy, f"postgresql://postgres:@127.0.0.1:{proxy.port}/{name}")
    finally:
        server.close()


async def go_through_an_outage(
    database: Database,
    directory: Path,
    how: str,
    *,
    away_s: float,
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """The whole story, checked at every step; `report` gets the times that were seen."""
    cluster = Cluster(database.server, directory, database_url=database.url)
    try:
        for name in ("one", "two"):
            cluster.start_agent(name, slots=4)
        async with Client(cluster.url, ADMIN) as admin:
            await tell_the_story(cluster, database, admin, how, away_s, report)
    finally:
        database.proxy.release()
        cluster.close()


async def tell_the_story(
    cluster: Cluster,
    database: Database,
    admin: Client,
    how: str,
    away_s: float,
    report: Callable[[str], None],
) -> None:
    await admin.set_durations(addition=0, multiplication=0, subtraction=30, division=round(away_s * 1000))
    # Two tasks that are computed while the database is away, and a chain that goes on all the time.
    long = await admin.submit("(100/4)*(100/5)")
    chain = await admin.submit(CHAIN, optimize=False)
    load = Load(cluster.url)
    loading = asyncio.create_task(load.run())
    try:
        await until(lambda: len(load.accepted) >= 20)
        held = {task["task"]: task["attempt"] for task in await admin.running(long["id"])}
        assert len(held) == 2
        before_s = load.slowest_s

        await asyncio.to_thread(database.go, how)
        went = time.monotonic()
        await is_refused_clearly(admin, chain["id"])
        report(f"{how}: everything is refused after {time.monotonic() - went:.1f} s")
        if away_s < TRUST_S:
            # Who was let in stays so, and the agents are there.
            agents = await admin.agents()
            assert {agents[name]["status"] for name in ("one", "two")} == {"connected"}
        await asyncio.sleep(away_s - (time.monotonic() - went))
        if away_s > TRUST_S + 2:
            assert (await admin.http.get("/leaderz")).status_code == 503
        await asyncio.to_thread(database.come_back, how)
        back = time.monotonic()

        accepted = len(load.accepted)
        await until(lambda: len(load.accepted) > accepted, within_s=15)
        report(f"{how}: accepted again after {time.monotonic() - back:.1f} s")
        latest = list(load.accepted.values())[-1]
        assert (await admin.final(latest[0], within_s=20))["result"] == str(latest[1])
        report(f"{how}: tasks flow again after {time.monotonic() - back:.1f} s")
        assert load.slowest_s < REFUSED_WITHIN_S
        report(
            f"{how}: slowest request {load.slowest_s:.1f} s, before {before_s:.2f} s; {load.refusals} refused"
        )
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)

    ended = await admin.final(long["id"], within_s=30)
    assert ended["result"] == "500"
    # The root's row alone makes it done: where a term ended in between, its operands' rows may be
    # missing.
    after = {task["task"]: task["attempt"] for task in await admin.tasks(long["id"]) if task["attempt"]}
    assert all(held.get(task, attempt) == attempt for task, attempt in after.items()), "computed again"
    assert (await admin.final(chain["id"], within_s=60))["result"] == CHAIN_RESULT
    for id, value in load.accepted.values():
        shown = await admin.final(id, within_s=30)
        assert (shown["status"], shown["result"]) == ("done", str(value))
    assert cluster.server.is_running
    assert all(agent.is_running for agent in cluster.agents)
    assert "defect" not in cluster.server.output
    # Each id made one expression, though what was refused may have been stored.
    twice = "SELECT client_id FROM expressions WHERE client_id <> '' GROUP BY client_id HAVING count(*) > 1"
    assert cluster.sql(twice) == ""
    stored = set(cluster.sql("SELECT client_id FROM expressions WHERE client_id <> ''").splitlines())
    assert stored >= load.accepted.keys()


async def is_refused_clearly(admin: Client, expression: str) -> None:
    async def ask(method: str, path: str, **options: Any) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        answer = await admin.http.request(method, path, **options)
        return answer, time.monotonic() - began

    questions = (
        ("POST", "/expressions", {"content": "1+1"}),
        ("POST", "/expressions/batch", {"json": {"expressions": [{"expression": "1+1"}]}}),
        ("GET", "/expressions", {}),
        ("GET", f"/expressions/{expression}", {}),
        ("GET", f"/expressions/{expression}?wait=30", {}),
        ("DELETE", f"/expressions/{expression}", {}),
        ("GET", "/operations", {}),
        ("PUT", "/operations/addition", {"json": {"duration_ms": 0}}),
        ("GET", "/tokens", {}),
        ("POST", "/tokens", {"json": {"name": "late", "role": "user"}}),
        ("GET", "/readyz", {}),
    )
    # Twice: when it goes away, and when that is known. More at once than the pool has connections.
    for within_s in (REFUSED_WITHIN_S, 3.0):
        answers = await asyncio.gather(*(ask(method, path, **more) for method, path, more in questions))
        for (method, path, _), (answer, took_s) in zip(questions, answers, strict=True):
            assert answer.status_code == 503, (method, path, answer.status_code, answer.text)
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["type"] == "/problems/unavailable"
            assert took_s < within_s, (method, path, took_s)
        for path in ("/healthz", "/metrics"):
            answer, took_s = await ask("GET", path)
            assert answer.status_code == 200 and took_s < 3
    assert "curta_database_reachable 0.0" in (await ask("GET", "/metrics"))[0].text


@pytest.mark.parametrize(("how", "away_s"), [("silent", 11.0), ("deaf", 5.0), ("killed", 4.0)])
async def test_a_database_that_is_away_for_seconds_costs_nothing_but_time(
    database: Database, tmp_path: Path, how: str, away_s: float
) -> None:
    await go_through_an_outage(database, tmp_path, how, away_s=away_s)


async def test_a_leader_without_a_database_sends_its_agents_away_after_its_trust_ends(
    database: Database, tmp_path: Path
) -> None:
    cluster = Cluster(database.server, tmp_path, database_url=database.url)
    try:
        async with ForeignAgent(cluster.url, AGENT) as agent:
            await agent.join()
            beating = asyncio.create_task(beat(agent))
            database.go("silent")
            began = time.monotonic()
            try:
                code, _ = await agent.closed(within_s=20)
            finally:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
            took_s = time.monotonic() - began
            assert code == 1013
            # Of its own last beat, which was up to 2 s before; and no later than a successor may begin.
            assert TRUST_S - 2.5 < took_s < TRUST_S + 2
            assert (await asyncio.to_thread(cluster.get, "/leaderz")).status_code == 503
            database.come_back("silent")
            await asyncio.to_thread(cluster.wait_until_served, within_s=20)
            await agent.join()
    finally:
        database.proxy.release()
        cluster.close()


async def beat(agent: ForeignAgent) -> None:
    while True:
        await agent.beat()
        await asyncio.sleep(1)
