"""The page of one expression: its plan large and small, what failed, what is asked before it is cancelled."""

import json
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from tests.acceptance.conftest import Visit
from tests.support.browser import Visitor
from tests.support.client import Client
from tests.support.processes import ADMIN

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]

LARGE = 4_000


@pytest_asyncio.fixture(loop_scope="session")
async def client(pages_url: str) -> AsyncIterator[Client]:
    async with Client(pages_url, ADMIN) as client:
        yield client


async def _look(visitor: Visitor, id: str) -> Locator:
    await visitor.open(f"expressions/{id}")
    tasks = visitor.see("graph-task")
    await tasks.first.wait_for()
    return tasks


async def test_a_plan_of_thousands_shows_its_figures_and_leads_to_what_runs(
    visit: Visit, pages_url: str, client: Client
) -> None:
    sent = await client.submit("+".join(f"{n}*{n + 1}" for n in range(LARGE)))
    visitor = await visit(pages_url, ADMIN)
    tasks = await _look(visitor, sent["id"])
    await expect(visitor.page.get_by_text(f"of {2 * LARGE - 1:,} shown")).to_be_visible()
    assert await tasks.count() < 1_000
    # Nothing is said of the whole that is known of a part only.
    timeline = visitor.see("timeline")
    await expect(timeline).to_contain_text("None of the tasks shown has started yet")
    await expect(timeline).not_to_contain_text("Critical path")
    figures = await client.ask("GET", f"/expressions/{sent['id']}/plan")
    assert figures["sequential_ms"] == 150 * figures["tasks"]
    facts = visitor.see("facts")
    await expect(facts).to_contain_text(re.compile(r"One after another\s*20\smin"))
    await expect(facts).to_contain_text(re.compile(r"With unlimited agents\s*1\.9\d?\ss"))

    await visitor.see("go-to-running").click()
    await expect(visitor.see("go-to-result")).to_be_visible()
    await expect(visitor.see("task-details")).to_be_visible()
    await expect(timeline).to_contain_text("calculator")
    await visitor.see("go-to-result").click()
    await expect(visitor.see("go-to-result")).to_have_count(0)
    await expect(timeline).to_contain_text("None of the tasks shown has started yet")

    # What is cut off is fetched when it is opened.
    shown = await tasks.count()
    await visitor.page.get_by_role("button", name="Table").click()
    await visitor.page.get_by_role("table").get_by_role("button", name="#").last.click()
    details = visitor.see("task-details")
    await details.get_by_role("button", name="Show more").click()
    await visitor.page.get_by_role("button", name="Graph").click()
    await expect(tasks.nth(shown)).to_be_attached()
    await client.ask("DELETE", f"/expressions/{sent['id']}")


async def test_a_subtree_is_folded_and_opened_again_and_what_is_selected_stays_in_view(
    visit: Visit, pages_url: str, client: Client
) -> None:
    done = await client.compute("+".join(f"{n}*{n + 2}" for n in range(24)))
    visitor = await visit(pages_url, ADMIN)
    tasks = await _look(visitor, done["id"])
    await expect(tasks).to_have_count(47)
    canvas = visitor.see("graph").locator("svg").first

    async def transforms() -> list[str | None]:
        return [await task.get_attribute("transform") for task in (await tasks.all())[:10]]

    before = await transforms()
    # The furthest to the right, where the details will be.
    boxes = [(await task.bounding_box(), task) for task in await tasks.all()]
    box, task = max(((box, task) for box, task in boxes if box), key=lambda found: found[0]["x"])
    await visitor.page.mouse.click(box["x"] + 8, box["y"] + 8)
    await expect(visitor.see("task-details")).to_be_visible()
    assert await transforms() == before, "nothing was rearranged"
    frame = await canvas.bounding_box()
    assert frame is not None
    selected = await task.bounding_box()
    assert selected is not None
    assert frame["x"] <= selected["x"] and selected["x"] + selected["width"] <= frame["x"] + frame["width"]
    # A click leaves no outline, the keyboard does.
    outline = "element => getComputedStyle(element).outlineStyle"
    await visitor.page.keyboard.press("Home")
    await visitor.see("task-details").get_by_role("button", name="Fold").click()
    await expect(tasks).to_have_count(1)
    await visitor.see("task-details").get_by_role("button", name="Show more").click()
    await expect(tasks).to_have_count(47)
    await visitor.page.mouse.click(frame["x"] + 5, frame["y"] + 5)
    assert await canvas.evaluate(outline) == "none"


async def test_what_failed_is_not_counted_as_done(visit: Visit, pages_url: str, client: Client) -> None:
    sent = await client.submit("1/(2-2)")
    assert (await client.final(sent["id"]))["status"] == "failed"
    visitor = await visit(pages_url, ADMIN)
    await _look(visitor, sent["id"])
    await expect(visitor.see("tasks-done")).to_have_text(re.compile(r"^\s*1\s*/ 2\s*$"))
    await expect(visitor.page.locator('[data-testid="graph-task"][data-state="failed"]')).to_have_count(1)


async def test_a_rounded_result_shows_the_exact_one_and_both_are_copied_as_programs_read_them(
    visit: Visit, pages_url: str, client: Client
) -> None:
    done = await client.compute("-1/3")
    visitor = await visit(pages_url, ADMIN)
    await visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await _look(visitor, done["id"])
    await expect(visitor.see("result")).to_have_text(re.compile("^−0\\.3+$"))
    await expect(visitor.see("exact")).to_have_text("−1/3")
    for name, text in (("Copy the result", done["result"]), ("Copy the exact fraction", "-1/3")):
        await visitor.page.get_by_role("button", name=name).click()
        await expect(visitor.page.get_by_role("button", name="Copied")).to_be_visible()
        assert await visitor.page.evaluate("navigator.clipboard.readText()") == text
        await expect(visitor.page.get_by_role("button", name="Copied")).to_have_count(0)
    await visitor.see("graph-task").first.wait_for()
    await expect(visitor.see("timeline")).not_to_contain_text("-")


async def test_an_attempt_has_the_number_that_people_understand(
    visit: Visit, pages_url: str, client: Client
) -> None:
    done = await client.compute("123 + 456")
    visitor = await visit(pages_url, ADMIN)
    await _look(visitor, done["id"])
    await visitor.page.get_by_role("button", name="Table").click()
    await visitor.page.get_by_role("table").get_by_role("button", name="#1").click()
    details = visitor.see("task-details")
    await expect(details).to_contain_text("579")
    await expect(details).not_to_contain_text("Attempt")


async def test_long_work_is_not_thrown_away_without_asking(
    visit: Visit, pages_url: str, client: Client
) -> None:
    """Here as in the list; the start is set back in the answers rather than waited for."""
    visitor = await visit(pages_url)
    await visitor.page.route_web_socket("**/live", lambda socket: socket.close())
    await client.ask("PUT", "/operations/division", json={"duration_ms": 60_000})
    try:
        sent = await client.submit("7 / 8")

        async def long_ago(route: object) -> None:
            request = route.request  # type: ignore[attr-defined]
            if request.method != "GET":
                await route.continue_()  # type: ignore[attr-defined]
                return
            answer = await route.fetch()  # type: ignore[attr-defined]
            body = json.loads(await answer.text())
            if body.get("started_at"):
                body["started_at"] = "2026-01-01T00:00:00Z"
            await route.fulfill(response=answer, json=body)  # type: ignore[attr-defined]

        await visitor.page.route(f"**/expressions/{sent['id']}?**", long_ago)
        await visitor.sign_in(ADMIN)
        await _look(visitor, sent["id"])
        await expect(visitor.see("facts")).to_contain_text("Time so far")
        await visitor.see("cancel").click()
        await expect(visitor.page.get_by_role("dialog")).to_contain_text("7 / 8")
        assert (await client.show(sent["id"]))["status"] in ("queued", "running")
        await visitor.see("confirm-cancel").click()
        await expect(visitor.see("cancel")).to_have_count(0)
        assert (await client.show(sent["id"]))["status"] == "cancelled"
    finally:
        await client.ask("PUT", "/operations/division", json={"duration_ms": 150})


async def test_on_a_phone_a_graph_begins_so_that_it_can_be_read(
    visit: Visit, pages_url: str, client: Client
) -> None:
    done = await client.compute("+".join(f"{n}*{n + 3}" for n in range(30)))
    visitor = await visit(pages_url, ADMIN, viewport={"width": 390, "height": 844})
    await _look(visitor, done["id"])
    canvas = visitor.see("graph").locator("svg").first
    scale = "svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width"
    assert await canvas.evaluate(scale) >= 0.69
