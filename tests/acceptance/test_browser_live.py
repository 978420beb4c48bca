"""What one browser does another sees, whatever becomes of connections, servers and agents meanwhile."""

import re
from collections.abc import Callable

import pytest
from playwright.async_api import expect

from tests.acceptance.conftest import Visit
from tests.support.processes import ADMIN, Cluster
from tests.support.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]

LOST_MS = 20_000
"""An agent is lost when it has been silent for the lease, ten seconds."""

HIDE = """hidden => {
    const say = (name, value) => Object.defineProperty(document, name, {value, configurable: true});
    say('visibilityState', hidden ? 'hidden' : 'visible');
    say('hidden', hidden);
    document.dispatchEvent(new Event('visibilitychange'));
}"""


async def test_a_second_browser_sees_an_expression_come_and_end(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    one = await visit(pages_url, secrets["user"])
    other = await visit(pages_url, secrets["user"])
    await other.open("expressions")
    await expect(other.see("live-state").first).to_have_attribute("data-state", "live")
    await one.submit("101 + 202")
    row = other.see("expression-row").filter(has_text="101 + 202")
    await expect(row).to_be_visible()
    await expect(row).to_contain_text("303")


async def test_a_second_browser_sees_a_duration_change(visit: Visit, pages_url: str) -> None:
    one = await visit(pages_url, ADMIN)
    other = await visit(pages_url, ADMIN)
    for visitor in (one, other):
        await visitor.open("operations")
    subtraction = '[data-operation="subtraction"]'
    field = one.page.locator(subtraction).get_by_test_id("duration-input")
    await field.fill("1234 ms")
    await one.page.locator(subtraction).get_by_test_id("save-duration").click()
    for visitor in (one, other):
        shown = visitor.page.locator(subtraction).get_by_test_id("duration-input")
        await expect(shown).to_have_value(re.compile(r"^1\.234\ss$"))


async def test_the_graph_lights_up_while_agents_compute(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    row = await visitor.submit("(1 + 2) * (3 + 4) * (5 + 6) * (7 + 8) - 1")
    await row.get_by_role("link").first.click()
    tasks = visitor.see("graph-task")
    await expect(tasks).to_have_count(8)
    await expect(
        visitor.page.locator('[data-testid="graph-task"][data-state="running"]').first
    ).to_be_visible()
    await expect(visitor.see("result")).to_have_text("3464")
    await expect(visitor.page.locator('[data-testid="graph-task"][data-state="done"]')).to_have_count(8)
    await expect(visitor.see("timeline")).to_contain_text("calculator")


async def test_an_expression_is_cancelled_where_one_looks_at_it(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    row = await visitor.submit("9 - 8 - 7 - 6 - 5 - 4 - 3 - 2")
    await row.get_by_role("link").first.click()
    await visitor.see("cancel").click()
    await expect(visitor.see("cancel")).to_have_count(0)
    await visitor.open("expressions")
    listed = visitor.see("expression-row").filter(has_text="9 - 8 - 7")
    await expect(listed).to_contain_text("cancelled", ignore_case=True)


async def test_where_sockets_are_blocked_the_page_asks_again_and_again(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url)
    await visitor.page.route_web_socket("**/live", lambda socket: socket.close())
    await visitor.sign_in(secrets["user"])
    await visitor.open("expressions")
    await expect(visitor.see("live-state").first).to_have_attribute("data-state", "polling")
    other = await visit(pages_url, secrets["user"])
    await other.submit("404 + 505")
    await expect(visitor.see("expression-row").filter(has_text="404 + 505")).to_contain_text("909")


async def test_a_hidden_tab_closes_its_socket_and_a_visible_one_goes_on(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    await visitor.open("expressions")
    state = visitor.see("live-state").first
    await expect(state).to_have_attribute("data-state", "live")
    assert len(visitor.sockets) == 1
    await visitor.page.evaluate(HIDE, True)
    await until(lambda: not visitor.sockets)
    await visitor.page.evaluate(HIDE, False)
    await expect(state).to_have_attribute("data-state", "live")
    await until(lambda: len(visitor.sockets) == 1)


async def test_the_page_goes_on_after_the_servers_restart_and_after_an_agents_death(
    make_cluster: Callable[..., Cluster], visit: Visit
) -> None:
    cluster = make_cluster()
    agent = cluster.start_agent("mortal", slots=2)
    visitor = await visit(cluster.url, ADMIN)
    visitor.expected += [r"net::ERR_", r"WebSocket connection to", r"status of 50[0-9]"]
    state = visitor.see("live-state").first

    await visitor.open("expressions")
    await expect(state).to_have_attribute("data-state", "live")
    told = visitor.see("away")
    await expect(told).to_be_empty()
    cluster.server.kill()
    await expect(state).not_to_have_attribute("data-state", "live")
    # Where one looks, and to those who hear the page.
    await expect(told).to_contain_text("The connection is lost")
    await expect(told).to_have_attribute("role", "status")
    assert not await visitor.violations()
    cluster.start_server()
    await expect(state).to_have_attribute("data-state", "live")
    await expect(told).to_contain_text("Connected again")
    await expect(told).to_be_empty()
    await visitor.page.get_by_role("link", name="Calculate").first.click()
    await visitor.submit("1 + 2 + 3 + 4")

    await visitor.page.get_by_role("link", name="Computing resources").first.click()
    row = visitor.page.locator('[data-testid="agent-row"][data-agent="mortal"]')
    await expect(row.first).to_have_attribute("data-status", "connected")
    agent.kill()
    await expect(row.first).to_have_attribute("data-status", "lost", timeout=LOST_MS)
    cluster.start_agent("heir")
    heir = visitor.page.locator('[data-testid="agent-row"][data-agent="heir"]')
    await expect(heir).to_have_attribute("data-status", "connected")
    await visitor.page.get_by_role("link", name="Expressions").first.click()
    await expect(visitor.see("expression-row").filter(has_text="1 + 2 + 3 + 4")).to_contain_text("10")
