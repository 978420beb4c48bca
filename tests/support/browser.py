"""A real Chromium that looks at the pages, as somebody signed in or as nobody yet.

Playwright's own pytest plugin starts a loop of its own, which breaks asynchronous tests that come later: the
fixtures in tests/acceptance/conftest.py use these classes on the session's loop instead.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "server" / "curta_server" / "ui"
AXE = ROOT / "client" / "node_modules" / "axe-core" / "axe.min.js"

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

WITHIN_MS = 15_000.0
"""How long a page may take for anything, on two cores that are busy with other things."""


def _missing(what: str) -> None:
    """No browser: a skipped test by hand, a failed one in continuous integration."""
    text = f"{what}: what the pages do is NOT tested"
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The machine's Chromium, without a window."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        _missing("there is no Chromium here (Debian and Ubuntu: apt-get install chromium)")
    if not (BUILT / "index.html").exists():
        _missing("the client is not built (make install)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


class Visitor:
    """One person's browser, with cookies and storage of its own; its first tab is `page`.

    `faults` collects what nobody wants on any page: errors on the console, uncaught exceptions, refusals by
    the Content-Security-Policy (the console says them), requests to another site. `sockets` are the live
    connections that are open.
    """

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context = context
        self.page = page
        self.url = url
        self.faults: list[str] = []
        self.expected: list[str] = []
        """Patterns of faults that the test brings about on purpose."""
        self.sockets: set[Any] = set()
        self.watch(page)

    def watch(self, page: Page) -> None:
        """Take note of what happens in one more tab."""
        page.on("console", lambda message: self._note(message.type, message.text, message.location))
        page.on("pageerror", lambda error: self._fault(f"uncaught: {error}"))
        page.on("request", lambda request: self._went_to(request.url))
        page.on("websocket", self._opened)

    def _note(self, kind: str, text: str, location: Any) -> None:
        if kind in ("error", "warning"):
            self._fault(f"{kind}: {text} {location.get('url', '')}")

    def _went_to(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.url).netloc:
            self._fault(f"request to another site: {url}")

    def _opened(self, socket: Any) -> None:
        self._went_to(socket.url)
        self.sockets.add(socket)
        socket.on("close", lambda closed: self.sockets.discard(closed))

    def _fault(self, text: str) -> None:
        self.faults.append(text)

    def check(self) -> None:
        """Raises AssertionError if there was any fault that the test did not expect."""
        left = [fault for fault in self.faults if not any(re.search(each, fault) for each in self.expected)]
        assert not left, "\n".join(left)

    async def open(self, path: str = "") -> None:
        """Go to a page, and wait until its heading is there."""
        self.sockets.clear()  # a page that is left takes its own with it, and says nothing
        await self.page.goto(f"{self.url}/ui/{path}")
        await self.page.locator("h1").first.wait_for()

    async def sign_in(self, secret: str) -> None:
        """By the link with the token."""
        await self.open(f"#token={secret}")
        await self.see("sign-out").wait_for(state="attached")

    def see(self, testid: str, *, of: Page | None = None) -> Locator:
        """What stands on the page under that name."""
        return (of or self.page).get_by_test_id(testid)

    async def submit(self, text: str) -> Locator:
        """Send an expression by the form; its row among those just sent."""
        await self.see("expression-input").fill(text)
        await self.see("send").click()
        row = self.see("sent-row").filter(has_text=text).first
        await row.wait_for()
        return row

    async def violations(self) -> list[str]:
        """What axe finds on the page as it is, in words; what is just appearing is waited for."""
        await self.page.evaluate(_STILL)
        await self.page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
        found: dict[str, Any] = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {each['help']}: {node['html'][:200]} {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]


_STILL = """async () => {
    const all = document.getAnimations();
    const passing = all.filter((one) => one.effect.getComputedTiming().endTime < Infinity);
    await Promise.allSettled(passing.map((one) => one.finished));
}"""
"""What fades in has half its contrast on the way."""


@contextlib.asynccontextmanager
async def visiting(browser: Browser, url: str, **options: Any) -> AsyncIterator[Visitor]:
    """Somebody's browser for one test; raises at its end if a page did what none may."""
    # A POSIX locale, which a bare machine has, is none for Intl.
    context = await browser.new_context(**{"locale": "en-US", "reduced_motion": "reduce", **options})
    context.set_default_timeout(WITHIN_MS)
    try:
        visitor = Visitor(context, await context.new_page(), url)
        yield visitor
        visitor.check()
    finally:
        await context.close()
