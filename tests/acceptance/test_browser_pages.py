"""Every page, in both schemes: no violation by axe, nothing on the console, no request to another site, and a
policy that forbids what the pages do not need. And small enough for a slow line."""

import gzip
import re
from pathlib import Path

import httpx
import pytest
from playwright.async_api import expect

from tests.acceptance.conftest import Visit, as_admin
from tests.support.browser import BUILT
from tests.support.processes import ADMIN

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]

FIRST_BYTES_MAX = 64_000
"""Scripts and sheets that the first page waits for, in the longer language, gzipped as they travel."""

USUAL_BYTES_MAX = 90_000
"""With the page of one expression, which comes when there is nothing else to do."""

ALL_BYTES_MAX = 113_000
"""Every page in one language."""

PAGES = {
    "": "expression-input",
    "expressions": "expression-row",
    "operations": "operation-row",
    "agents": "agent-row",
    "monitoring": "orchestrator-row",
    "tokens": "token-row",
}
"""Each with what is there once it has loaded."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "locale"), [(390, "ru-RU"), (390, "en-US"), (1440, "en-US")])
async def test_every_page_is_accessible_and_quiet(
    visit: Visit, pages_url: str, scheme: str, width: int, locale: str
) -> None:
    visitor = await visit(
        pages_url, ADMIN, color_scheme=scheme, locale=locale, viewport={"width": width, "height": 900}
    )
    row = await visitor.submit("(1 + 2) * (3 + 4) / 5")
    await expect(row.get_by_test_id("result")).to_contain_text("4.2")
    # A title without a place to break.
    await visitor.submit("+".join(map(str, range(30))))
    found = {"calculate": await visitor.violations()}
    for path, there in PAGES.items():
        if path:
            await visitor.open(path)
            await visitor.see(there).first.wait_for()
            found[path] = await visitor.violations()
        overflow = await visitor.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not overflow, f"{path or 'calculate'} is wider than {width} px"
    await visitor.open("expressions")
    await visitor.see("expression-row").first.get_by_role("link").first.click()
    await visitor.see("graph-task").first.wait_for()
    await visitor.see("timeline").wait_for()
    found["expression"] = await visitor.violations()
    assert not any(found.values()), "\n".join(f"{page}: {each}" for page in found for each in found[page])


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_sign_in_page_is_accessible(visit: Visit, pages_url: str, scheme: str) -> None:
    visitor = await visit(pages_url, color_scheme=scheme)
    visitor.expected.append(r"status of 401.*/session")
    await visitor.open()
    await visitor.see("token-input").wait_for()
    assert not await visitor.violations()
    await visitor.see("token-input").fill("no token of this place")
    await visitor.see("sign-in").click()
    await visitor.page.locator(".error").wait_for()
    assert not await visitor.violations()


@pytest.mark.parametrize(("scheme", "locale"), [("light", "en-US"), ("dark", "ru-RU")])
async def test_mistakes_failures_dialogs_and_empty_pages_are_accessible(
    visit: Visit, pages_url: str, scheme: str, locale: str
) -> None:
    made = as_admin("POST", f"{pages_url}/tokens", {"name": f"newcomer in {locale}", "role": "user"})
    found: dict[str, list[str]] = {}
    new = await visit(pages_url, made["secret"], color_scheme=scheme, locale=locale)
    new.expected += [r"status of 400.*/plan", r"status of 404"]
    found["examples"] = await new.violations()
    await new.open("expressions")
    await new.page.get_by_role("heading", level=2).wait_for()
    found["no expressions"] = await new.violations()
    await new.open("tokens")
    await new.page.get_by_role("heading", level=2).wait_for()
    found["not for this role"] = await new.violations()
    await new.open("expressions/none")
    await new.page.get_by_role("heading", level=2).wait_for()
    found["no such expression"] = await new.violations()
    await new.open()
    await new.see("expression-input").fill("1 + + 2")
    await new.see("parse-error").wait_for()
    found["mistake"] = await new.violations()
    row = await new.submit("1 / 0")
    await expect(row).to_have_attribute("data-status", "failed")
    found["failure"] = await new.violations()
    await row.get_by_role("link").first.click()
    await new.see("graph-task").first.wait_for()
    found["failed expression"] = await new.violations()

    admin = await visit(pages_url, ADMIN, color_scheme=scheme, locale=locale)
    await admin.open("tokens")
    await admin.see("create-token").click()
    await admin.see("make-token").click()
    found["make a token"] = await admin.violations()
    await admin.page.keyboard.press("Escape")
    await admin.see("revoke").last.click()
    await admin.see("confirm").wait_for()
    found["revoke a token"] = await admin.violations()
    await admin.open("agents")
    await admin.see("disconnect").first.click()
    await admin.see("confirm").wait_for()
    found["disconnect an agent"] = await admin.violations()
    assert not any(found.values()), "\n".join(f"{state}: {each}" for state in found for each in found[state])


async def test_the_policy_forbids_other_sites_inline_code_and_framing(pages_url: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{pages_url}/ui/", timeout=30)
    policy = dict(
        part.strip().split(" ", 1)
        for part in answer.headers["Content-Security-Policy"].split(";")
        if part.strip()
    )
    assert policy["default-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


async def test_an_inline_script_is_not_run(visit: Visit, pages_url: str, secrets: dict[str, str]) -> None:
    visitor = await visit(pages_url, secrets["viewer"])
    visitor.expected.append(r"Content.Security.Policy")
    await visitor.page.evaluate(
        "() => { const made = document.createElement('script'); made.textContent = 'window.ran = true';"
        " document.head.append(made); }"
    )
    assert await visitor.page.evaluate("window.ran") is None


async def test_the_first_page_is_small_and_so_is_the_whole() -> None:
    def size(path: Path) -> int:
        return len(gzip.compress(path.read_bytes(), 9))

    markup = (BUILT / "index.html").read_text(encoding="utf-8")
    first = [BUILT / name for name in re.findall(r'"/ui/(assets/[^"]+\.(?:js|css))"', markup)]
    everything = {path for path in (BUILT / "assets").iterdir() if path.suffix in (".js", ".css")}
    languages = [path for path in everything if re.match(r"(en|ru)-", path.name)]
    usual = [path for path in everything if path.name.startswith(("Expression-", "plural-", "progress-"))]
    assert first
    assert len(languages) == 2
    assert len(usual) == 4
    language = max(map(size, languages))
    assert sum(map(size, first)) + language <= FIRST_BYTES_MAX
    assert sum(map(size, {*first, *usual})) + language <= USUAL_BYTES_MAX
    assert sum(map(size, everything.difference(languages))) + language <= ALL_BYTES_MAX
