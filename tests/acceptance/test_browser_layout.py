"""Nothing moves under the eyes or the finger, nothing is cut off, and what stands in a row is in line."""

from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.acceptance.conftest import Visit
from tests.support.processes import ADMIN

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1440, "height": 900}
UNBREAKABLE = "+".join(str(k) for k in range(30))

LOCALES = ["en-US", "ru-RU"]


async def box(of: Locator) -> dict[str, Any]:
    found = await of.bounding_box()
    assert found is not None
    return dict(found)


@pytest.mark.parametrize("locale", LOCALES)
async def test_a_title_without_a_place_to_break_widens_no_page_and_leaves_the_buttons_beside_it(
    visit: Visit, pages_url: str, secrets: dict[str, str], locale: str
) -> None:
    for viewport in (PHONE, DESK):
        visitor = await visit(pages_url, secrets["user"], locale=locale, viewport=viewport)
        row = await visitor.submit(UNBREAKABLE)
        await row.get_by_role("link").first.click()
        heading = visitor.page.get_by_role("heading", level=1)
        await expect(heading).to_contain_text("0+1+2+3")
        assert await visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if viewport is DESK:
            title, status = await box(heading), await box(visitor.page.locator(".page-actions"))
            assert status["x"] >= title["x"] + title["width"]
            assert status["y"] < title["y"] + title["height"]
        await visitor.open("expressions")
        await visitor.see("expression-row").first.wait_for()
        assert await visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
async def test_the_form_stands_still_while_one_types(
    visit: Visit, pages_url: str, secrets: dict[str, str], locale: str, viewport: dict[str, int]
) -> None:
    visitor = await visit(pages_url, secrets["user"], locale=locale, viewport=viewport)
    visitor.expected.append(r"status of 400.*/plan")
    field, send = visitor.see("expression-input"), visitor.see("send")
    idle = (await box(send))["y"]
    await field.fill("1+2+3+4+5+6+7+8*9*9*8")
    await expect(visitor.see("preview").locator("dl")).to_be_visible()
    assert (await box(send))["y"] == pytest.approx(idle, abs=0.5)
    await field.fill("1 + + 2")
    await expect(visitor.see("parse-error")).to_be_visible()
    assert (await box(send))["y"] == pytest.approx(idle, abs=0.5)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
async def test_a_duration_stands_still_while_it_is_edited(
    visit: Visit, pages_url: str, secrets: dict[str, str], locale: str, viewport: dict[str, int]
) -> None:
    visitor = await visit(pages_url, secrets["user"], locale=locale, viewport=viewport)
    await visitor.open("operations")
    row = visitor.page.locator('[data-operation="multiplication"]')
    field = row.get_by_test_id("duration-input")
    before, row_before = await box(field), await box(row)
    await field.press_sequentially("9")
    save, revert = row.get_by_test_id("save-duration"), row.get_by_test_id("revert-duration")
    await expect(save).to_be_visible()
    after = await box(field)
    assert (after["x"], after["y"]) == (before["x"], before["y"])
    assert after["width"] == pytest.approx(before["width"], abs=10)
    assert (await box(row))["height"] == row_before["height"]
    # All in one line, and within the row.
    for button in (save, revert):
        place = await box(button)
        assert abs(place["y"] - after["y"]) < 4
        assert place["x"] + place["width"] <= row_before["x"] + row_before["width"]


async def test_a_viewers_durations_stand_beside_their_names(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["viewer"], viewport=DESK)
    await visitor.open("operations")
    row = visitor.see("operation-row").first
    name, duration = await box(row.locator("th")), await box(row.get_by_test_id("duration"))
    text = await row.locator("th").evaluate(
        "it => { const range = document.createRange(); range.selectNodeContents(it);"
        " return range.getBoundingClientRect().y; }"
    )
    assert name["y"] <= duration["y"]
    assert duration["y"] == pytest.approx(text, abs=2)


@pytest.mark.parametrize("locale", LOCALES)
async def test_the_rail_stands_still_from_page_to_page(
    visit: Visit, pages_url: str, secrets: dict[str, str], locale: str
) -> None:
    visitor = await visit(pages_url, secrets["user"], locale=locale, viewport=DESK)
    below = visitor.page.locator('nav a[href="/ui/monitoring"]')
    before = await box(below)
    await visitor.page.locator('nav a[href="/ui/agents"]').click()
    await visitor.see("agent-row").first.wait_for()
    assert await box(below) == before


@pytest.mark.parametrize("locale", LOCALES)
async def test_a_phone_shows_every_status_to_filter_by(
    visit: Visit, pages_url: str, secrets: dict[str, str], locale: str
) -> None:
    visitor = await visit(pages_url, secrets["user"], locale=locale, viewport=PHONE)
    await visitor.open("expressions")
    for status in ("queued", "running", "done", "failed", "cancelled"):
        place = await box(visitor.see(f"filter-{status}"))
        assert place["x"] >= 0
        assert place["x"] + place["width"] <= PHONE["width"]


async def test_the_list_gives_most_room_to_the_expressions(visit: Visit, pages_url: str) -> None:
    visitor = await visit(pages_url, ADMIN, viewport=DESK)
    await visitor.submit("1 + 1")
    await visitor.open("expressions")
    row = visitor.see("expression-row").first
    expression, result = await box(row.locator("td.expression")), await box(row.locator("td.result"))
    assert expression["width"] > 1.7 * result["width"]


async def test_charts_of_a_row_stand_at_one_height_and_their_axes_can_be_read(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["viewer"], viewport=DESK)
    await visitor.open("monitoring")
    charts = visitor.see("chart")
    await expect(charts).to_have_count(6)
    pictures = charts.locator("svg")
    tops = [round((await box(pictures.nth(k)))["y"]) for k in range(6)]
    assert len(set(tops[:3])) == len(set(tops[3:])) == 1
    for k in range(6):
        labels = await pictures.nth(k).locator("[data-axis=value]").all_text_contents()
        assert len(labels) == len(set(labels)) >= 2
        frame = await box(pictures.nth(k))
        for time in await pictures.nth(k).locator("[data-axis=time]").all():
            place = await box(time)
            assert place["x"] + place["width"] <= frame["x"] + frame["width"] + 0.5


@pytest.mark.parametrize(("locale", "viewport"), [("en-US", DESK), ("ru-RU", PHONE)])
async def test_a_mistake_is_marked_at_its_character_and_told_below_it(
    visit: Visit, pages_url: str, secrets: dict[str, str], locale: str, viewport: dict[str, int]
) -> None:
    visitor = await visit(pages_url, secrets["user"], locale=locale, viewport=viewport)
    visitor.expected.append(r"status of 400.*/plan")
    await visitor.see("expression-input").fill("12 + 34 ++ 5")
    error = visitor.see("parse-error")
    await expect(error).to_be_visible()
    mark, field = await box(visitor.page.locator("mark")), await box(visitor.see("expression-input"))
    # The tenth of twelve characters of one width, behind the field's padding.
    width = await visitor.page.locator("mark").evaluate("it => it.getBoundingClientRect().width")
    left = await visitor.see("expression-input").evaluate(
        "it => { const style = getComputedStyle(it);"
        " return parseFloat(style.paddingLeft) + parseFloat(style.borderLeftWidth); }"
    )
    assert mark["x"] == pytest.approx(field["x"] + left + 9 * width, abs=2)
    assert field["y"] < mark["y"] < field["y"] + field["height"]
    told, stem = await box(error), await box(visitor.page.locator(".stem"))
    assert stem["x"] == pytest.approx(mark["x"] + width / 2, abs=2)
    assert told["x"] <= stem["x"] <= told["x"] + told["width"]
    assert stem["y"] + stem["height"] >= told["y"] > mark["y"] + mark["height"]
