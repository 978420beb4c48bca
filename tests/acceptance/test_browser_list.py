"""A long list of expressions: pages come as one scrolls, what is on the screen stays live, what is new waits
above, and keyboard and filters find their way."""

from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.acceptance.conftest import Visit
from tests.support.processes import ADMIN

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]

SLOW = "+".join(["7"] * 400)
"""A minute's work: cancelled long before it is done."""


SCROLL = """top => {
    const list = document.querySelector('.scroller');
    list.scrollTop = top;
    return list.scrollTop === top;
}"""


class Owner:
    """A user of its own, so that the list holds what the test sent and nothing else."""

    def __init__(self, url: str, name: str) -> None:
        answer = httpx.post(
            f"{url}/tokens",
            json={"name": name, "role": "user"},
            headers={"Authorization": f"Bearer {ADMIN}"},
            timeout=30,
        )
        self.secret: str = answer.raise_for_status().json()["secret"]
        self.client = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {self.secret}"}, timeout=30
        )

    async def send(self, *texts: str) -> list[str]:
        """Their ids."""
        body = {"expressions": [{"expression": text, "optimize": False} for text in texts]}
        answer: dict[str, Any] = (
            (await self.client.post("/expressions/batch", json=body)).raise_for_status().json()
        )
        return [item["id"] for item in answer["items"]]

    async def cancel(self, id: str) -> None:
        (await self.client.delete(f"/expressions/{id}")).raise_for_status()


@pytest_asyncio.fixture(loop_scope="session")
async def owner(pages_url: str, request: pytest.FixtureRequest) -> Any:
    owner = Owner(pages_url, f"owner of {request.node.name}"[:255])
    async with owner.client:
        yield owner


async def test_one_who_reads_further_down_is_not_moved_and_still_sees_changes(
    visit: Visit, pages_url: str, owner: Owner
) -> None:
    await owner.send(*(str(k) for k in range(1000)))
    [slow] = await owner.send(SLOW)
    await owner.send(*(str(k) for k in range(1000, 1500)))
    visitor = await visit(pages_url, owner.secret)
    await visitor.open("expressions")
    rows = visitor.see("expression-row")
    await expect(rows.first).to_contain_text("1499")
    height = await rows.first.evaluate("row => row.offsetHeight")
    # The pages below come while one scrolls; until then there is no such place.
    await visitor.page.wait_for_function(SCROLL, arg=495 * height)
    long = rows.filter(has_text="7+7+7")
    await expect(long.locator("[data-status=running]")).to_be_visible()
    place = await long.bounding_box()
    await owner.send("31", "32", "33")
    await expect(visitor.see("newer")).to_contain_text("3 new expressions")
    assert await long.bounding_box() == place
    await owner.cancel(slow)
    await expect(long.locator("[data-status=cancelled]")).to_be_visible()
    await visitor.see("newer").click()
    await expect(rows.first).to_contain_text("33")
    await expect(visitor.see("newer")).to_have_count(0)
    await owner.send("34")
    await expect(rows.first).to_contain_text("34")


async def test_the_list_is_filtered_in_its_address_walked_by_keys_and_cancelled_from(
    visit: Visit, pages_url: str, owner: Owner
) -> None:
    await owner.send("41", "42", "43", "1/0", SLOW)
    visitor = await visit(pages_url, owner.secret)
    await visitor.open("expressions")
    rows = visitor.see("expression-row")
    await expect(rows).to_have_count(5)
    await rows.first.get_by_test_id("cancel").click()
    await expect(rows.first.locator("[data-status=cancelled]")).to_be_visible()
    await visitor.see("filter-done").click()
    await expect(rows).to_have_count(3)
    await visitor.see("filter-text").fill("42")
    await expect(rows).to_have_count(1)
    await expect(visitor.page).to_have_url(f"{pages_url}/ui/expressions?status=done&q=42")
    await owner.send("420")
    await expect(rows).to_have_count(2)
    await visitor.page.reload()
    await expect(rows).to_have_count(2)
    await rows.first.focus()
    await visitor.page.keyboard.press("ArrowDown")
    await expect(rows.nth(1)).to_be_focused()
    await visitor.page.keyboard.press("Home")
    await visitor.page.keyboard.press("Enter")
    await expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
    assert "/ui/expressions/" in visitor.page.url
    await visitor.page.go_back()
    await expect(rows).to_have_count(2)


async def test_the_list_goes_on_by_polling_where_no_socket_gets_through(
    visit: Visit, pages_url: str, owner: Owner
) -> None:
    visitor = await visit(pages_url)
    visitor.expected.append("WebSocket")
    await visitor.page.add_init_script(
        "WebSocket = class extends EventTarget {"
        " constructor() { super(); setTimeout(() => this.onclose?.({ code: 1006 })); } send() {} close() {} }"
    )
    await visitor.sign_in(owner.secret)
    await visitor.open("expressions")
    await expect(visitor.see("live-state").first).to_have_attribute("data-state", "polling")
    await owner.send("51")
    await expect(visitor.see("expression-row")).to_have_count(1)
    await owner.send("52")
    await expect(visitor.see("expression-row").first).to_contain_text("52")
