"""Every page, in both schemes: no violation by axe, nothing on the console, no request to another site, and a
policy that forbids what the pages do not need. And small enough for a slow line."""

import gzip
import re
from pathlib import Path

import httpx
import pytest
from playwright.async_api import expect

from tests.acceptance.conftest import Visit
from tests.support.browser import BUILT
from tests.support.processes import ADMIN

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]

FIRST_BYTES_MAX = 80_000
"""Scripts and sheets that the first page waits for, as they travel: gzipped."""

ALL_BYTES_MAX = 160_000
"""All of them; those of the other pages come when the first one is there."""

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
@pytest.mark.parametrize("width", [390, 1440])
async def test_every_page_is_accessible_and_quiet(
    visit: Visit, pages_url: str, scheme: str, width: int
) -> None:
    visitor = await visit(pages_url, ADMIN, color_scheme=scheme, viewport={"width": width, "height": 900})
    row = await visitor.submit("(1 + 2) * (3 + 4) / 5")
    await expect(row.get_by_test_id("result")).to_contain_text("4.2")
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


async def test_the_sign_in_page_is_accessible(visit: Visit, pages_url: str) -> None:
    visitor = await visit(pages_url)
    visitor.expected.append(r"status of 401.*/session")
    await visitor.open()
    await visitor.see("token-input").wait_for()
    assert not await visitor.violations()


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
    everything = [path for path in (BUILT / "assets").iterdir() if path.suffix in (".js", ".css")]
    assert first
    assert sum(map(size, first)) <= FIRST_BYTES_MAX
    assert sum(map(size, everything)) <= ALL_BYTES_MAX
