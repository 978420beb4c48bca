"""The browsers' WebSocket with real orchestrators: who comes in, what is shown, and to whom."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from curta_server import channel, dispatcher, live, rooms, viewers
from tests.integration.orchestrators import Orchestrator, leader_and_follower, orchestrator
from tests.support.live import SUBPROTOCOL, LiveClient, Shown
from tests.support.processes import ADMIN, AGENT
from tests.support.waiting import until

SHORT: dict[str, Any] = {"heartbeat_s": 0.2, "idle_heartbeat_s": 0.5, "lease_s": 2.0, "grace_s": 1.0}


@pytest.fixture
async def server(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Orchestrator]:
    """What is told of changes must not have to wait for the slow refresh."""
    monkeypatch.setattr(rooms, "SLOW_S", 60.0)
    async with orchestrator(database_url, **SHORT) as running:
        yield running


async def refusal(url: str, **options: Any) -> int:
    """The status with which a handshake is refused."""
    options.setdefault("subprotocols", [Subprotocol(SUBPROTOCOL)])
    with pytest.raises(InvalidStatus) as refused:
        await connect(url.replace("http", "ws", 1) + "/live", proxy=None, **options)
    assert refused.value.response.headers["Content-Type"] == "application/problem+json"
    return refused.value.response.status_code


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def session_cookie(server: Orchestrator, secret: str) -> str:
    """Sign in; the header that a browser sends from then on."""
    async with server.client("") as browser:
        answer = await browser.http.post("/session", json={"token": secret})
        assert answer.status_code == 200
        return f"curta_session={answer.cookies['curta_session']}"


# --- who comes in


async def test_who_may_not_look_is_refused_before_the_upgrade(server: Orchestrator) -> None:
    assert await refusal(server.url) == 401
    assert await refusal(server.url, additional_headers=bearer("curta_wrong")) == 401
    assert await refusal(server.url, additional_headers=bearer(AGENT)) == 403
    assert await refusal(server.url, additional_headers=bearer(ADMIN), subprotocols=None) == 400
    assert (await server.admin.problem("GET", "/live", status=400))["type"] == "/problems/malformed"


async def test_a_browser_comes_in_with_its_session_from_our_own_pages_only(server: Orchestrator) -> None:
    cookie = {"Cookie": await session_cookie(server, ADMIN)}
    for elsewhere in (
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": server.url},
    ):
        assert await refusal(server.url, additional_headers=cookie | elsewhere) == 403, elsewhere
    for ours in ({}, {"Origin": server.url}, {"Sec-Fetch-Site": "same-origin"}):
        async with LiveClient(server.url, headers=cookie | ours) as browser:
            assert len((await browser.subscribe("operations")).items) == 4


async def test_a_token_has_so_many_browsers_and_no_more(database_url: str) -> None:
    async with orchestrator(database_url, viewers_per_token_max=1, viewers_max=2) as server:
        _, other = await server.admin.make_token("anna", "user")
        _, third = await server.admin.make_token("bert", "user")
        async with LiveClient(server.url, ADMIN):
            assert await refusal(server.url, additional_headers=bearer(ADMIN)) == 429
            async with LiveClient(server.url, other):
                assert await refusal(server.url, additional_headers=bearer(third)) == 503


# --- what is shown


async def test_an_expression_is_shown_from_its_first_task_to_its_result(server: Orchestrator) -> None:
    async with LiveClient(server.url, ADMIN) as browser, server.agent() as agent:
        shown = await browser.subscribe("expressions")
        assert not shown.items and shown.next is None
        id = (await server.admin.submit("(1+2)*4"))["id"]
        await browser.until(lambda: id in shown.items)
        assert shown.items[id]["status"] == "queued"
        await browser.until(lambda: shown.items[id]["waiting_for"] == "no agent is connected")
        await agent.join()
        (task,) = await agent.tasks(1)
        await browser.until(lambda: shown.items[id]["tasks"] == {"total": 2, "done": 0, "running": 1})
        await agent.answer(task)
        (task,) = await agent.tasks(1)
        await browser.until(lambda: shown.items[id]["tasks"] == {"total": 2, "done": 1, "running": 1})
        await agent.answer(task)
        await browser.until(lambda: shown.items[id]["status"] == "done")
        assert shown.items[id] == await server.admin.show(id)
        other = (await server.admin.submit("1+2"))["id"]
        await agent.tasks(1)
        await browser.until(lambda: _status(shown, other) == "running")
        await server.admin.ask("DELETE", f"/expressions/{other}")
        await browser.until(lambda: _status(shown, other) == "cancelled")
        bare = (await server.admin.submit("42"))["id"]
        await browser.until(lambda: _status(shown, bare) == "done")
        assert shown.snapshots == 1


def _status(shown: Shown, id: str) -> str | None:
    status: str | None = shown.items.get(id, {}).get("status")
    return status


async def test_a_window_is_the_page_of_the_same_request(server: Orchestrator) -> None:
    texts = [f"{number}+{number % 2}" for number in range(6)]
    ids = [(await server.admin.submit(text))["id"] for text in texts]
    await server.admin.ask("DELETE", f"/expressions/{ids[0]}")
    async with LiveClient(server.url, ADMIN) as browser:
        shown = await browser.subscribe("expressions", limit=2)
        assert list(shown.items) == [ids[5], ids[4]]
        for window in (
            {"limit": 2},
            {"limit": 2, "cursor": shown.next},
            {"status": ["cancelled"]},
            {"status": ["queued"], "q": "+1", "limit": 2},
        ):
            shown = await browser.subscribe("expressions", **window)
            page = await server.admin.ask("GET", "/expressions", params=window)
            assert list(shown.items.values()) == page["items"] and shown.next == page["next"], window
        shown = await browser.subscribe("expressions", limit=2)
        newest = (await server.admin.submit("7+7"))["id"]
        await browser.until(lambda: list(shown.items)[-1] == newest and len(shown.items) == 2)
        assert ids[4] not in shown.items


async def test_a_plan_is_shown_task_by_task_as_the_table_tells_it(server: Orchestrator) -> None:
    async with LiveClient(server.url, ADMIN) as browser, server.agent(slots=2) as agent:
        await agent.join()
        id = (await server.admin.submit("(1+2)*(3-4)", optimize=False))["id"]
        topic = f"expression/{id}"
        shown = await browser.subscribe(topic)

        def states() -> list[str]:
            return sorted(item["state"] for item in shown.items.values() if "state" in item)

        await browser.until(lambda: states() == ["running", "running", "waiting"])
        assert set(shown.items) == {id, *(f"{id}.{task}" for task in range(3))}
        one, other = await agent.tasks(2)
        await agent.answer(one)
        await browser.until(lambda: states() == ["done", "running", "waiting"])
        await agent.answer(other)
        await browser.until(lambda: states() == ["done", "done", "running"])
        (last,) = await agent.tasks(1)
        await agent.answer(last)
        await browser.until(lambda: states() == ["done"] * 3 and shown.items[id]["status"] == "done")
        tasks = {task["task"]: task for task in await server.admin.tasks(id)}
        assert tasks == {key: item for key, item in shown.items.items() if key != id}
        assert all(task["value"] and task["agent"]["name"] == agent.name for task in tasks.values())
        part = await browser.subscribe(topic, root=one["task"], depth=0)
        assert list(part.items) == [id, one["task"]]
        assert part.items[one["task"]] == tasks[one["task"]]


async def test_tasks_that_are_done_are_not_asked_for_again(
    server: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []
    journal_rows = rooms.store.journal_rows

    async def noted(connection: Any, id: Any, tasks: Any) -> Any:
        asked.append(list(tasks))
        return await journal_rows(connection, id, tasks)

    monkeypatch.setattr(rooms.store, "journal_rows", noted)
    async with LiveClient(server.url, ADMIN) as browser, server.agent() as agent:
        await agent.join()
        id = (await server.admin.submit("1-2-3-4-5"))["id"]
        shown = await browser.subscribe(f"expression/{id}")
        for number in range(4):
            (task,) = await agent.tasks(1)
            await agent.answer(task)
            name = task["task"]
            await browser.until(lambda name=name: shown.items[name]["state"] == "done")  # type: ignore[misc]
            assert shown.items[id]["tasks"]["done"] >= number
        await browser.until(lambda: shown.items[id]["status"] == "done")
    known: set[int] = set()
    for tasks in asked[1:]:
        assert len(tasks) < 4 and not known & set(tasks)
        known |= set(tasks) if len(tasks) == 1 else set()


async def test_durations_are_shown_as_they_are_set(server: Orchestrator) -> None:
    async with LiveClient(server.url, ADMIN) as browser:
        shown = await browser.subscribe("operations")
        assert list(shown.items) == ["addition", "subtraction", "multiplication", "division"]
        await server.admin.set_durations(division=1234)
        await browser.until(lambda: shown.items["division"]["duration_ms"] == 1234)
        assert shown.deltas == 1


async def test_a_user_is_shown_what_is_its_own(server: Orchestrator) -> None:
    _, annas = await server.admin.make_token("anna", "user")
    _, guests = await server.admin.make_token("guest", "viewer")
    async with (
        server.client(annas) as program,
        LiveClient(server.url, annas) as anna,
        LiveClient(server.url, guests) as guest,
    ):
        mine = (await program.submit("1+2"))["id"]
        others = (await server.admin.submit("3+4"))["id"]
        own, all_of_them = await anna.subscribe("expressions"), await guest.subscribe("expressions")
        assert list(own.items) == [mine] and list(all_of_them.items) == [others, mine]
        await anna.send(type="subscribe", topic=f"expression/{others}")
        await anna.until(lambda: bool(anna.errors))
        assert anna.errors[0]["code"] == "not_found" and anna.errors[0]["topic"] == f"expression/{others}"
        await guest.subscribe(f"expression/{others}")
        new = (await server.admin.submit("5+6"))["id"]
        newer = (await program.submit("7+8"))["id"]
        await anna.until(lambda: newer in own.items)
        await guest.until(lambda: {new, newer} <= set(all_of_them.items))
        assert set(own.items) == {mine, newer}


# --- what is said to the server


async def test_what_does_not_fit_is_answered_and_the_connection_goes_on(server: Orchestrator) -> None:
    id = "01961f0a-6b7c-7d4e-8f12-3456789abcde"
    async with LiveClient(server.url, ADMIN) as browser:
        for message, code in (
            ({"topic": "weather"}, "not_found"),
            ({"topic": "expressions/1"}, "not_found"),
            ({"topic": "expression/17"}, "not_found"),
            ({"topic": f"expression/{id}"}, "not_found"),
            ({"topic": "expressions", "limit": 100_000}, "unprocessable"),
            ({"topic": "expressions", "status": ["odd"]}, "unprocessable"),
            ({"topic": "expressions", "q": "\0"}, "unprocessable"),
            ({"topic": "expressions", "cursor": "made up"}, "malformed"),
            ({"topic": "expressions", "cursor": "ä"}, "malformed"),
        ):
            await browser.send(type="subscribe", **message)
            assert await browser.take() == browser.errors[-1], message
            assert (browser.errors[-1]["code"], browser.errors[-1]["topic"]) == (code, message["topic"])
        bare = (await server.admin.submit("1+1"))["id"]
        await browser.send(type="subscribe", topic=f"expression/{bare}", root=f"{bare}.7")
        assert (await browser.take())["code"] == "not_found"
        await browser.send(type="of a later release")
        await browser.send(type="of a later release", topic={"a": 1})
        await browser.send(type="subscribe", topic=5)
        assert ((await browser.take())["code"], browser.errors[-1]["topic"]) == ("unprocessable", "")
        await browser.send(type="unsubscribe", topic="expressions")
        for number in range(viewers.SUBSCRIPTIONS_MAX):
            await browser.subscribe(f"expression/{(await server.admin.submit(f'{number}'))['id']}")
        await browser.send(type="subscribe", topic="operations")
        assert (await browser.take())["code"] == "too_many_requests"
        await browser.send(type="unsubscribe", topic=next(iter(browser.shown)))
        assert (await browser.subscribe("operations")).items


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("no JSON", 1007),
        ("[]", 1007),
        ('{"type": 1}', 1007),
        (b"{}", 1003),
        (" " * 70_000, 1009),
        ("€" * 30_000, 1009),
    ],
)
async def test_who_talks_nonsense_is_cut_off(server: Orchestrator, said: str | bytes, code: int) -> None:
    async with LiveClient(server.url, ADMIN) as browser:
        await browser.connection.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            await browser.take()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == code


async def test_who_unsubscribes_is_told_nothing_more(server: Orchestrator) -> None:
    async with LiveClient(server.url, ADMIN) as browser:
        await browser.subscribe("expressions")
        await browser.send(type="unsubscribe", topic="expressions")
        shown = await browser.subscribe("operations")
        await server.admin.submit("1+2")
        await server.admin.set_durations(addition=17)
        await browser.until(lambda: shown.items["addition"]["duration_ms"] == 17)
        assert browser.shown["expressions"].deltas == 0
    await until(lambda: _figure(server, "curta_live_viewers", 0))
    await until(lambda: _figure(server, "curta_live_rooms", 0))


async def _figure(server: Orchestrator, name: str, value: float) -> bool:
    return f"{name} {value:.1f}" in (await server.admin.http.get("/metrics")).text


# --- the end of it


async def test_the_connection_ends_with_the_token_and_with_the_session(server: Orchestrator) -> None:
    token, secret = await server.admin.make_token("anna", "user")
    cookie = await session_cookie(server, secret)
    other = await session_cookie(server, secret)
    async with (
        LiveClient(server.url, secret) as program,
        LiveClient(server.url, headers={"Cookie": cookie}) as tab,
        LiveClient(server.url, headers={"Cookie": other}) as elsewhere,
    ):
        for one in (program, tab, elsewhere):
            await one.subscribe("operations")
        async with server.client("") as browser:
            answer = await browser.http.delete("/session", headers={"Cookie": cookie})
            assert answer.status_code == 204
        assert await close_code(tab) == 4001
        await elsewhere.subscribe("expressions")
        await server.admin.ask("DELETE", f"/tokens/{token}")
        assert await close_code(program) == await close_code(elsewhere) == 4001


async def close_code(browser: LiveClient) -> int:
    """With which the server ends the connection, soon."""
    async with asyncio.timeout(2):
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                await browser.take()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


async def test_a_quiet_connection_is_kept_alive_by_beats(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEAT_S", 0.1)
    async with orchestrator(database_url) as server, LiveClient(server.url, ADMIN) as browser:
        await browser.until(lambda: browser.beats > 2)


# --- slow ones, and many


async def test_who_reads_too_slowly_gets_a_fresh_snapshot_and_nothing_piles_up(
    server: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "KEPT_BYTES", 100_000)
    buffered: list[int] = []
    put = channel.PartsProtocol.put

    def noted(peer: channel.PartsProtocol, frame: bytes) -> bool:
        # What the kernel takes off our hands it decides anew on each machine.
        peer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        is_written = put(peer, frame)
        buffered.append(peer.transport.get_write_buffer_size())
        return is_written

    monkeypatch.setattr(channel.PartsProtocol, "put", noted)
    digits = "1" * 300
    async with LiveClient(server.url, ADMIN) as slow, LiveClient(server.url, ADMIN) as quick:
        # Neither its receive buffer nor ours holds everything.
        taker = slow.connection.transport.get_extra_info("socket")
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        behind = await slow.subscribe("expressions", limit=1000)
        shown = await quick.subscribe("expressions", limit=1000)
        for _ in range(12):
            batch = [{"expression": digits} for _ in range(1000)]
            answer = await server.admin.ask("POST", "/expressions/batch", json={"expressions": batch})
            newest = answer["items"][-1]["id"]
            await quick.until(lambda newest=newest: newest in shown.items)  # type: ignore[misc]
        assert shown.snapshots == 1 and shown.deltas >= 12
        await slow.until(lambda: newest in behind.items)
        assert behind.snapshots > 1 and behind.deltas < shown.deltas
        assert len(behind.items) == 1000
        # One message of a million bytes at most, whatever was missed.
        assert 500_000 < max(buffered) < 1_500_000
        last = (await server.admin.submit("1+1"))["id"]
        snapshots = behind.snapshots
        await slow.until(lambda: last in behind.items)
        assert behind.snapshots == snapshots


async def test_browsers_with_the_same_window_share_one_room(
    server: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    list_expressions = rooms.store.list_expressions

    async def counted(connection: Any, **window: Any) -> Any:
        nonlocal reads
        reads += 1
        return await list_expressions(connection, **window)

    monkeypatch.setattr(rooms.store, "list_expressions", counted)
    browsers = [LiveClient(server.url, ADMIN) for _ in range(20)]
    for browser in browsers:
        await browser.__aenter__()
        await browser.subscribe("expressions")
    assert reads == 1
    id = (await server.admin.submit("1+2"))["id"]
    for browser in browsers:
        await browser.until(lambda one=browser: id in one.shown["expressions"].items)  # type: ignore[misc]
    assert reads <= 4
    for browser in browsers:
        await browser.__aexit__(None, None, None)


# --- several orchestrators


async def test_the_browsers_of_a_follower_see_a_change_within_a_second(database_url: str) -> None:
    async with leader_and_follower(database_url, **SHORT) as (leader, follower):
        async with LiveClient(follower.url, ADMIN) as browser, leader.agent() as agent:
            await agent.join()
            shown = await browser.subscribe("expressions")
            durations = await browser.subscribe("operations")
            for one in (follower, leader):
                id = (await one.admin.submit("1+2"))["id"]
                topic = f"expression/{id}"
                (task,) = await agent.tasks(1)
                assert await browser.until(lambda id=id: _status(shown, id) == "running") < 1  # type: ignore[misc]
                plan = await browser.subscribe(topic)
                assert plan.items[task["task"]]["state"] == "running"
                await agent.answer(task)
                assert await browser.until(lambda id=id: _status(shown, id) == "done") < 1  # type: ignore[misc]
                await browser.until(lambda plan=plan, id=id: _status(plan, id) == "done")  # type: ignore[misc]
            await leader.admin.set_durations(addition=5)
            assert await browser.until(lambda: durations.items["addition"]["duration_ms"] == 5) < 1
            bare = (await leader.admin.submit("42"))["id"]
            await browser.until(lambda: _status(shown, bare) == "done")


async def test_a_start_is_filtered_by_at_once_wherever_it_is_asked_for(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In lists and for browsers, at leader and follower, though the table does not say it yet."""
    monkeypatch.setattr(dispatcher, "TICK_S", 600.0)
    async with leader_and_follower(database_url, **SHORT) as (leader, follower), leader.agent() as agent:
        await agent.join()
        id = (await leader.admin.submit("1+2"))["id"]
        (task,) = await agent.tasks(1)
        waiting = (await leader.admin.submit("3+4"))["id"]
        for one in (leader, follower):
            for status, expected in (("running", id), ("queued", waiting)):
                items = (await one.admin.ask("GET", "/expressions", params={"status": status}))["items"]
                assert [(item["id"], item["status"]) for item in items] == [(expected, status)]
            async with LiveClient(one.url, ADMIN) as browser:
                running = await browser.subscribe("expressions", status=["running"])
                assert _status(running, id) == "running" and len(running.items) == 1
                queued = await browser.subscribe("expressions", status=["queued"])
                assert _status(queued, waiting) == "queued" and len(queued.items) == 1
        await agent.answer(task)


def test_the_beat_is_what_the_messages_say() -> None:
    assert viewers.BEAT == b"\x81\x0f" + json.dumps({"type": "beat"}, separators=(",", ":")).encode()
