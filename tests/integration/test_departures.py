"""Drained, removed and revoked agents, over reconnects and restarts; by WebSocket and by single requests."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import app, hearing, store
from curta_server.credentials import Credentials
from curta_server.roster import Roster
from tests.integration.orchestrators import Orchestrator, leader_and_follower, orchestrator
from tests.support.foreign import ForeignAgent, named
from tests.support.processes import AGENT
from tests.support.waiting import until

QUICK: dict[str, Any] = {
    "heartbeat_s": 0.2,
    "idle_heartbeat_s": 0.5,
    "lease_s": 1.0,
    "grace_s": 0.5,
    "recovery_quiet_s": 0.3,
}


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Orchestrator]:
    async with orchestrator(database_url, **QUICK) as running:
        yield running


# --- over a restart


async def are_remembered(engine: AsyncEngine, count: int) -> bool:
    """Whether the table says that so many agents are connected."""
    async with engine.connect() as connection:
        return len(await store.connected_agents(connection)) == count


async def test_a_drained_agent_stays_drained_over_a_restart(database_url: str) -> None:
    async with orchestrator(database_url, **QUICK) as server, server.agent() as agent:
        await agent.join()
        id = (await server.admin.submit("20+22"))["id"]
        (task,) = await agent.tasks(1)
        await server.admin.ask("POST", f"/agents/{agent.id}/drain")
        await agent.expect("drain")
    async with (
        orchestrator(database_url, **QUICK) as server,
        server.agent(agent=agent.id) as agent,
        server.agent(name="other") as other,
    ):
        await agent.join(held=[named(task)])
        await agent.expect("drain")
        assert (await server.admin.agents())["foreign"]["status"] == "draining"
        await agent.send("results", results=[{**named(task), "value": "42"}])
        assert (await server.admin.final(id))["result"] == "42", "what it had it finishes"
        await other.join()
        fresh = (await server.admin.submit("1+2"))["id"]
        (task,) = await other.tasks(1)
        assert task["task"].startswith(fresh)
        await other.answer(task)
        await server.admin.final(fresh)


async def test_a_removed_agent_is_kept_out_over_a_restart(database_url: str) -> None:
    async with orchestrator(database_url, **QUICK) as server, server.agent() as agent:
        await agent.join()
        await server.admin.ask("DELETE", f"/agents/{agent.id}")
        assert (await agent.closed(within_s=1))[0] == 4003
    async with orchestrator(database_url, **QUICK) as server:
        async with server.agent(agent=agent.id) as again:
            await again.open()
            await again.hello()
            assert (await again.closed(within_s=1))[0] == 4003
        async with server.client(AGENT) as pulling:
            problem = await pulling.problem("GET", f"/tasks?agent={agent.id}", status=403)
            assert "removed" in problem["detail"]


async def test_what_was_queued_waits_after_a_restart_for_agents_that_may_hold_it(
    database_url: str, engine: AsyncEngine
) -> None:
    """It may have been handed out just before the end, too late for its status to say so."""
    settings = {**QUICK, "recovery_quiet_s": 1.5, "lease_s": 10.0}
    async with orchestrator(database_url, **settings) as server, server.agent(operations=["division"]) as old:
        await old.join()
        id = (await server.admin.submit("20+22"))["id"]
        assert (await server.admin.show(id))["status"] == "queued"
        await until(lambda: are_remembered(engine, 1))
    async with orchestrator(database_url, **settings) as server, server.agent(name="new") as new:
        await new.join()
        fresh = (await server.admin.submit("1+2"))["id"]
        (task,) = await new.tasks(1)
        assert task["task"].startswith(fresh), "what is new need not wait"
        await new.answer(task)
        await server.admin.final(fresh)
        (task,) = await new.tasks(1, within_s=5)
        assert task["task"].startswith(id)


async def test_lost_agents_are_shown_for_the_rest_of_the_hour_by_the_next_leader(
    database_url: str, engine: AsyncEngine
) -> None:
    """Those who fell silent, with what they offered; not those who left on purpose or were removed."""
    async with orchestrator(database_url, **QUICK) as server:
        async with (
            server.agent(name="silent", operations=["division"]) as silent,
            server.agent(name="leaving") as leaving,
            server.agent(name="removed") as removed,
        ):
            for agent in (silent, leaving, removed):
                await agent.join()
            await leaving.send("bye")
            await server.admin.ask("DELETE", f"/agents/{removed.id}")

        async def is_lost() -> bool:
            return [(a["name"], a["status"]) for a in (await server.admin.agents()).values()] == [
                ("silent", "lost")
            ]

        await until(is_lost)
        await until(lambda: are_remembered(engine, 0))
        (before,) = (await server.admin.agents()).values()
    async with orchestrator(database_url, **QUICK) as server:
        (after,) = (await server.admin.agents()).values()
        for same in ("id", "name", "status", "slots", "operations", "connected_at"):
            assert after[same] == before[same], same
        assert after["operations"] == ["division"]
        assert 0 < after["last_seen_s"] < 60
        async with server.agent(agent=silent.id) as again:
            await again.join()
            (after,) = (await server.admin.agents()).values()
            assert after["status"] == "connected"


async def test_an_agent_that_never_comes_back_to_a_new_leader_is_shown_with_what_it_offered(
    database_url: str, engine: AsyncEngine
) -> None:
    async with orchestrator(database_url, **QUICK) as server, server.agent(operations=["division"]) as agent:
        await agent.join()
        await until(lambda: are_remembered(engine, 1))
    async with orchestrator(database_url, **QUICK) as server:
        await until(server.admin.sees_one_lost)
        (missed,) = (await server.admin.agents()).values()
        assert missed["operations"] == ["division"]


# --- many at once


async def test_cancelling_a_wide_expression_frees_all_its_slots_within_a_round_trip(
    server: Orchestrator,
) -> None:
    async with server.agent(slots=200) as agent:
        await agent.join()
        wide = "+".join(f"({n}*{n + 1})" for n in range(200))
        id = (await server.admin.submit(wide, optimize=False))["id"]
        tasks = await agent.tasks(200)
        others = [(await server.admin.submit(f"{n}+1"))["id"] for n in range(3)]
        await server.admin.ask("DELETE", f"/expressions/{id}")
        cancelled = (await agent.expect("cancel", within_s=1))["tasks"]
        assert sorted(one["task"] for one in cancelled) == sorted(one["task"] for one in tasks)
        began = time.monotonic()
        await agent.send("results", results=[{**one, "error": {"code": "cancelled"}} for one in cancelled])
        following = await agent.tasks(3, within_s=1)
        assert time.monotonic() - began < 0.5, "it waited for something else than the answers"
        assert {task["task"].partition(".")[0] for task in following} == set(others)
        for task in following:
            await agent.answer(task)
        for other in others:
            await server.admin.final(other)


async def test_all_sessions_of_a_revoked_token_end_and_their_tasks_go_elsewhere(
    server: Orchestrator,
) -> None:
    id, secret = await server.admin.make_token("others", "agent")
    async with server.agent(secret=secret) as one, server.agent(secret=secret) as two:
        for agent in (one, two):
            await agent.join()
        ids = [(await server.admin.submit(f"{n}+22"))["id"] for n in range(2)]
        for agent in (one, two):
            await agent.tasks(1)
        async with server.agent(name="other", slots=2) as other:
            await other.join()
            began = time.monotonic()
            await server.admin.ask("DELETE", f"/tokens/{id}")
            for agent in (one, two):
                assert (await agent.closed(within_s=2))[0] == 4001
            tasks = await other.tasks(2)
            assert time.monotonic() - began < 1.3
            for task in tasks:
                await other.answer(task)
            assert {(await server.admin.final(one))["result"] for one in ids} == {"22", "23"}


# --- after bye


async def said_bye(server: Orchestrator, agent: ForeignAgent) -> None:
    """Join, say bye, and return when the orchestrator has heard it."""
    await agent.join()
    await agent.send("bye")

    async def is_gone() -> bool:
        return (await server.admin.agents()).get(agent.name, {}).get("status") != "connected"

    await until(is_gone)


async def test_who_said_bye_and_does_not_close_is_closed(
    server: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "BYE_S", 0.3)
    async with server.agent() as agent:
        await said_bye(server, agent)
        await agent.send("bye")
        assert (await agent.closed(within_s=2))[0] == 1000


async def test_a_session_that_said_bye_ends_with_its_token(server: Orchestrator) -> None:
    id, secret = await server.admin.make_token("others", "agent")
    async with server.agent(secret=secret) as agent:
        await said_bye(server, agent)
        await server.admin.ask("DELETE", f"/tokens/{id}")
        assert (await agent.closed(within_s=2))[0] == 4001


async def test_a_session_that_said_bye_goes_with_its_removed_agent(server: Orchestrator) -> None:
    async with server.agent() as first, server.agent(agent=first.id) as second:
        for agent in (first, second):
            await said_bye(server, agent)
        await server.admin.ask("DELETE", f"/agents/{first.id}")
        for agent in (first, second):
            assert (await agent.closed(within_s=1))[0] == 4003


async def test_a_revoked_token_is_a_departure_once_and_not_again_and_again(
    server: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table hears of every departure."""
    monkeypatch.setattr(app, "CACHE_S", 0.01)
    departures: list[str] = []
    looks: list[object] = []
    left, revoked = Roster.left, Credentials.revoked

    def leave(roster: Roster, agent: str) -> None:
        departures.append(agent)
        left(roster, agent)

    async def look(credentials: Credentials, ids: Collection[UUID]) -> Collection[UUID]:
        looks.append(ids)
        return await revoked(credentials, ids)

    monkeypatch.setattr(Roster, "left", leave)
    monkeypatch.setattr(Credentials, "revoked", look)
    id, secret = await server.admin.make_token("others", "agent")
    async with server.client(secret) as agent:
        assert (await agent.http.get("/tasks")).status_code == 204
        await server.admin.ask("DELETE", f"/tokens/{id}")
        await until(lambda: bool(departures))
        looked = len(looks)
        await until(lambda: len(looks) > looked + 5)
        assert departures == [id]


# --- agents that pull


def pull(client: httpx.AsyncClient, **params: Any) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(client.get("/tasks", params=params))


async def test_a_request_that_waits_ends_when_its_agent_is_removed(server: Orchestrator) -> None:
    async with server.client(AGENT) as agent:
        waiting = pull(agent.http, wait=30)

        async def is_there() -> bool:
            return bool(await server.admin.agents())

        await until(is_there)
        (known,) = (await server.admin.agents()).values()
        began = time.monotonic()
        await server.admin.ask("DELETE", f"/agents/{known['id']}")
        answer = await waiting
        assert answer.status_code == 403 and answer.json()["type"] == "/problems/forbidden"
        assert time.monotonic() - began < 1


async def test_a_request_waits_with_what_it_offers_itself(server: Orchestrator) -> None:
    """Another one of the same agent, with other operations, has its turn after it."""
    async with server.client(AGENT) as agent:
        divides = pull(agent.http, wait=20, operations="division")

        async def offers_division() -> bool:
            return [one["operations"] for one in (await server.admin.agents()).values()] == [["division"]]

        await until(offers_division)
        adds = pull(agent.http, wait=20, operations="addition")
        short = await pull(agent.http, wait=0.1, operations="addition")
        assert short.status_code == 204, "one request of an agent at a time"
        sum_id = (await server.admin.submit("20+22"))["id"]
        quotient_id = (await server.admin.submit("84/2"))["id"]
        (quotient,) = (await divides).json()["tasks"]
        assert quotient["operation"] == "division" and not quotient["task"].startswith(sum_id)
        (addition,) = (await adds).json()["tasks"]
        assert addition["operation"] == "addition"
        for task in (quotient, addition):
            result = {"attempt": task["attempt"], "value": "42"}
            await agent.ask("POST", f"/tasks/{task['task']}/result", json=result)
        for id in (sum_id, quotient_id):
            assert (await server.admin.final(id))["result"] == "42"


async def test_a_lost_pulling_agent_takes_nobodys_place(database_url: str) -> None:
    async with (
        orchestrator(database_url, agents_max=1, pull_lease_s=0.5, **QUICK) as server,
        server.client(AGENT) as agent,
    ):
        assert (await agent.http.get("/tasks")).status_code == 204
        await until(server.admin.sees_one_lost)
        async with server.agent() as other:
            await other.join()
            id = (await server.admin.submit("20+22"))["id"]
            (task,) = await other.tasks(1)
            await other.answer(task)
            assert (await server.admin.final(id))["result"] == "42"
        assert (await agent.http.get("/tasks")).status_code == 204, "it may come back"


async def test_what_a_pulling_agent_never_fetched_is_not_given_to_it_when_others_have_it(
    database_url: str,
) -> None:
    """Its request went away just when a task came for it."""
    async with (
        orchestrator(database_url, pull_lease_s=0.5, **QUICK) as server,
        server.client(AGENT) as agent,
        server.agent(name="other") as other,
    ):
        waiting = pull(agent.http, wait=30)

        async def is_there() -> bool:
            return bool(await server.admin.agents())

        await until(is_there)
        submitting = asyncio.create_task(server.admin.submit("20+22"))
        waiting.cancel()
        id = (await submitting)["id"]
        await other.join()
        (task,) = await other.tasks(1)
        assert (await agent.http.get("/tasks")).status_code == 204
        await other.answer(task)
        assert (await server.admin.final(id))["result"] == "42"


async def test_a_failure_that_a_pulling_agent_reports_again_is_stored_already_and_counts_once(
    database_url: str,
) -> None:
    async with (
        orchestrator(database_url, failures_max=2, **QUICK) as server,
        server.client(AGENT) as agent,
        server.agent(name="other") as other,
    ):
        id = (await server.admin.submit("20+22"))["id"]
        (task,) = (await agent.ask("GET", "/tasks", params={"wait": 10}))["tasks"]
        failure = {"attempt": task["attempt"], "error": {"code": "out_of_memory"}}
        path = f"/tasks/{task['task']}/result"
        for _ in range(3):
            await agent.ask("POST", path, json=failure)
        invented = {**failure, "attempt": task["attempt"] + 1}
        assert (await agent.problem("POST", path, status=409, json=invented))["type"] == "/problems/not_yours"
        await other.join()
        (again,) = await other.tasks(1)
        await other.answer(again)
        assert (await server.admin.final(id))["result"] == "42"


async def test_an_answer_that_says_nothing_names_no_type_of_it(database_url: str) -> None:
    async with leader_and_follower(database_url, **QUICK) as both:
        for one in both:
            async with one.client(AGENT) as agent:
                answer = await agent.http.get("/tasks")
                assert (answer.status_code, answer.content) == (204, b"")
                assert "Content-Type" not in answer.headers
                answer = await agent.http.get(f"{one.url}//tasks")
                assert answer.status_code == 404


async def test_an_expression_says_soon_that_a_pulling_agent_asks_no_more(server: Orchestrator) -> None:
    async with server.client(AGENT) as agent:
        assert (await agent.http.get("/tasks")).status_code == 204
        id = (await server.admin.submit("20+22"))["id"]

        async def says_so() -> bool:
            return "no agent is connected" in str((await server.admin.show(id))["waiting_for"])

        assert await until(says_so) < 3 * QUICK["grace_s"] + 1
