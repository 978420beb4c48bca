"""Nobody is offered what the role does not allow, on any page; and everybody reads in the own language."""

import httpx
import pytest
from playwright.async_api import expect

from tests.acceptance.conftest import Visit
from tests.support.processes import ADMIN

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]

PAGES = ("", "expressions", "operations", "agents", "monitoring")
CHANGING = ("send", "cancel", "save-duration", "duration-input", "drain", "disconnect", "create-token")
"""What changes something, wherever it stands."""

OFFERED = {
    "viewer": frozenset[str](),
    "user": frozenset({"send", "duration-input"}),
    "admin": frozenset({"send", "duration-input", "drain", "disconnect", "create-token"}),
}


@pytest.mark.parametrize("role", sorted(OFFERED))
async def test_a_role_is_offered_what_it_may_do_and_nothing_else(
    visit: Visit, pages_url: str, secrets: dict[str, str], role: str
) -> None:
    visitor = await visit(pages_url, secrets[role])
    offered: set[str] = set()
    for path in (*PAGES, *(("tokens",) if role == "admin" else ())):
        await visitor.open(path)
        if path == "operations":
            await visitor.see("operation-row").first.wait_for()
        if path == "agents":
            await visitor.see("agent-row").first.wait_for()
        offered |= {name for name in CHANGING if await visitor.see(name).count()}
    assert offered == OFFERED[role]
    tokens = visitor.page.locator('a[href="/ui/tokens"]')
    assert await tokens.count() == (role == "admin")


async def test_a_token_is_made_shown_once_and_revoked(visit: Visit, pages_url: str) -> None:
    visitor = await visit(pages_url, ADMIN)
    await visitor.open("tokens")
    await visitor.see("create-token").click()
    await visitor.see("token-name").fill("passing-by")
    await visitor.see("make-token").click()
    secret = await visitor.see("secret").get_attribute("data-secret")
    assert secret

    def speaks() -> int:
        return httpx.get(
            f"{pages_url}/expressions", headers={"Authorization": f"Bearer {secret}"}, timeout=30
        ).status_code

    assert speaks() == 200
    await visitor.see("secret-done").click()
    assert secret not in await visitor.page.content()
    row = visitor.page.locator('[data-testid="token-row"][data-token="passing-by"]')
    await row.get_by_test_id("revoke").click()
    await visitor.see("confirm").click()
    await expect(row.get_by_test_id("revoke")).to_have_count(0)
    assert speaks() == 401


@pytest.mark.parametrize(
    ("locale", "title", "other", "changed"),
    [("ru-RU", "Вычислительные ресурсы", "en", "Computing resources"),
     ("de-DE", "Computing resources", "ru", "Вычислительные ресурсы")],
)  # fmt: skip
async def test_the_language_is_the_browsers_and_can_be_changed_for_good(
    visit: Visit, pages_url: str, secrets: dict[str, str], locale: str, title: str, other: str, changed: str
) -> None:
    visitor = await visit(pages_url, secrets["viewer"], locale=locale)
    await visitor.open("agents")
    heading = visitor.page.get_by_role("heading", level=1)
    await expect(heading).to_have_text(title)
    await visitor.see("language").select_option(other)
    await expect(heading).to_have_text(changed)
    assert await visitor.page.locator("html").get_attribute("lang") == other
    await visitor.open("agents")
    await expect(heading).to_have_text(changed)
