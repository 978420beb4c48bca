"""Two orchestrators on one database: the one that follows serves everything, as the one that leads would."""

import asyncio
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from curta_server import agents, following, forwarding, leadership, line, loader, presence, store
from curta_server.app import serve
from curta_server.feed import Feed, Watch
from curta_server.peer_frames import SUBPROTOCOL
from curta_server.peers import is_nowhere, peer_url
from curta_server.settings import Settings
from tests.integration.orchestrators import (
    Orchestrator,
    any_orchestrator,
    is_following,
    leader_and_follower,
    orchestrator,
)
from tests.support.client import Client
from tests.support.foreign import ForeignAgent
from tests.support.processes import ADMIN, AGENT, free_port
from tests.support.proxy import Proxy
from tests.support.waiting import until

SHORT: dict[str, Any] = {
    "heartbeat_s": 0.2,
    "idle_heartbeat_s": 0.5,
    "lease_s": 2.0,
    "grace_s": 1.0,
    "recovery_quiet_s": 0.2,
}


@pytest.fixture
async def two(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Orchestrator, Orchestrator]]:
    """Leader and follower. What a notice or the live connection tells must not have to wait for a poll."""
    monkeypatch.setattr(loader, "POLL_S", 30.0)
    async with leader_and_follower(database_url, **SHORT) as both:
        yield both


@pytest.fixture
def watches(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many requests have begun to wait, by expression; at all orchestrators together."""
    found: Counter[str] = Counter()
    watch = Feed.watch

    def counted(feed: Feed, expression: str) -> AbstractContextManager[Watch]:
        found[expression] += 1
        return watch(feed, expression)

    monkeypatch.setattr(Feed, "watch", counted)
    return found


async def holding(one: Orchestrator, text: str, slots: int = 1) -> tuple[ForeignAgent, str, list[Any]]:
    """An agent of that orchestrator's which has taken tasks of the expression `text`."""
    agent = one.agent(slots=slots)
    await agent.join()
    id = (await one.admin.submit(text))["id"]
    return agent, id, await agent.tasks(slots)


# --- looking


async def test_everything_that_is_asked_at_a_follower_is_what_the_leader_says(
    two: tuple[Orchestrator, Orchestrator],
) -> None:
    leader, follower = two
    await leader.admin.set_all_durations(60_000)
    agent, id, tasks = await holding(leader, "(1+2)*(3+4)", slots=2)
    waiting = (await leader.admin.submit("5/7"))["id"]
    final = (await leader.admin.submit("42"))["id"]
    async with agent:
        running = await leader.admin.show(id)
        assert running["status"] == "running" and running["tasks"]["running"] == 2 and running["eta_s"]
        for path in (
            f"/expressions/{id}",
            f"/expressions/{waiting}",
            f"/expressions/{final}",
            "/expressions?full=false",
            "/expressions?status=running&limit=1",
            f"/expressions/{id}/tasks",
            f"/expressions/{id}/tasks?root={id}.0",
            f"/expressions/{final}/tasks",
            "/operations",
            "/agents",
            "/agents?limit=x",
            "/tokens",
            "/session",
            f"/tasks/{id}.0/result",
            "/nowhere",
        ):
            await agent.beat(tasks)  # its lease is short
            here, there = [await one.admin.http.get(path) for one in two]
            assert there.status_code == here.status_code, path
            assert there.headers["content-type"] == here.headers["content-type"], path
            assert _steady(there.json()) == _steady(here.json()), path
        assert (await follower.admin.show(waiting))["waiting_for"] == "others are first"


def _steady(body: Any) -> Any:
    """An answer without what changes between two looks."""
    if isinstance(body, dict):
        return {
            name: _steady(value)
            for name, value in body.items()
            if name not in ("last_seen_s", "last_used_at")
        }
    return [_steady(item) for item in body] if isinstance(body, list) else body


async def test_an_expression_sent_again_to_a_follower_is_shown_as_it_stands(
    two: tuple[Orchestrator, Orchestrator],
) -> None:
    leader, follower = two
    agent = leader.agent()
    async with agent:
        await agent.join()
        first = await follower.admin.submit("1+2", id="mine")
        assert (first["status"], first["waiting_for"]) == ("queued", None)
        await agent.tasks(1)
        again = await follower.admin.submit("1+2", id="mine")
        assert again["id"] == first["id"]
        assert (again["status"], again["tasks"]["running"]) == ("running", 1)
        batch = await follower.admin.ask(
            "POST", "/expressions/batch", json={"expressions": [{"expression": "1+2", "id": "mine"}]}
        )
        assert batch["items"][0]["status"] == "running"


async def test_a_waiting_request_at_a_follower_ends_with_the_commit(
    two: tuple[Orchestrator, Orchestrator], watches: Counter[str]
) -> None:
    agent, id, tasks = await holding(two[0], "1+2")
    ended: list[float] = []

    async def wait(one: Orchestrator) -> None:
        assert (await one.admin.show(id, wait=20))["result"] == "3"
        ended.append(time.monotonic())

    async with agent, asyncio.TaskGroup() as group:
        for one in two:
            group.create_task(wait(one))
        await until(lambda: watches[id] == 2)
        await agent.answer(tasks[0])
    assert abs(ended[1] - ended[0]) < 0.1


# --- changing


async def test_cancelling_at_a_follower_frees_the_agents_slot_at_once(
    two: tuple[Orchestrator, Orchestrator],
) -> None:
    leader, follower = two
    await leader.admin.set_all_durations(60_000)
    agent, id, tasks = await holding(leader, "1+2")
    async with agent:
        other = (await follower.admin.submit("3+4"))["id"]
        # Not by the look into the table that goes with a new expression.
        await until(lambda: _has_loaded(leader, 2))
        cancelled = await follower.admin.ask("DELETE", f"/expressions/{id}")
        assert cancelled["status"] == "cancelled"
        frame = await agent.expect("cancel", within_s=1)
        assert [one["task"] for one in frame["tasks"]] == [tasks[0]["task"]]
        await agent.answer(tasks[0], error="cancelled")
        (following_one,) = await agent.tasks(1, within_s=1)
        assert following_one["task"].startswith(other)
    assert (await follower.admin.problem("DELETE", "/expressions/" + "0" * 8, status=404))["status"] == 404


async def _has_loaded(leader: Orchestrator, expressions: int) -> bool:
    return f"curta_expressions_loaded {expressions}.0" in (await leader.admin.http.get("/metrics")).text


async def test_whoever_waits_anywhere_learns_of_a_cancellation_at_once(
    two: tuple[Orchestrator, Orchestrator], watches: Counter[str]
) -> None:
    for canceller in two:
        id = (await canceller.admin.submit("1+2"))["id"]
        async with asyncio.timeout(3), asyncio.TaskGroup() as group:
            waits = [group.create_task(one.admin.show(id, wait=20)) for one in two]
            await until(lambda id=id: watches[id] == 2)  # type: ignore[misc]
            await canceller.admin.ask("DELETE", f"/expressions/{id}")
        assert [wait.result()["status"] for wait in waits] == ["cancelled"] * 2


async def test_a_duration_changed_at_a_follower_counts_for_the_next_task(
    two: tuple[Orchestrator, Orchestrator],
) -> None:
    leader, follower = two
    async with leader.agent() as agent:
        await agent.join()
        for duration_ms in (7, 0, 9):
            await follower.admin.set_durations(addition=duration_ms)
            id = (await follower.admin.submit(f"1+{duration_ms}"))["id"]
            (task,) = await agent.tasks(1)
            assert task["duration_ms"] == duration_ms
            await agent.answer(task)
            await follower.admin.final(id)


async def test_of_two_changes_of_a_duration_the_last_one_stays(
    two: tuple[Orchestrator, Orchestrator],
) -> None:
    leader, follower = two
    async with leader.agent() as agent:
        await agent.join()
        for at in range(10):
            await leader.admin.set_durations(addition=1 + at)
            await follower.admin.set_durations(addition=0)
        id = (await follower.admin.submit("1+2"))["id"]
        (task,) = await agent.tasks(1)
        assert task["duration_ms"] == 0
        await agent.answer(task)
        await follower.admin.final(id)


async def test_agents_are_drained_and_removed_through_a_follower(
    two: tuple[Orchestrator, Orchestrator],
) -> None:
    leader, follower = two
    async with leader.agent() as agent:
        await agent.join()
        answer = await follower.admin.ask("POST", f"/agents/{agent.id}/drain")
        assert answer == {"id": agent.id, "status": "draining"}
        await agent.expect("drain")
        assert (await follower.admin.agents())["foreign"]["status"] == "draining"
        assert (await follower.admin.ask("DELETE", f"/agents/{agent.id}"))["status"] == "removed"
        assert (await agent.closed())[0] == 4003
    for method, path in (("POST", "drain"), ("DELETE", "")):
        problem = await follower.admin.problem(
            method, f"/agents/00000000-0000-7000-8000-000000000000/{path}".rstrip("/"), status=404
        )
        assert problem["detail"] == "There is no agent with this id."


# --- agents


async def test_an_agent_that_asks_for_tasks_works_through_a_follower(
    two: tuple[Orchestrator, Orchestrator],
) -> None:
    _, follower = two
    async with follower.client(AGENT) as agent:
        assert (await agent.http.get("/tasks")).status_code == 204
        taking = asyncio.create_task(
            agent.ask("GET", "/tasks", params={"wait": 20, "operations": "addition"})
        )
        id = (await follower.admin.submit("1+2"))["id"]
        answer = await taking
        (task,) = answer["tasks"]
        assert (task["operands"], answer["lease_s"]) == (["1", "2"], 60)
        path = f"/tasks/{task['task']}"
        assert (await agent.ask("POST", f"{path}/lease"))["lease_s"] == 60
        assert (await agent.ask("POST", f"{path}/lease", json={"attempt": task["attempt"]}))["lease_s"] == 60
        wrong = {"attempt": task["attempt"] + 1, "value": "3"}
        problem = await agent.problem("POST", f"{path}/result", status=409, json=wrong)
        assert problem["type"] == "/problems/not_yours"
        await agent.problem("POST", f"{path}/result", status=415, content="3")
        await agent.ask("POST", f"{path}/result", json={"attempt": task["attempt"], "value": "3"})
        assert (await follower.admin.show(id))["result"] == "3"
        head = await agent.http.head("/tasks")
        assert (head.status_code, head.headers["allow"]) == (405, "GET")


async def test_who_may_not_ask_the_leader_may_not_ask_it_through_a_follower(
    two: tuple[Orchestrator, Orchestrator],
) -> None:
    _, follower = two
    async with Client(follower.url, "") as nobody, Client(follower.url, AGENT) as agent:
        answer = await nobody.http.get("/agents")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="curta"')
        await agent.problem("GET", "/agents", status=403)
    _, secret = await follower.admin.make_token("anna", "user")
    async with Client(follower.url, secret) as anna:
        await anna.problem("POST", f"/agents/{'0' * 8}-0000-7000-8000-{'0' * 12}/drain", status=403)
        assert (await anna.ask("GET", "/agents"))["items"] == []


async def test_an_agent_that_dials_a_follower_is_sent_to_the_leader(
    two: tuple[Orchestrator, Orchestrator], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = two
    async with follower.agent() as agent:
        await agent.open()
        await agent.hello()
        assert await agent.receive() == {"type": "redirect", "url": leader.url}
        agent.url = leader.agent().url
        welcome = await agent.join()
        assert welcome["peers"][0] == leader.url
    monkeypatch.setattr(agents, "GO_S", 0.1)
    async with follower.agent() as stubborn:
        await stubborn.open()
        await stubborn.hello()
        assert (await stubborn.closed())[0] == 1013
    for hello in ({"protocol": 2}, {"protocol": 2, "agent": None, "slots": {"cpu": 4}}):
        async with follower.agent() as foreign:
            await foreign.open()
            await foreign.hello(**hello)
            assert (await foreign.closed())[0] == 4000
    async with follower.agent() as early:
        await early.open()
        await early.send("greeting")
        await early.hello()
        assert await early.receive() == {"type": "redirect", "url": leader.url}
    for secret, status in ((ADMIN, 403), ("wrong", 401)):
        with pytest.raises(InvalidStatus) as refused:
            await follower.agent(secret=secret).open()
        assert refused.value.response.status_code == status


async def test_an_agent_learns_of_all_orchestrators_and_only_of_those_that_are_there(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "EVERY_S", 0.1)
    async with leader_and_follower(database_url, **SHORT) as (leader, follower):

        async def peers() -> list[str]:
            async with leader.agent() as agent:
                found: list[str] = (await agent.join())["peers"]
                return found

        async def knows_both() -> bool:
            return await peers() == [leader.url, follower.url]

        async def knows_itself() -> bool:
            return await peers() == [leader.url]

        await until(knows_both)
        await follower.stop()
        await until(knows_itself)


# --- when the leader changes, or is silent


async def test_when_the_leader_stops_the_follower_leads_and_goes_on_serving(
    two: tuple[Orchestrator, Orchestrator], watches: Counter[str]
) -> None:
    leader, follower = two
    await leader.admin.set_all_durations(60_000)
    agent, id, tasks = await holding(leader, "1+2")
    waiting = asyncio.create_task(follower.admin.show(id, wait=30))
    async with agent:
        await until(lambda: watches[id] == 1)
        await leader.stop()
        took = await until(follower.is_leading)
        assert took < 3
        agent.url = follower.agent().url
        assert (await agent.join(held=tasks))["type"] == "welcome"

        async def runs_again() -> bool:
            return bool((await follower.admin.show(id))["tasks"]["running"] == 1)

        await until(runs_again)
        assert list(await follower.admin.agents()) == ["foreign"]
        await agent.answer(tasks[0])
        assert (await waiting)["result"] == "3"


async def test_a_follower_follows_the_next_leader(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "POLL_S", 0.1)
    async with leader_and_follower(database_url, **SHORT) as (first, second):
        await first.stop()
        await until(second.is_leading)
        async with any_orchestrator(database_url, **SHORT) as third:
            await until(lambda: is_following(third))
            id = (await third.admin.submit("1+2"))["id"]
            await until(lambda: _waits_for(third, id, "no agent is connected"))


async def _waits_for(one: Orchestrator, id: str, reason: str) -> bool:
    return bool((await one.admin.show(id))["waiting_for"] == reason)


async def test_a_leader_that_does_not_answer_costs_a_bounded_time_and_the_table_is_shown(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "ANSWER_S", 0.5)
    monkeypatch.setattr(line, "ASK_S", 0.3)
    port = free_port()
    with Proxy(("127.0.0.1", port)) as proxy:
        reached = {"port": port, "peer_url": f"http://127.0.0.1:{proxy.port}"}
        async with leader_and_follower(database_url, leader_settings=reached, **SHORT) as (leader, follower):
            agent, id, tasks = await holding(leader, "1+2")
            async with agent:
                assert (await follower.admin.show(id))["status"] == "running"
                proxy.hold()
                began = time.monotonic()
                shown = await follower.admin.show(id)
                assert time.monotonic() - began < 1.0
                assert shown["waiting_for"] == "the leader cannot be asked at the moment"
                assert (shown["eta_s"], shown["tasks"]["running"]) == (None, 0)
                began = time.monotonic()
                refused = await follower.admin.http.get("/agents")
                assert time.monotonic() - began < 1.5
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert refused.json()["detail"] == "The leader does not answer at the moment."
                # Once in vain is enough: others are not kept waiting.
                began = time.monotonic()
                assert len((await follower.admin.ask("GET", "/expressions"))["items"]) == 1
                assert time.monotonic() - began < 0.25
                # A waiting request ends though nobody tells it.
                waiting = asyncio.create_task(follower.admin.show(id, wait=20))
                await agent.answer(tasks[0])
                async with asyncio.timeout(8):
                    assert (await waiting)["result"] == "3"
                proxy.release()
                await until(lambda: is_following(follower))
                assert len(await follower.admin.agents()) == 1


async def test_an_end_that_came_while_the_connection_was_cut_is_told_after_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch, watches: Counter[str]
) -> None:
    monkeypatch.setattr(following, "POLL_S", 60.0)
    port = free_port()
    with Proxy(("127.0.0.1", port)) as proxy:
        reached = {"port": port, "peer_url": f"http://127.0.0.1:{proxy.port}"}
        async with leader_and_follower(database_url, leader_settings=reached, **SHORT) as (leader, follower):
            agent, id, tasks = await holding(leader, "1+2")
            async with agent:
                waiting = asyncio.create_task(follower.admin.show(id, wait=20))
                await until(lambda: watches[id] == 1)
                proxy.hold()
                await agent.answer(tasks[0])
                await leader.admin.final(id)
                assert not waiting.done()
                proxy.cut()
                proxy.release()
                async with asyncio.timeout(5):
                    assert (await waiting)["result"] == "3"


async def ask_table(database_url: str, statement: str) -> Any:
    connection = await store.connect(database_url, name="curta test", statement_timeout_s=5)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_followers_are_let_go_when_the_term_ends(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "BEAT_S", 0.1)
    async with orchestrator(database_url, **SHORT) as leader:
        secret = await ask_table(database_url, "SELECT secret FROM leadership")
        connection = await connect(
            leader.url.replace("http", "ws", 1) + "/peers/connect",
            additional_headers={"Authorization": f"Bearer {secret}"},
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            proxy=None,
        )
        await ask_table(
            database_url, "UPDATE leadership SET epoch = epoch + 1, leader = NULL RETURNING epoch"
        )
        async with asyncio.timeout(2):
            with pytest.raises(ConnectionClosed):
                while True:
                    await connection.recv()
        await until(leader.is_leading)
        assert await ask_table(database_url, "SELECT secret FROM leadership") not in (secret, None)


async def test_nobody_but_an_orchestrator_may_follow(
    two: tuple[Orchestrator, Orchestrator], database_url: str
) -> None:
    leader, follower = two
    secret = await ask_table(database_url, "SELECT secret FROM leadership")

    async def status(url: str, bearer: str | None, subprotocol: str = SUBPROTOCOL) -> int:
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        try:
            connection = await connect(
                url.replace("http", "ws", 1) + "/peers/connect",
                additional_headers=headers,
                subprotocols=[Subprotocol(subprotocol)],
                proxy=None,
            )
        except InvalidStatus as refused:
            return refused.response.status_code
        await connection.close()
        return 101

    assert len(secret) >= 43
    assert secret not in (await leader.admin.http.get("/metrics")).text
    assert await status(leader.url, secret) == 101
    assert await status(leader.url, ADMIN) == 401
    assert await status(leader.url, secret[:-1]) == 401
    assert await status(leader.url, None) == 401
    assert await status(leader.url, secret, "curta.agent.v1") == 400
    assert await status(follower.url, secret) == 503
    async with Client(leader.url, secret) as client:
        await client.problem("GET", "/expressions", status=401)
    plain = await leader.admin.http.get("/peers/connect")
    assert plain.status_code == 400


async def test_a_request_that_was_passed_on_is_not_passed_on_again(
    two: tuple[Orchestrator, Orchestrator],
) -> None:
    _, follower = two
    answer = await follower.admin.http.get("/agents", headers={"Curta-Forwarded": "1"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_peer_url_that_leads_back_to_the_follower_does_not_go_round_in_circles(
    database_url: str,
) -> None:
    port = free_port()
    async with (
        orchestrator(database_url, peer_url=f"http://127.0.0.1:{port}", **SHORT),
        any_orchestrator(database_url, port=port, **SHORT) as follower,
    ):
        began = time.monotonic()
        answer = await follower.admin.http.get("/agents")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["detail"].startswith("This orchestrator does not lead")
        assert time.monotonic() - began < 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings of a server with a certificate for 127.0.0.1 that vouches for itself."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        (
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", str(key), "-out", str(cert),
        ),
        check=True, capture_output=True,
    )  # fmt: skip
    return {"tls_cert": str(cert), "tls_key": str(key)}


async def test_orchestrators_speak_to_each_other_by_tls_and_to_whom_they_trust_only(
    database_url: str, certificate: dict[str, str]
) -> None:
    trusting = {**SHORT, **certificate, "peer_ca": certificate["tls_cert"]}
    async with leader_and_follower(database_url, **trusting) as (leader, follower):
        assert leader.url.startswith("https:")
        assert await follower.admin.agents() == {}
        id = (await follower.admin.submit("1+2"))["id"]
        await until(lambda: _waits_for(follower, id, "no agent is connected"))
        async with any_orchestrator(database_url, **SHORT, **certificate) as wary:
            refused = await wary.admin.http.get("/agents")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert await _waits_for(wary, id, "the leader cannot be asked at the moment")


async def test_an_orchestrator_whose_certificates_cannot_be_read_says_so_and_does_not_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert await serve(Settings(peer_ca="/nowhere/to/be/found.pem")) == 1
    assert "the orchestrator cannot start" in capsys.readouterr().out


def test_where_an_orchestrator_is_reached_unless_it_is_told() -> None:
    assert peer_url(Settings(host="::1", port=9)) == "http://[::1]:9"
    assert peer_url(Settings(tls_cert="c", public_url="")) == "https://127.0.0.1:8080"
    assert peer_url(Settings(public_url="https://curta.example.org")) == "https://curta.example.org"
    both = Settings(public_url="https://curta.example.org", peer_url="http://10.0.0.7:8080")
    assert peer_url(both) == "http://10.0.0.7:8080"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://0.0.0.0:8080", True),
        ("https://[::]:8080", True),
        ("http://:8080", True),
        ("http://127.0.0.1:8080", False),
        ("http://[::1]:8080", False),
        ("https://curta.example.org", False),
    ],
)
def test_an_address_that_means_every_interface_is_nobody_s(url: str, expected: bool) -> None:
    assert is_nowhere(url) is expected


async def test_the_log_warns_of_an_address_that_no_other_machine_can_use(database_url: str) -> None:
    for settings, warnings in (({}, 1), ({"peer_url": "http://10.0.0.7:8080"}, 0)):
        with capture_logs() as logs:
            async with any_orchestrator(database_url, host="0.0.0.0", **settings):
                pass
        found = [log for log in logs if "CURTA_PEER_URL" in log["event"]]
        assert [log["log_level"] for log in found] == ["warning"] * warnings
