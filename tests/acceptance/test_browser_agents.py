"""Computing resources as one sees them: how fresh an agent is, what becomes of its tasks, and removal."""

from collections.abc import Callable

import pytest
from playwright.async_api import expect

from tests.acceptance.conftest import Visit
from tests.support.browser import WITHIN_MS, Visitor
from tests.support.client import Client
from tests.support.processes import ADMIN, Cluster

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]

LOST_MS = 20_000
"""An agent is lost when it has been silent for the lease, ten seconds."""


async def test_a_silent_agent_turns_amber_and_red_and_everybody_sees_what_becomes_of_its_tasks(
    make_cluster: Callable[..., Cluster], visit: Visit
) -> None:
    cluster = make_cluster()
    mortal = cluster.start_agent("mortal", slots=2)
    visitor = await visit(cluster.url, ADMIN)
    row = visitor.page.locator('[data-testid="agent-row"][data-agent="mortal"]')
    async with Client(cluster.url, ADMIN) as client:
        await client.set_all_durations(60_000)
        sent = await client.submit("0 * 3 - 4 * 5")
        await visitor.open("agents")
        await expect(row.locator('[data-testid="slot"][data-state="busy"]')).to_have_count(2)
        pulse = row.get_by_test_id("pulse")
        await expect(pulse).to_have_attribute("data-pulse", "fresh")
        mortal.freeze()
        await expect(pulse).to_have_attribute("data-pulse", "overdue", timeout=LOST_MS)
        await expect(pulse).to_have_attribute("data-pulse", "near", timeout=LOST_MS)
        await expect(row).to_have_attribute("data-status", "lost", timeout=LOST_MS)
        await _fates(visitor, {"0 × 3": "in line again", "4 × 5": "in line again"})
        mortal.kill()

        await client.set_all_durations(300)
        cluster.start_agent("heir", slots=1)
        done = {"0 × 3": "done since by heir", "4 × 5": "done since by heir"}
        await _fates(visitor, done)
        # Who comes only now sees it as well.
        await _fates(await _at_the_agents(visit, cluster), done)
        assert (await client.final(sent["id"]))["result"] == "-20"
        link = visitor.see("fate-task").first.get_by_role("link")
        await expect(link).to_have_attribute("href", f"/ui/expressions/{sent['id']}")


async def _at_the_agents(visit: Visit, cluster: Cluster) -> Visitor:
    visitor = await visit(cluster.url, ADMIN)
    await visitor.open("agents")
    return visitor


async def _fates(visitor: Visitor, expected: dict[str, str]) -> None:
    for task, fate in expected.items():
        await expect(visitor.see("fate-task").filter(has_text=task)).to_contain_text(fate, timeout=WITHIN_MS)


async def test_an_admin_drains_and_disconnects_an_agent(
    make_cluster: Callable[..., Cluster], visit: Visit
) -> None:
    cluster = make_cluster()
    for name in ("first", "second"):
        cluster.start_agent(name, slots=1)
    visitor = await _at_the_agents(visit, cluster)
    first, second = (
        visitor.page.locator(f'[data-testid="agent-row"][data-agent="{name}"]')
        for name in ("first", "second")
    )
    await first.get_by_test_id("drain").click()
    await visitor.see("confirm").click()
    await expect(first).to_have_attribute("data-status", "draining")
    await expect(first.get_by_test_id("drain")).to_have_count(0)
    await second.get_by_test_id("disconnect").click()
    await visitor.see("confirm").click()
    await expect(second.and_(visitor.page.locator('[data-status="connected"]'))).to_have_count(0)
    await expect(first).to_have_attribute("data-status", "draining")
