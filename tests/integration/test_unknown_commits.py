"""A connection that is cut after the database did what it was asked and before its answer: was it done?

Whoever asked either finds out, or says that it is not known; and asking again is safe. Nothing is lost and
nothing is done twice.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import intake
from curta_server.leadership import Leadership
from tests.integration.orchestrators import Orchestrator, orchestrator
from tests.integration.test_outages import socket_of, through
from tests.support.drafts import draft, insert, scalar
from tests.support.foreign import ForeignAgent
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy
from tests.support.waiting import until

SETTLES_S = 1.0


class Cutter:
    """A way to the database that is cut at the worst moment."""

    def __init__(self, postgres: PostgresServer, database_url: str, proxy: Proxy) -> None:
        self._postgres = postgres
        self._name = database_url.partition("@/")[2].partition("?")[0]
        self._proxy = proxy
        self.url = through(proxy, database_url)
        self.cuts = 0

    def cut_after(self, pattern: bytes, *, holds: str) -> None:
        """Reset all connections once the bytes went by and their effect is committed: the query gives `t`.

        What goes by without that effect is somebody else's.
        """

        def action() -> None:
            deadline = time.monotonic() + SETTLES_S
            while time.monotonic() < deadline:
                if self.sql(holds) == "t":
                    self.cuts += 1
                    self._proxy.cut()
                    return
                time.sleep(0.01)
            self._proxy.on_to_target(pattern, action)

        self._proxy.on_to_target(pattern, action)

    def sql(self, query: str) -> str:
        return self._postgres.sql(query, database=self._name)


@pytest.fixture
async def cutter(postgres: PostgresServer, database_url: str) -> AsyncIterator[Cutter]:
    with Proxy(socket_of(database_url)) as proxy:
        yield Cutter(postgres, database_url, proxy)


@pytest.fixture
async def one(cutter: Cutter) -> AsyncIterator[Orchestrator]:
    async with orchestrator(cutter.url) as one:
        yield one


@pytest.fixture
async def agent(one: Orchestrator) -> AsyncIterator[ForeignAgent]:
    async with one.agent() as agent:
        await agent.join()
        yield agent


async def test_a_batch_of_results_with_an_end_is_written_once(
    one: Orchestrator, agent: ForeignAgent, cutter: Cutter
) -> None:
    submitted = await one.admin.submit("2+3")
    (task,) = await agent.tasks(1)
    done = f"SELECT status = 'done' FROM expressions WHERE id = '{submitted['id']}'"
    cutter.cut_after(journal_row(submitted), holds=done)
    await agent.answer(task)
    await agent.acked(task)
    assert cutter.cuts == 1
    await is_written_once(one, cutter, submitted, task)


async def test_a_batch_that_postgresql_broke_off_is_written_again(
    one: Orchestrator, agent: ForeignAgent, cutter: Cutter, engine: AsyncEngine
) -> None:
    submitted = await one.admin.submit("2+3")
    (task,) = await agent.tasks(1)
    waits_with_its_rows = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%journal%'"
    async with engine.begin() as other:
        await other.execute(text("SELECT FROM expressions FOR UPDATE"))
        await agent.answer(task)
        await until(lambda: cutter.sql(f"SELECT count(*) {waits_with_its_rows}") == "1")
        assert cutter.sql(f"SELECT pg_terminate_backend(pid) {waits_with_its_rows}") == "t"
        assert cutter.sql("SELECT count(*) FROM journal") == "0"
    await agent.acked(task)
    await is_written_once(one, cutter, submitted, task)


def journal_row(expression: dict[str, Any]) -> bytes:
    """What goes by with a row of it: in the array of the batch's expressions."""
    return f"{{{expression['id']}}}".encode()


async def is_written_once(
    one: Orchestrator, cutter: Cutter, submitted: dict[str, Any], task: dict[str, Any]
) -> None:
    assert (await one.admin.show(submitted["id"]))["result"] == "5"
    rows = "SELECT string_agg(value || ' ' || attempt, ';') FROM journal"
    assert cutter.sql(rows) == f"5 {task['attempt']}"

    async def is_forgotten() -> bool:
        return "\ncurta_expressions_loaded 0.0\n" in (await one.admin.http.get("/metrics")).text

    await until(is_forgotten)


async def test_a_submission_is_found_again_by_its_id(
    one: Orchestrator, agent: ForeignAgent, cutter: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_stored = "SELECT count(*) = 1 FROM expressions WHERE client_id = 'my own'"
    cutter.cut_after(b"my own", holds=is_stored)
    first = await one.admin.submit("2+3", id="my own")  # it was tried again behind the scenes
    assert cutter.cuts == 1

    monkeypatch.setattr(intake, "RETRY_S", 0)
    cutter.cut_after(b"another", holds=is_stored.replace("my own", "another"))
    problem = await one.admin.problem(
        "POST", "/expressions", status=503, json={"expression": "3+4", "id": "another"}
    )
    assert cutter.cuts == 2 and problem["type"] == "/problems/unavailable"
    second = await one.admin.submit("3+4", id="another")
    assert cutter.sql("SELECT count(*) FROM expressions") == "2"
    serving = asyncio.create_task(agent.serve())
    assert (await one.admin.final(first["id"]))["result"] == "5"
    assert (await one.admin.final(second["id"]))["result"] == "7"
    serving.cancel()


async def test_a_submission_without_an_id_that_was_refused_and_stored_is_computed_all_the_same(
    one: Orchestrator, agent: ForeignAgent, cutter: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "RETRY_S", 0)
    cutter.cut_after(b"11+22", holds="SELECT count(*) = 1 FROM expressions WHERE text = '11+22'")
    await one.admin.problem("POST", "/expressions", status=503, content="11+22")
    assert cutter.cuts == 1
    serving = asyncio.create_task(agent.serve())
    # It is in the table under the term of a leader that does not hold it, and is set free.
    (lost,) = [item for item in await listed(one) if item["expression"] == "11+22"]
    assert (await one.admin.final(lost["id"]))["result"] == "33"
    serving.cancel()


async def listed(one: Orchestrator) -> list[dict[str, object]]:
    items: list[dict[str, object]] = (await one.admin.ask("GET", "/expressions"))["items"]
    return items


async def test_a_claim_is_neither_forgotten_nor_made_twice(
    one: Orchestrator, agent: ForeignAgent, cutter: Cutter, engine: AsyncEngine
) -> None:
    waiting = draft("20+22")
    is_claimed = f"SELECT epoch > 0 FROM expressions WHERE id = '{waiting.id}'"
    cutter.cut_after(b"COMMIT", holds=is_claimed)
    await insert(engine, waiting)
    serving = asyncio.create_task(agent.serve())
    ended = f"SELECT status || ' ' || result FROM expressions WHERE id = '{waiting.id}'"
    await until(lambda: cutter.sql(ended) == "done 42")
    assert cutter.cuts == 1
    assert cutter.sql("SELECT count(*) FROM journal") == "1"
    serving.cancel()


async def test_a_term_whose_begin_was_not_answered_is_followed_by_another(
    cutter: Cutter, engine: AsyncEngine
) -> None:
    begun: list[int] = []

    async def lead(epoch: int) -> None:
        begun.append(epoch)
        await asyncio.Event().wait()

    cutter.cut_after(b"COMMIT", holds="SELECT epoch = 1 FROM leadership")
    leadership = Leadership(cutter.url, id=uuid4(), url="http://here", on_term=lead)
    running = asyncio.create_task(leadership.run())
    await until(lambda: bool(begun), within_s=20)
    assert cutter.cuts == 1 and begun == [2] and leadership.epoch == 2
    assert await scalar(engine, "SELECT epoch FROM leadership") == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_cancelled_expression_stays_cancelled_and_its_agent_hears_of_it(
    one: Orchestrator, agent: ForeignAgent, cutter: Cutter
) -> None:
    submitted = await one.admin.submit("2+3")
    (task,) = await agent.tasks(1)
    is_cancelled = f"SELECT status = 'cancelled' FROM expressions WHERE id = '{submitted['id']}'"
    cutter.cut_after(b"COMMIT", holds=is_cancelled)
    path = f"/expressions/{submitted['id']}"
    await one.admin.problem("DELETE", path, status=503)
    assert cutter.cuts == 1
    # Nobody told the leader, who looks for itself.
    cancelled = (await agent.expect("cancel"))["tasks"]
    assert [each["task"] for each in cancelled] == [task["task"]]
    assert (await one.admin.ask("DELETE", path))["status"] == "cancelled"


async def test_a_token_whose_secret_was_never_shown_can_be_revoked_and_another_made(
    one: Orchestrator, cutter: Cutter
) -> None:
    cutter.cut_after(b"COMMIT", holds="SELECT count(*) = 1 FROM tokens WHERE name = 'eve'")
    await one.admin.problem("POST", "/tokens", status=503, json={"name": "eve", "role": "user"})
    assert cutter.cuts == 1
    id, secret = await one.admin.make_token("eve", "user")
    tokens = (await one.admin.ask("GET", "/tokens"))["items"]
    (unknown,) = [token["id"] for token in tokens if token["name"] == "eve" and token["id"] != id]
    await one.admin.ask("DELETE", f"/tokens/{unknown}")
    async with one.client(secret) as eve:
        await eve.submit("1+1")
