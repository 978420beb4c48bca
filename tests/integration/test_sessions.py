"""Sessions of agents that are not ours, with the real orchestrator: handshake, work, leaving, and the codes
with which a session is closed."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.orchestrators import Orchestrator, orchestrator
from tests.support.foreign import SUBPROTOCOL, ForeignAgent, compute, named
from tests.support.processes import ADMIN, AGENT
from tests.support.waiting import until


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Orchestrator]:
    async with orchestrator(
        database_url,
        heartbeat_s=0.2,
        idle_heartbeat_s=0.5,
        lease_s=1.0,
        grace_s=0.5,
        hello_timeout_s=0.5,
        recovery_quiet_s=0.5,
    ) as running:
        yield running


async def submitted(server: Orchestrator, text: str) -> str:
    id: str = (await server.admin.submit(text))["id"]
    return id


# --- work


async def test_a_foreign_agent_computes_an_expression(server: Orchestrator) -> None:
    async with server.agent(slots=2) as agent:
        welcome = await agent.join()
        assert welcome == {
            "type": "welcome",
            "heartbeat_s": 0.2,
            "idle_heartbeat_s": 0.5,
            "lease_s": 1.0,
            "keep": [],
            "drop": [],
            "peers": [server.url],
        }
        await server.admin.set_all_durations(5)
        id = await submitted(server, "(1+2)*(3-4)")
        tasks = await agent.tasks(2)
        assert {task["operation"]: task["operands"] for task in tasks} == {
            "addition": ["1", "2"],
            "subtraction": ["3", "4"],
        }
        assert all(task["duration_ms"] == 5 for task in tasks)
        for task in tasks:
            await agent.answer(task)
        (last,) = await agent.tasks(1)
        assert (last["operation"], sorted(last["operands"])) == ("multiplication", ["-1", "3"])
        await agent.answer(last)
        for task in (*tasks, last):
            await agent.acked(task)
        ended = await server.admin.show(id)
        assert (ended["status"], ended["result"]) == ("done", "-3")


async def test_never_more_tasks_come_than_there_are_slots(server: Orchestrator) -> None:
    async with server.agent(slots=3) as agent:
        await agent.join()
        await submitted(server, "(1+2)*(3+4)*(5+6)*(7+8)*(9+10)")
        tasks = await agent.tasks(3)
        await agent.beat(tasks)
        assert (await agent.receive()) == {"type": "ack", "tasks": []}
        await agent.answer(tasks[0])
        await agent.tasks(1)


async def test_every_heartbeat_is_answered(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.join()
        for _ in range(3):
            await agent.beat()
            assert await agent.receive(within_s=1) == {"type": "ack", "tasks": []}


async def test_heartbeats_that_come_together_are_answered_one_by_one(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.join()
        await asyncio.gather(*(agent.beat() for _ in range(20)))
        for _ in range(20):
            assert await agent.receive(within_s=1) == {"type": "ack", "tasks": []}


async def test_a_type_or_a_field_that_is_not_known_is_ignored(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.open()
        await agent.hello(color="green", operations=["addition", "exponentiation"])
        await agent.expect("welcome")
        await agent.send("greeting", held=17)
        await agent.beat()
        await agent.expect("ack")
        agents = await server.admin.agents()
        assert agents["foreign"]["operations"] == ["addition"]


@pytest.mark.parametrize(
    ("offered", "understood"),
    [
        ([], ["addition", "subtraction", "multiplication", "division"]),
        (["exponentiation"], []),
        (["division", "exponentiation", "addition"], ["addition", "division"]),
    ],
)
async def test_no_operations_in_hello_mean_all_of_them_and_unknown_ones_mean_none(
    server: Orchestrator, offered: list[str], understood: list[str]
) -> None:
    async with server.agent(operations=offered) as agent:
        await agent.join()
        assert (await server.admin.agents())["foreign"]["operations"] == understood


async def test_an_agent_may_say_what_is_not_known_before_its_hello(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.open()
        await agent.send("greeting", held=17)
        await agent.hello()
        await agent.expect("welcome")


async def test_an_agent_with_more_slots_than_the_server_gives_is_told_of_in_the_log(
    database_url: str,
) -> None:
    def warnings(logs: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
        return [(log["slots"], log["served"]) for log in logs if "CURTA_SLOTS_MAX" in log["event"]]

    async with orchestrator(database_url, slots_max=3) as server:
        for slots, expected in ((3, []), (4, [(4, 3)])):
            with capture_logs() as logs:
                async with server.agent(slots=slots) as agent:
                    await agent.join()
                    await agent.beat()
                    await agent.expect("ack")
            assert warnings(logs) == expected


async def test_a_result_sent_twice_is_acknowledged_twice_and_stored_once(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.join()
        id = await submitted(server, "20+22")
        (task,) = await agent.tasks(1)
        await agent.answer(task)
        await agent.acked(task)
        await agent.answer(task, "43")
        await agent.acked(task)
        assert (await server.admin.show(id))["result"] == "42"


async def test_a_result_of_somebody_else_s_attempt_changes_nothing(server: Orchestrator) -> None:
    async with server.agent(name="one") as one, server.agent(name="two") as two:
        await one.join()
        id = await submitted(server, "20+22")
        (task,) = await one.tasks(1)
        await two.join()
        await two.answer(task, "43")
        await two.beat()
        await two.expect("ack")
        assert (await server.admin.show(id))["status"] == "running"
        await one.answer(task)
        assert (await server.admin.final(id))["result"] == "42"


async def test_only_what_an_agent_offers_is_handed_to_it(server: Orchestrator) -> None:
    async with server.agent(operations=["addition"]) as agent:
        await agent.join()
        id = await submitted(server, "(1+2)/4")
        (task,) = await agent.tasks(1)
        await agent.answer(task)
        await agent.acked(task)

        async def says_why() -> bool:
            shown = await server.admin.show(id)
            return bool(shown["waiting_for"] and "no agent offers division" in shown["waiting_for"])

        await until(says_why)
        async with server.agent(name="divider", operations=["division"]) as divider:
            await divider.join()
            (task,) = await divider.tasks(1)
            await divider.answer(task)
            assert (await server.admin.final(id))["result"] == "0.75"


async def test_an_expression_says_that_no_agent_is_connected(server: Orchestrator) -> None:
    id = await submitted(server, "1+2")
    shown = await server.admin.show(id)
    assert shown["status"] == "queued"
    assert "no agent is connected" in shown["waiting_for"]
    async with server.agent() as agent:
        await agent.join()
        (task,) = await agent.tasks(1)
        shown = await server.admin.show(id)
        assert (shown["status"], shown["waiting_for"], shown["tasks"]["running"]) == ("running", None, 1)
        await agent.answer(task)
        await server.admin.final(id)


# --- errors of agents


@pytest.mark.parametrize("code", ["division_by_zero", "too_large"])
async def test_an_error_that_is_a_result_ends_the_expression(server: Orchestrator, code: str) -> None:
    async with server.agent() as agent:
        await agent.join()
        id = await submitted(server, "1/3")
        (task,) = await agent.tasks(1)
        await agent.answer(task, error=code)
        ended = await server.admin.final(id)
        assert (ended["status"], ended["error"]["code"], ended["error"]["task"]) == (
            "failed",
            code,
            task["task"],
        )
        await agent.acked(task)


@pytest.mark.parametrize("how", ["error", "not a number", "not reduced"])
async def test_the_third_failure_of_a_task_fails_the_expression(server: Orchestrator, how: str) -> None:
    async with server.agent() as agent:
        await agent.join()
        id = await submitted(server, "1/3")
        for _ in range(3):
            assert (await server.admin.show(id))["status"] in ("queued", "running")
            (task,) = await agent.tasks(1)
            if how == "error":
                await agent.answer(task, error="out_of_memory")
            else:
                await agent.answer(task, "a third" if how == "not a number" else "2/6")
        ended = await server.admin.final(id)
        assert (ended["status"], ended["error"]["code"]) == ("failed", "agents_failed")


async def test_a_failed_task_goes_to_another_agent(server: Orchestrator) -> None:
    async with server.agent(name="bad") as bad:
        await bad.join()
        id = await submitted(server, "20+22")
        (task,) = await bad.tasks(1)
        async with server.agent(name="good") as good:
            await good.join()
            await bad.answer(task, error="broken")
            (again,) = await good.tasks(1)
            assert again["task"] == task["task"]
            assert again["attempt"] > task["attempt"]
            await good.answer(again)
            assert (await server.admin.final(id))["result"] == "42"


# --- leaving and coming back


async def test_what_an_agent_held_when_it_was_cut_goes_on_when_it_comes_back(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.join()
        id = await submitted(server, "20+22")
        (task,) = await agent.tasks(1)
        await agent.cut()
        welcome = await agent.join(held=[named(task)])
        assert (welcome["keep"], welcome["drop"]) == ([named(task)], [])
        await agent.answer(task)
        ended = await server.admin.final(id)
        assert ended["result"] == "42"
        (shown,) = await server.admin.tasks(id)
        assert shown["attempt"] == task["attempt"]


async def test_an_attempt_that_nobody_wants_is_dropped(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.join()
        id = await submitted(server, "20+22")
        (task,) = await agent.tasks(1)
        await agent.cut()
        await server.admin.ask("DELETE", f"/expressions/{id}")
        welcome = await agent.join(held=[named(task)])
        if welcome["drop"] != [named(task)]:
            assert (await agent.expect("cancel"))["tasks"] == [named(task)]


async def test_the_tasks_of_a_closed_agent_run_elsewhere_after_its_grace(server: Orchestrator) -> None:
    async with server.agent(name="leaver") as leaver, server.agent(name="stayer") as stayer:
        await leaver.join()
        id = await submitted(server, "20+22")
        await leaver.tasks(1)
        await stayer.join()
        await leaver.cut()
        began = time.monotonic()
        (task,) = await stayer.tasks(1)
        assert 0.4 < time.monotonic() - began < 1.5
        await stayer.answer(task)
        assert (await server.admin.final(id))["result"] == "42"
        # It comes back late, with a result that is no longer wanted.
        await leaver.join(held=[named(task)])


async def test_the_tasks_of_a_silent_agent_run_elsewhere_after_its_lease(server: Orchestrator) -> None:
    async with server.agent(name="silent") as silent, server.agent(name="other") as other:
        await silent.join()
        id = await submitted(server, "20+22")
        (held,) = await silent.tasks(1)
        await other.join()
        serving = asyncio.create_task(other.serve())
        assert await silent.closed(within_s=4) == (1001, "nothing heard for 1 s")
        assert (await server.admin.final(id))["result"] == "42"
        welcome = await silent.join(held=[named(held)])
        assert welcome["drop"] == [named(held)] or (await silent.expect("cancel"))["tasks"] == [named(held)]
        serving.cancel()


async def test_an_agent_that_beats_may_take_as_long_as_it_likes(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.join()
        id = await submitted(server, "20+22")
        (task,) = await agent.tasks(1)
        began = time.monotonic()

        async def long_enough() -> bool:
            await agent.beat([task])
            await agent.expect("ack")
            return time.monotonic() - began > 2.5

        await until(long_enough)
        await agent.answer(task)
        ended = await server.admin.final(id)
        assert ended["result"] == "42"
        assert (await server.admin.tasks(id))[0]["attempt"] == task["attempt"]


async def test_a_task_that_was_seen_and_is_not_held_is_handed_out_again(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.join()
        id = await submitted(server, "20+22")
        (lost,) = await agent.tasks(1)
        await agent.beat([], seen=0)
        await agent.expect("ack")
        await agent.beat([], seen=1)
        (again,) = await agent.tasks(1)
        assert again["task"] == lost["task"] and again["attempt"] > lost["attempt"]
        await agent.answer(again)
        await server.admin.final(id)


async def test_after_bye_what_is_held_is_ready_at_once(server: Orchestrator) -> None:
    async with server.agent(name="leaver") as leaver, server.agent(name="stayer") as stayer:
        await leaver.join()
        id = await submitted(server, "20+22")
        await leaver.tasks(1)
        await stayer.join()
        began = time.monotonic()
        await leaver.send("bye")
        (task,) = await stayer.tasks(1)
        assert time.monotonic() - began < 0.4, "it waited for the grace"
        await stayer.answer(task)
        await server.admin.final(id)


async def test_a_result_before_bye_is_acknowledged_before_the_connection_ends(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.join()
        id = await submitted(server, "20+22")
        (task,) = await agent.tasks(1)
        await agent.answer(task)
        await agent.send("bye")
        await agent.acked(task)
        assert (await server.admin.final(id))["result"] == "42"


async def test_a_cancelled_expression_stops_its_tasks_and_frees_the_slot(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.join()
        id = await submitted(server, "1+2")
        (task,) = await agent.tasks(1)
        other = await submitted(server, "20+22")
        await server.admin.ask("DELETE", f"/expressions/{id}")
        assert (await agent.expect("cancel", within_s=1))["tasks"] == [named(task)]
        await agent.answer(task, error="cancelled")
        (next_task,) = await agent.tasks(1)
        assert next_task["task"].startswith(other)
        await agent.answer(next_task)
        assert (await server.admin.final(other))["result"] == "42"


async def test_a_draining_agent_finishes_what_it_has_and_gets_no_more(server: Orchestrator) -> None:
    async with server.agent(slots=2) as agent, server.agent(name="other") as other:
        await agent.join()
        id = await submitted(server, "1+2")
        (task,) = await agent.tasks(1)
        await server.admin.ask("POST", f"/agents/{agent.id}/drain")
        await agent.expect("drain", within_s=1)
        assert (await server.admin.agents())["foreign"]["status"] == "draining"
        next_id = await submitted(server, "20+22")
        await agent.answer(task)
        await agent.acked(task)
        assert (await server.admin.final(id))["result"] == "3"
        assert (await server.admin.show(next_id))["status"] == "queued"
        # Also when it comes back.
        await agent.cut()
        await agent.join()
        await agent.expect("drain")
        await other.join()
        (task,) = await other.tasks(1)
        assert task["task"].startswith(next_id)
        await other.answer(task)
        assert (await server.admin.final(next_id))["result"] == "42"


# --- the handshake


async def refusal(url: str, secret: str | None, **options: Any) -> tuple[int, dict[str, Any], Any]:
    """The answer to a handshake that is refused: status, problem, headers."""
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    options.setdefault("subprotocols", [SUBPROTOCOL])
    with pytest.raises(InvalidStatus) as refused:
        await connect(url.replace("http", "ws", 1) + "/agents/connect", additional_headers=headers, **options)
    response = refused.value.response
    return response.status_code, json.loads(response.body or b"{}"), response.headers


async def test_a_handshake_without_the_right_token_role_or_subprotocol_is_refused(
    server: Orchestrator,
) -> None:
    status, problem, headers = await refusal(server.url, None)
    assert (status, problem["type"]) == (401, "/problems/unauthorized")
    assert headers["WWW-Authenticate"].startswith("Bearer")
    status, problem, _ = await refusal(server.url, "wrong")
    assert status == 401
    status, problem, _ = await refusal(server.url, ADMIN)
    assert (status, problem["type"]) == (403, "/problems/forbidden")
    status, problem, _ = await refusal(server.url, AGENT, subprotocols=None)
    assert (status, problem["type"]) == (400, "/problems/malformed")
    status, problem, _ = await refusal(server.url, AGENT, subprotocols=["curta.agent.v2"])
    assert status == 400


async def test_the_subprotocol_is_confirmed_and_compression_is_not(server: Orchestrator) -> None:
    async with connect(
        server.url.replace("http", "ws", 1) + "/agents/connect",
        additional_headers={"Authorization": f"Bearer {AGENT}"},
        subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
        compression="deflate",
    ) as connection:
        assert connection.subprotocol == SUBPROTOCOL
        assert connection.response is not None
        assert "Sec-WebSocket-Extensions" not in connection.response.headers


async def test_more_agents_than_can_be_served_are_told_to_come_again(database_url: str) -> None:
    async with orchestrator(database_url, agents_max=1) as server, server.agent() as agent:
        await agent.join()
        status, problem, headers = await refusal(server.url, AGENT)
        assert (status, problem["type"]) == (503, "/problems/unavailable")
        assert int(headers["Retry-After"]) >= 1


# --- how sessions are closed

TOO_BIG = json.dumps({"type": "greeting", "text": "x" * (4 * 1024 * 1024)})
MALFORMED = {
    "binary": (b"{}", 1003),
    "no JSON": ("hello?", 1007),
    "no object": ("[1, 2]", 1007),
    "no type": ('{"held": []}', 1007),
    "wrong type of a field": ('{"type": "heartbeat", "held": 5, "seen": 0}', 1007),
    "a missing field": ('{"type": "heartbeat"}', 1007),
    "neither value nor error": ('{"type": "results", "results": [{"task": "a.1", "attempt": 1}]}', 1007),
    "deeply nested": ("[" * 100_000, 1007),
    "lone surrogate": (
        '{"type": "results", "results": [{"task": "\\ud800", "attempt": 1, "value": "1"}]}',
        1007,
    ),
    "too big": (TOO_BIG, 1009),
    "a second hello": (None, 1008),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_frame_ends_the_session_and_its_tasks_go_elsewhere(
    server: Orchestrator, name: str
) -> None:
    data, code = MALFORMED[name]
    async with server.agent(name="broken") as broken, server.agent(name="other") as other:
        await broken.join()
        id = await submitted(server, "20+22")
        await broken.tasks(1)
        await other.join()
        if data is None:
            await broken.hello()
        else:
            # What is too big may be refused before it is sent whole.
            with suppress(ConnectionClosed):
                await broken.connection.send(data)
        closed_code, reason = await broken.closed(within_s=3)
        assert closed_code == code
        assert reason or code == 1009
        (task,) = await other.tasks(1, within_s=3)
        await other.answer(task)
        assert (await server.admin.final(id))["result"] == "42"


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ('{"type": "heartbeat", "held": [], "seen": 0}', 1008),
        ('{"type": "greeting"}', 1008),
        ("hello", 1007),
        (b"hello", 1003),
        ('{"type": "hello", "protocol": 1, "agent": "me", "name": "me", "slots": 1}', 1007),
        ('{"type": "hello", "protocol": 1, "agent": "%s", "name": "me", "slots": 0}', 1007),
        ('{"type": "hello", "protocol": 2, "agent": "%s", "name": "me", "slots": 1}', 4000),
        ('{"type": "hello", "protocol": 2}', 4000),
        ('{"type": "hello", "protocol": 3, "agent": 7, "slots": "as many as you like"}', 4000),
        ('{"type": "hello", "agent": "%s", "name": "me", "slots": 1}', 1007),
    ],
)
async def test_a_first_frame_that_is_no_proper_hello_is_refused(
    server: Orchestrator, first: str | bytes, code: int
) -> None:
    async with server.agent() as agent:
        await agent.open()
        await agent.connection.send(first.replace("%s", agent.id) if isinstance(first, str) else first)
        closed_code, reason = await agent.closed(within_s=3)
        assert closed_code == code and reason
        assert await server.admin.agents() == {}


async def test_who_says_no_hello_in_time_is_sent_away(server: Orchestrator) -> None:
    async with server.agent() as agent:
        await agent.open()
        code, reason = await agent.closed(within_s=3)
        assert (code, reason) == (1008, "no hello within 0.5 s")


async def test_a_newer_connection_of_the_same_agent_replaces_the_older(server: Orchestrator) -> None:
    async with server.agent() as older, server.agent(agent=older.id) as newer:
        await older.join()
        id = await submitted(server, "20+22")
        (task,) = await older.tasks(1)
        welcome = await newer.join(held=[named(task)])
        assert welcome["keep"] == [named(task)]
        assert (await older.closed(within_s=2))[0] == 4002
        await newer.answer(task)
        assert (await server.admin.final(id))["result"] == "42"


async def test_a_hello_that_comes_late_with_the_end_of_its_connection_replaces_nothing(
    server: Orchestrator,
) -> None:
    async with server.agent() as current:
        await current.join()
        for written in (current.id, current.id.upper(), current.id.replace("-", "")):
            late = current.twin()
            await late.open()
            await late.hello(agent=written)
            await late.cut()
        id = await submitted(server, "20+22")
        (task,) = await current.tasks(1)
        await current.answer(task)
        assert (await server.admin.final(id))["result"] == "42"
        await current.beat()
        await current.acked(task)


async def test_the_same_agent_with_another_token_cannot_take_over(server: Orchestrator) -> None:
    _, secret = await server.admin.make_token("others", "agent")
    async with server.agent() as first, server.agent(agent=first.id, secret=secret) as thief:
        await first.join()
        await thief.open()
        await thief.hello()
        assert (await thief.closed(within_s=2))[0] == 4002
        await first.beat()
        await first.expect("ack")


async def test_nor_while_the_agent_may_come_back(server: Orchestrator) -> None:
    _, secret = await server.admin.make_token("others", "agent")
    async with server.agent() as first:
        await first.join()
    async with server.agent(agent=first.id, secret=secret) as thief:
        await thief.open()
        await thief.hello()
        assert (await thief.closed(within_s=2))[0] == 1013
    async with server.agent(agent=first.id) as back:
        await back.join()
    await until(server.admin.sees_one_lost)
    async with server.agent(agent=first.id, secret=secret) as heir:
        await heir.join()


async def test_a_revoked_token_ends_its_sessions_within_a_second(server: Orchestrator) -> None:
    id, secret = await server.admin.make_token("others", "agent")
    async with server.agent(secret=secret) as agent, server.agent(name="other") as other:
        await agent.join()
        expression = await submitted(server, "20+22")
        await agent.tasks(1)
        await other.join()
        began = time.monotonic()
        await server.admin.ask("DELETE", f"/tokens/{id}", status=200)
        code, reason = await agent.closed(within_s=3)
        assert code == 4001 and reason
        assert time.monotonic() - began < 1.3
        status, _, _ = await refusal(server.url, secret)
        assert status == 401
        (task,) = await other.tasks(1)
        await other.answer(task)
        assert (await server.admin.final(expression))["result"] == "42"


async def test_a_removed_agent_goes_at_once_and_is_not_let_in_again_soon(server: Orchestrator) -> None:
    async with server.agent() as agent, server.agent(name="other") as other:
        await agent.join()
        id = await submitted(server, "20+22")
        await agent.tasks(1)
        await other.join()
        began = time.monotonic()
        await server.admin.ask("DELETE", f"/agents/{agent.id}")
        assert (await agent.closed(within_s=1))[0] == 4003
        (task,) = await other.tasks(1)
        assert time.monotonic() - began < 0.45, "it waited for the grace"
        await other.answer(task)
        await server.admin.final(id)
        await agent.open()
        await agent.hello()
        assert (await agent.closed(within_s=1))[0] == 4003


async def test_an_orderly_stop_tells_the_agents_to_come_again(database_url: str) -> None:
    async with ForeignAgent("", AGENT) as agent:
        async with orchestrator(database_url) as server:
            agent.url = server.agent().url
            await agent.join()
            id = await submitted(server, "20+22")
            (task,) = await agent.tasks(1)
        code, _ = await agent.closed(within_s=2)
        assert code == 1012
        async with orchestrator(database_url) as server:
            agent.url = server.agent().url
            welcome = await agent.join(held=[named(task)])
            assert welcome["drop"] == []
            await agent.send("results", results=[{**named(task), "value": compute(task)}])
            await agent.acked(task)
            assert (await server.admin.final(id))["result"] == "42"
            assert (await server.admin.tasks(id))[0]["attempt"] == task["attempt"]


# --- what is no WebSocket, and no HTTP


async def test_the_agents_endpoint_says_what_it_is_to_a_plain_request(server: Orchestrator) -> None:
    async with server.client(AGENT) as agent:
        problem = await agent.problem("GET", "/agents/connect", status=400)
        assert SUBPROTOCOL in problem["detail"]


async def test_what_is_no_http_gets_a_problem_like_any_other_mistake(server: Orchestrator) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"BREW /coffee HTTP/1.1\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 400 ") and b"application/problem+json" in head
    assert json.loads(body)["type"] == "/problems/malformed"
