"""What the pages say: in one language only, with the right words for numbers, by the server's clock."""

import re

import pytest
from playwright.async_api import expect

from tests.acceptance.conftest import Visit, as_admin
from tests.support.processes import ADMIN

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]

ENGLISH = re.compile(r"[a-z]{3,}")


async def test_a_failure_is_told_in_russian_wherever_it_stands(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"], locale="ru-RU")
    row = await visitor.submit("1 / 0")
    await expect(row).to_contain_text("Деление на ноль в операции 1 / 0")
    assert not ENGLISH.search(await row.inner_text())
    await expect(visitor.see("announcement")).to_contain_text("Деление на ноль")
    await row.get_by_role("link").first.click()
    told = visitor.page.locator(".result")
    await expect(told).to_contain_text("Это случилось в задаче #")
    await expect(told).to_contain_text("в операции 1 / 0")
    assert not ENGLISH.search(await told.inner_text())


async def test_one_operation_is_one_operation(visit: Visit, pages_url: str, secrets: dict[str, str]) -> None:
    for locale, words in (("ru-RU", "0 из 1 операции"), ("en-US", "0 of 1 operation")):
        visitor = await visit(pages_url, secrets["user"], locale=locale)
        # Subtractions take a second.
        row = await visitor.submit(f"5 - {len(words)}")
        await expect(row).to_contain_text(re.compile(re.escape(words) + r"(?!\w)"))


async def test_what_is_new_is_new_also_where_the_browsers_clock_is_wrong(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url)
    await visitor.page.clock.install()
    await visitor.page.add_init_script(
        "{ const real = Date.now.bind(Date); Date.now = () => real() + 600_000; }"
    )
    await visitor.sign_in(secrets["user"])
    await visitor.submit("600 + 1")
    await visitor.open("expressions")
    row = visitor.see("expression-row").filter(has_text="600 + 1")
    await expect(row.locator("td.created")).to_have_text(re.compile(r"just now|^\d+ s ago"))


async def test_monitoring_shows_what_happens_and_who_leads(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    visitor = await visit(pages_url, secrets["user"])
    await visitor.open("monitoring")
    leader = visitor.see("orchestrator-row").filter(has_text="leads")
    await expect(leader).to_have_count(1)
    await expect(leader).to_contain_text(re.compile(r"just now|\d+ s ago"))
    await expect(leader).not_to_contain_text("ms")
    line = visitor.see("chart").first.locator("path.line").first
    before = await line.get_attribute("d") or ""
    other = await visit(pages_url, secrets["user"])
    await other.submit("+".join(["3"] * 20))
    most = visitor.see("chart").first.locator("tbody td").last
    await expect(most).not_to_have_text("0", timeout=10_000)
    await expect(line).not_to_have_attribute("d", before, timeout=10_000)


async def test_durations_are_written_and_read_in_russian_and_faults_are_told(
    visit: Visit, pages_url: str
) -> None:
    visitor = await visit(pages_url, ADMIN, locale="ru-RU")
    await visitor.open("operations")
    row = visitor.page.locator('[data-operation="subtraction"]')
    field = row.get_by_test_id("duration-input")
    await field.fill("1,5 с")
    await field.press("Enter")
    await expect(field).to_have_value("1,5\u00a0с")
    await expect(visitor.page.get_by_role("status").filter(has_text="теперь 1,5")).to_have_count(1)
    await field.fill("5 попугаев")
    await field.press("Enter")
    await expect(row).to_contain_text("Единицы: мс, с, мин, ч и д.")
    await expect(field).to_have_attribute("aria-invalid", "true")
    await field.fill("9 д")
    await expect(row).to_contain_text("Самое большее — неделя")
    await field.press("Escape")
    await expect(field).to_have_value("1,5\u00a0с")


async def test_an_edit_that_somebody_overtakes_says_so_and_either_can_be_kept(
    visit: Visit, pages_url: str
) -> None:
    visitor = await visit(pages_url, ADMIN)
    await visitor.open("operations")
    row = visitor.page.locator('[data-operation="subtraction"]')
    field = row.get_by_test_id("duration-input")
    for theirs, mine, button, kept in (
        (1700, "1.8 s", "save-duration", "1.8\u00a0s"),
        (1900, "2.5 s", "revert-duration", "1.9\u00a0s"),
    ):
        await field.fill(mine)
        as_admin("PUT", f"{pages_url}/operations/subtraction", {"duration_ms": theirs})
        await expect(row).to_contain_text("Meanwhile somebody set it to")
        await expect(field).to_have_value(mine)
        await row.get_by_test_id(button).click()
        await expect(field).to_have_value(kept)


async def test_what_is_not_there_leads_on(visit: Visit, pages_url: str, secrets: dict[str, str]) -> None:
    visitor = await visit(pages_url, secrets["user"])
    visitor.expected.append(r"status of 404")
    await visitor.open("expressions/01926f3e-8d3c-7b1a-9c55-2f6f0b7f6a10")
    main = visitor.page.get_by_role("main")
    await expect(main).to_contain_text("There is no such expression")
    await expect(main.get_by_role("button")).to_have_count(0)
    await main.get_by_role("link", name="To all expressions").click()
    await expect(visitor.see("filter-text")).to_be_visible()
    await visitor.open()
    row = await visitor.submit("42")
    await row.get_by_role("link").first.click()
    await main.get_by_role("link", name="Send another expression").click()
    await expect(visitor.see("expression-input")).to_be_visible()
