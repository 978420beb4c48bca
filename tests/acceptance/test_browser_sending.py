"""The form: a repeated send makes one expression, and a mistake is shown where it is."""

import re
from typing import Any

import httpx
import pytest
from playwright.async_api import Route, expect

from tests.acceptance.conftest import Visit

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]


def sent(url: str, secret: str, text: str) -> list[dict[str, Any]]:
    """The expressions with this text, as the server knows them."""
    answer = httpx.get(
        f"{url}/expressions", params={"q": text}, headers={"Authorization": f"Bearer {secret}"}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_double_click_makes_one_expression(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    await visitor.see("expression-input").fill("11 + 22 + 33")
    await visitor.see("send").dblclick()
    await expect(visitor.see("sent-row").first.get_by_test_id("result")).to_contain_text("66")
    assert len(sent(pages_url, secrets["user"], "11 + 22 + 33")) == 1


async def test_an_answer_that_is_lost_on_its_way_makes_no_second_expression(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    visitor.expected.append(r"net::ERR_.*/expressions")
    lost = 0

    async def lose_the_first(route: Route) -> None:
        nonlocal lost
        if route.request.method != "POST" or lost:
            await route.continue_()
            return
        lost += 1
        await route.fetch()  # it arrives, and the answer does not
        await route.abort()

    await visitor.page.route("**/expressions", lose_the_first)
    await visitor.see("expression-input").fill("44 + 55 + 66")
    await visitor.see("send").click()
    row = visitor.see("sent-row").filter(has_text="44 + 55 + 66")
    problem = visitor.page.get_by_role("alert")
    await expect(row.or_(problem).first).to_be_visible()
    assert lost == 1
    if not await row.count():  # it was told, and sends again what is still there
        await visitor.see("send").click()
    await expect(row.first.get_by_test_id("result")).to_contain_text("165")
    assert len(sent(pages_url, secrets["user"], "44 + 55 + 66")) == 1


async def test_a_mistake_is_shown_at_its_place_and_nothing_is_sent(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    visitor.expected.append(r"status of 400.*/plan")
    await visitor.see("expression-input").fill("2 2 + 3")
    error = visitor.see("parse-error")
    await expect(error).to_be_visible()
    # The character before it and the rest after it: the mark stands under the second 2.
    await expect(error).to_have_attribute("data-position", "2")
    await visitor.see("expression-input").fill("2 + 2 + 3")
    await expect(error).to_be_hidden()
    await expect(visitor.see("preview")).to_be_visible()
    assert not sent(pages_url, secrets["user"], "2 2 + 3")


async def test_what_was_typed_outlives_a_session_that_ends(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    visitor.expected.append(r"status of 401")
    await visitor.see("expression-input").fill("7 + 8 + 9")
    await expect(visitor.see("preview")).to_contain_text("one after another")
    await visitor.context.clear_cookies()
    await visitor.see("send").click()
    await visitor.see("token-input").fill(secrets["user"])
    await visitor.see("sign-in").click()
    await expect(visitor.see("token-input")).to_be_hidden()
    await expect(visitor.see("expression-input")).to_have_value("7 + 8 + 9")


async def test_a_reload_keeps_the_draft_and_its_id(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    visitor.expected.append(r"net::ERR_.*/expressions")
    ids: list[str] = []

    async def lose_the_first(route: Route) -> None:
        if route.request.method == "POST":
            ids.append(route.request.post_data_json["id"])
            if len(ids) == 1:
                await route.fetch()
                await route.abort()
                return
        await route.continue_()

    await visitor.page.route("**/expressions", lose_the_first)
    await visitor.see("expression-input").fill("77 + 88 + 99")
    await visitor.see("send").click()
    await expect(visitor.page.get_by_role("alert")).to_be_visible()
    await visitor.page.reload()
    await expect(visitor.see("expression-input")).to_have_value("77 + 88 + 99")
    await visitor.see("send").click()
    await expect(visitor.see("sent-row").first.get_by_test_id("result")).to_contain_text("264")
    assert len(ids) == 2 and len(set(ids)) == 1
    assert len(sent(pages_url, secrets["user"], "77 + 88 + 99")) == 1


async def test_the_preview_says_what_it_costs_and_of_a_long_text_on_request(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    await visitor.see("expression-input").fill("(1 + 2) * (3 + 4) - 5 * 6")
    preview = visitor.see("preview")
    await expect(preview).to_contain_text("5")
    await expect(preview).to_contain_text("operations")
    await expect(preview).to_contain_text("3 machines can help at once")
    asked: list[str] = []
    visitor.page.on(
        "request", lambda request: asked.append(request.url) if request.url.endswith("/plan") else None
    )
    await visitor.see("expression-input").fill("+".join(["12345"] * 4_000))
    await preview.get_by_role("button").click()
    await expect(preview).to_contain_text("17 operations")
    assert len(asked) == 1, "nobody asked before"


async def test_what_was_sent_shows_how_far_it_is(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    row = await visitor.submit("1 / 2 / 3 / 4 / 5 / 6 / 7 / 8 / 9 / 10 + 1 / 2 / 3")
    await expect(row.get_by_role("progressbar")).to_have_attribute(
        "aria-valuetext", re.compile(r"^[1-9]\d* of \d+$")
    )
    await expect(row.get_by_test_id("result")).to_be_visible()
    await expect(row.get_by_role("progressbar")).to_have_count(0)
