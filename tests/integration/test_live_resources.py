"""The computing resources and figures as browsers see them, live and by GET, at the leader and elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from curta_server import history, rooms, stats_board, stats_source
from tests.integration.orchestrators import Orchestrator, leader_and_follower, orchestrator
from tests.support.foreign import ForeignAgent
from tests.support.live import LiveClient, Shown
from tests.support.processes import ADMIN
from tests.support.waiting import until

SHORT: dict[str, Any] = {
    "heartbeat_s": 0.2,
    "idle_heartbeat_s": 0.2,
    "lease_s": 1.0,
    "grace_s": 0.3,
    "recovery_quiet_s": 0.2,
}


@pytest.fixture(autouse=True)
def _told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told must not have to wait for the slow refresh; and seconds are short."""
    monkeypatch.setattr(rooms, "SLOW_S", 60.0)
    monkeypatch.setattr(history, "EVERY_S", 0.1)
    monkeypatch.setattr(stats_source.StatsSource, "pace_s", 0.1)
    monkeypatch.setattr(stats_board, "FRESH_S", 0.05)


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Orchestrator]:
    async with orchestrator(database_url, **SHORT) as running:
        yield running


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[tuple[Orchestrator, Orchestrator]]:
    async with leader_and_follower(database_url, **SHORT) as both:
        yield both


def named(shown: Shown, name: str) -> dict[str, Any]:
    """The agent of that name, as it is shown; empty where it is not."""
    return next((item for item in shown.items.values() if item["name"] == name), {})


async def beating(agent: ForeignAgent, *held: Any) -> None:
    """Be alive until cancelled."""
    while True:
        await agent.beat(list(held))
        await asyncio.sleep(0.1)


def points(shown: Shown) -> list[dict[str, Any]]:
    return [item for item in shown.items.values() if "at" in item]


async def test_an_agents_life_is_seen_as_it_happens(server: Orchestrator) -> None:
    await server.admin.set_all_durations(60_000)
    _, secret = await server.admin.make_token("anna", "user")
    async with (
        LiveClient(server.url, ADMIN) as admin,
        LiveClient(server.url, secret) as anna,
        server.agent(name="box", slots=2) as box,
        server.agent(name="rack") as rack,
    ):
        all_seen, seen = await admin.subscribe("agents"), await anna.subscribe("agents")
        assert not all_seen.items
        await box.join()
        living = asyncio.create_task(beating(box))
        await admin.until(lambda: named(all_seen, "box").get("status") == "connected", within_s=2)
        sent = await server.admin.submit("(1+2)*(3+4)")
        tasks = await box.tasks(2)
        living.cancel()
        living = asyncio.create_task(beating(box, *tasks))
        await admin.until(lambda: named(all_seen, "box")["running"] == 2, within_s=2)
        task = named(all_seen, "box")["tasks"][0]
        assert task["expression_id"] == sent["id"] and task["operation"] == "addition"
        await anna.until(lambda: named(seen, "box").get("running") == 2, within_s=2)
        assert {(one["task"], one["operation"]) for one in named(seen, "box")["tasks"]} == {
            (None, "addition")
        }
        # Who beats is heard, and that is shown now and then.
        before = named(all_seen, "box")["last_seen_s"]
        await admin.until(lambda: named(all_seen, "box")["last_seen_s"] != before)
        assert named(all_seen, "box")["last_seen_s"] < 1

        await server.admin.ask("POST", f"/agents/{box.id}/drain")
        await admin.until(lambda: named(all_seen, "box")["status"] == "draining", within_s=2)
        # It falls silent: its tasks go on elsewhere, and it stays to be seen.
        living.cancel()
        await admin.until(lambda: named(all_seen, "box")["status"] == "lost")
        lost = named(all_seen, "box")
        passed_on = dict(lost["passed_on"])
        assert {one["task"] for one in passed_on.pop("tasks")} == {one["task"] for one in tasks}
        assert passed_on == {"total": 2, "waiting": 2, "running": 0, "done": 0}
        await anna.until(lambda: named(seen, "box")["status"] == "lost", within_s=2)
        assert named(seen, "box")["passed_on"]["tasks"] == [], "they are somebody else's"
        assert (lost["tasks"], lost["running"]) == ([], 0)
        await rack.join()
        (again,) = await rack.tasks(1)
        living = asyncio.create_task(beating(rack, again))
        await admin.until(lambda: named(all_seen, "box")["passed_on"]["running"] == 1, within_s=2)
        await rack.answer(again)
        living.cancel()
        await admin.until(lambda: named(all_seen, "box")["passed_on"]["done"] == 1, within_s=2)
        assert (await server.admin.agents())["box"]["passed_on"]["done"] == 1
        assert named(all_seen, "rack")["passed_on"] is None


async def test_a_page_of_agents_is_the_one_of_the_route(server: Orchestrator) -> None:
    async with LiveClient(server.url, ADMIN) as browser:
        boxes = [server.agent(name=f"box {number}") for number in range(3)]
        for box in boxes:
            await box.join()
        await until(lambda: _knows(server, 3))
        page = await server.admin.ask("GET", "/agents?limit=2")
        shown = await browser.subscribe("agents", limit=2)
        assert list(shown.items) == [item["id"] for item in page["items"]]
        assert shown.next == page["next"] is not None
        shown = await browser.subscribe("agents", limit=2, cursor=shown.next)
        assert [item["name"] for item in shown.items.values()] == ["box 2"] and shown.next is None
        await browser.send(type="subscribe", topic="agents", cursor="nonsense")
        await browser.until(lambda: bool(browser.errors))
        assert browser.errors[0]["code"] == "malformed"
        for box in boxes:
            await box.cut()


async def _knows(server: Orchestrator, count: int) -> bool:
    return len(await server.admin.agents()) == count


async def test_an_agent_that_never_comes_back_to_a_new_leader_is_shown_as_lost(database_url: str) -> None:
    async with orchestrator(database_url, **SHORT) as first:
        box = first.agent(name="box")
        await box.join()
        await until(lambda: _is_saved(first))
        await first.stop()
        await box.cut()
    async with orchestrator(database_url, **SHORT) as second:
        await until(lambda: _status(second, "box", "lost"))
        shown = (await second.admin.agents())["box"]
        assert shown["slots"] == 1 and shown["passed_on"]["total"] == 0
        async with second.agent(name="box", agent=box.id) as again:
            await again.join()
            await until(lambda: _status(second, "box", "draining"))
            assert (await second.admin.agents())["box"]["passed_on"] is None


async def _is_saved(server: Orchestrator) -> bool:
    """Whether the table knows the agent: nothing is drained that it does not know."""
    (item,) = (await server.admin.ask("GET", "/agents"))["items"]
    answer = await server.admin.http.post(f"/agents/{item['id']}/drain")
    return answer.status_code == 200


async def _status(server: Orchestrator, name: str, status: str) -> bool:
    return bool((await server.admin.agents()).get(name, {}).get("status") == status)


async def test_figures_come_every_second_and_say_what_happens(server: Orchestrator) -> None:
    async with LiveClient(server.url, ADMIN) as browser, server.agent(slots=3) as box:
        shown = await browser.subscribe("stats")
        await browser.until(lambda: len(points(shown)) > 2)
        (one,) = (item for item in shown.items.values() if "url" in item)
        assert one["leads"] and one["url"] == server.url
        await server.admin.set_all_durations(60_000)
        await box.join()
        await server.admin.submit("(1+2)*(3+4)*(5+6)*(7+8)")
        tasks = await box.tasks(3)
        living = asyncio.create_task(beating(box, *tasks))
        await browser.until(lambda: points(shown)[-1]["running"] == 3)
        last = points(shown)[-1]
        assert (last["slots_used"], last["slots_total"], last["agents"]) == (3, 3, 1)
        assert (last["ready"], last["expressions"]) == (1, 1)
        living.cancel()
        await box.answer(tasks[0])
        await browser.until(lambda: any(point["tasks_per_s"] for point in points(shown)))
        busy = next(point for point in points(shown) if point["tasks_per_s"])
        assert busy["commits_per_s"] > 0
        assert any(point["dispatch_p99_ms"] for point in points(shown))
        answer = await server.admin.ask("GET", "/stats")
        assert len(answer["items"]) >= len(points(shown))
        assert busy in answer["items"]
        assert [item["at"] for item in answer["items"]] == sorted(item["at"] for item in answer["items"])


async def test_a_follower_shows_the_leaders_agents_and_figures(
    two: tuple[Orchestrator, Orchestrator],
) -> None:
    leader, follower = two
    await leader.admin.set_all_durations(60_000)
    async with LiveClient(follower.url, ADMIN) as browser, leader.agent(name="box") as box:
        agents, figures = await browser.subscribe("agents"), await browser.subscribe("stats")
        await box.join()
        took_s = await browser.until(lambda: bool(named(agents, "box")))
        assert took_s < 1
        await leader.admin.submit("1+2")
        (task,) = await box.tasks(1)
        living = asyncio.create_task(beating(box, task))
        assert await browser.until(lambda: named(agents, "box")["running"] == 1) < 1
        await browser.until(lambda: any(point["running"] == 1 for point in points(figures)))
        here, there = [await one.admin.ask("GET", "/stats") for one in (leader, follower)]
        assert there["items"][0] == here["items"][0]
        await until(lambda: _both_are_known(follower))
        there = await follower.admin.ask("GET", "/stats")
        assert {one["url"]: one["leads"] for one in there["orchestrators"]} == {
            leader.url: True,
            follower.url: False,
        }
        living.cancel()


async def _both_are_known(server: Orchestrator) -> bool:
    return len((await server.admin.ask("GET", "/stats"))["orchestrators"]) == 2


async def test_a_followers_browser_sees_every_change_of_an_expression(
    two: tuple[Orchestrator, Orchestrator],
) -> None:
    leader, follower = two
    await leader.admin.set_all_durations(60_000)
    async with leader.agent(name="box") as box, LiveClient(follower.url, ADMIN) as browser:
        shown = await browser.subscribe("expressions")
        await box.join()
        sent = await leader.admin.submit("1+2")
        assert await browser.until(lambda: sent["id"] in shown.items) < 1
        (task,) = await box.tasks(1)
        living = asyncio.create_task(beating(box, task))
        item = shown.items
        assert await browser.until(lambda: item[sent["id"]]["tasks"]["running"] == 1) < 1
        await box.answer(task)
        assert await browser.until(lambda: item[sent["id"]]["status"] == "done") < 1
        living.cancel()


async def test_where_nobody_leads_nobody_is_shown(
    two: tuple[Orchestrator, Orchestrator], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = two
    async with LiveClient(follower.url, ADMIN) as browser, leader.agent(name="box") as box:
        await box.join()
        shown, figures = await browser.subscribe("agents"), await browser.subscribe("stats")
        await browser.until(lambda: bool(named(shown, "box")) and len(points(figures)) > 1)
        last = points(figures)[-1]["at"]
        await box.send("bye")
        await leader.stop()
        # The other one leads now: its own figures begin anew, and its agents are none yet.
        await until(follower.is_leading)
        await browser.until(lambda: not shown.items)
        await browser.until(lambda: bool(points(figures)) and all(p["at"] > last for p in points(figures)))
