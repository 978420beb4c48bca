"""The whole way as a person goes it: the link that `curta up` prints, the form, the result."""

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.acceptance.conftest import Visit
from tests.support.curta_up import running_in

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]


async def test_the_link_of_curta_up_leads_to_a_result(visit: Visit, tmp_path: Path) -> None:
    with running_in(tmp_path) as up:
        link = re.search(r"http://\S+/ui/#token=\S+", up.process.output)
        assert link is not None, up.process.output
        visitor = await visit(up.url)
        await visitor.page.goto(link[0])
        await expect(visitor.see("expression-input")).to_be_visible()
        # Nobody who looks over the shoulder, and no history, has the token.
        assert visitor.page.url == f"{up.url}/ui/"
        assert up.token not in await visitor.page.content()

        await visitor.see("expression-input").fill("(1 + 2) * (3 + 4)")
        await expect(visitor.see("preview")).to_be_visible()
        await visitor.see("send").click()
        row = visitor.see("sent-row").first
        await expect(row.get_by_test_id("result")).to_contain_text("21", timeout=20_000)

        # The cookie lasts: a new tab needs no token, and `/` leads to the pages.
        tab = await visitor.context.new_page()
        visitor.watch(tab)
        await tab.goto(up.url)
        assert tab.url == f"{up.url}/ui/"
        await expect(visitor.see("expression-input", of=tab)).to_be_visible()

        # Signing out ends it in every tab.
        await visitor.see("sign-out", of=tab).click()
        await expect(visitor.see("token-input", of=tab)).to_be_visible()
        await expect(visitor.see("token-input")).to_be_visible()
        # Before the first sign-in the page asked whether there is a session; and now there is none.
        visitor.expected.append(r"status of 401.*/session")


async def test_a_wrong_token_is_refused_with_words_and_the_right_one_signs_in(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url)
    visitor.expected.append(r"status of 401.*/session")
    await visitor.open()
    await visitor.see("token-input").fill("curta_no-token-of-this-place")
    await visitor.see("sign-in").click()
    await expect(visitor.page.get_by_role("alert").filter(has_text=re.compile(r"\w"))).to_be_visible()
    await visitor.see("token-input").fill(secrets["user"])
    await visitor.see("sign-in").click()
    await expect(visitor.see("expression-input")).to_be_visible()
