"""Who has no mouse, does not see the page or wants it to stand still: focus, announcements, motion."""

import pytest
from playwright.async_api import Locator, expect

from tests.acceptance.conftest import Visit, as_admin
from tests.support.browser import Visitor
from tests.support.processes import ADMIN

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]


async def tab_to(visitor: Visitor, wanted: Locator) -> None:
    """Press Tab until it has the focus, as somebody would who looks for it."""
    for _ in range(60):
        if await wanted.evaluate("it => it === document.activeElement"):
            return
        await visitor.page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {wanted}")


async def test_keys_alone_lead_from_sign_in_to_a_result(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url)
    visitor.expected.append(r"status of 401.*/session")
    await visitor.open()
    keys = visitor.page.keyboard
    await expect(visitor.see("token-input")).to_be_focused()
    await keys.insert_text(secrets["user"])
    await keys.press("Enter")
    await expect(visitor.see("expression-input")).to_be_focused()
    await keys.type("20 + 22 + 8")
    await expect(visitor.see("preview").locator("dl")).to_be_visible()
    await tab_to(visitor, visitor.see("send"))
    await keys.press("Enter")
    row = visitor.see("sent-row").first
    await expect(row.get_by_test_id("result")).to_contain_text("50")
    # Those who hear the page are told.
    await expect(visitor.see("announcement")).to_have_text("20 + 22 + 8 is 50")
    await expect(visitor.see("announcement")).to_have_attribute("aria-live", "polite")
    await tab_to(visitor, row.get_by_role("link").first)
    await keys.press("Enter")
    await expect(visitor.page.get_by_role("heading", level=1)).to_be_focused()
    await expect(visitor.see("result")).to_have_text("50")
    # Into the graph, and to what a task says.
    await expect(visitor.see("graph-task")).to_have_count(2)
    await tab_to(visitor, visitor.page.get_by_role("application").first)
    await keys.press("ArrowDown")
    await expect(visitor.page.locator(".details")).to_contain_text("addition")


async def test_a_page_that_is_opened_has_the_focus_where_one_goes_on(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    await expect(visitor.see("expression-input")).to_be_focused()
    await visitor.page.locator('nav a[href="/ui/expressions"]').click()
    await expect(visitor.page.get_by_role("heading", level=1)).to_be_focused()
    await visitor.page.locator('nav a[href="/ui/"]').click()
    await expect(visitor.see("expression-input")).to_be_focused()


async def test_a_dialog_begins_at_its_field_and_returns_to_what_is_wrong(
    visit: Visit, pages_url: str
) -> None:
    visitor = await visit(pages_url, ADMIN)
    await visitor.open("tokens")
    await visitor.see("create-token").click()
    name = visitor.see("token-name")
    await expect(name).to_be_focused()
    await visitor.see("make-token").click()
    await expect(name).to_be_focused()
    await expect(name).to_have_attribute("aria-invalid", "true")
    await name.fill("somebody")
    await visitor.page.locator("dialog select").select_option("date")
    await visitor.see("make-token").click()
    await expect(visitor.page.locator("dialog input[type=date]")).to_be_focused()
    await visitor.page.keyboard.press("Escape")
    await expect(visitor.see("create-token")).to_be_focused()


async def test_dialogs_have_one_form_and_begin_at_what_changes_nothing(visit: Visit, pages_url: str) -> None:
    visitor = await visit(pages_url, ADMIN)
    await visitor.open("agents")
    await visitor.see("drain").first.click()
    buttons = visitor.page.locator("dialog .buttons button")
    await expect(buttons).to_have_count(2)
    await expect(buttons.first).to_be_focused()
    await expect(buttons.last).to_have_attribute("data-testid", "confirm")
    await visitor.page.keyboard.press("Escape")
    await expect(buttons).to_have_count(0)


@pytest.mark.parametrize(("motion", "moves"), [("no-preference", True), ("reduce", False)])
async def test_the_pages_move_only_for_those_who_like_it(
    visit: Visit, pages_url: str, secrets: dict[str, str], motion: str, moves: bool
) -> None:
    visitor = await visit(pages_url, secrets["user"], reduced_motion=motion)
    row = await visitor.submit("7 - 6 - 5")
    animated = "it => it.getAnimations({subtree: true}).length > 0"
    assert await row.evaluate(animated) is moves
    await row.get_by_role("link").first.click()
    await visitor.see("graph-task").first.wait_for()
    await expect(visitor.see("result")).to_have_text("−4")


async def test_a_session_that_is_ended_elsewhere_asks_over_the_idle_page(
    visit: Visit, pages_url: str
) -> None:
    made = as_admin("POST", f"{pages_url}/tokens", {"name": "short-lived", "role": "user"})
    visitor = await visit(pages_url, made["secret"])
    visitor.expected += [r"status of 401"]
    await visitor.open("operations")
    await visitor.see("operation-row").first.wait_for()
    await expect(visitor.see("live-state").first).to_have_attribute("data-state", "live")
    as_admin("DELETE", f"{pages_url}/tokens/{made['id']}")
    dialog = visitor.page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Your session has ended")
    await expect(dialog.get_by_test_id("token-input")).to_be_focused()
    # The page stays behind it.
    await expect(visitor.page.locator('[data-testid="operation-row"]')).to_have_count(4)
    assert not await visitor.violations()
