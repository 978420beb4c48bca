"""What a page does when sockets, servers and links are not what they should be."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import WebSocketRoute, expect

from tests.acceptance.conftest import Visit
from tests.support.browser import WITHIN_MS
from tests.support.processes import ADMIN, Cluster

pytestmark = [pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.parametrize("socket", ["closed at once", "never answering"])
async def test_a_socket_that_opens_and_does_not_work_is_made_up_for_by_asking(
    visit: Visit, pages_url: str, secrets: dict[str, str], socket: str
) -> None:
    def broken(opened: WebSocketRoute) -> Any:
        # Either way the page sees it open.
        return opened.close() if socket == "closed at once" else None

    visitor = await visit(pages_url)
    await visitor.page.route_web_socket("**/live", broken)
    await visitor.sign_in(secrets["user"])
    await visitor.open("expressions")
    state = visitor.see("live-state").first
    await expect(state).to_have_attribute("data-state", "polling", timeout=WITHIN_MS)
    text = f"{len(socket)} + 1111"
    other = await visit(pages_url, secrets["user"])
    await other.submit(text)
    await expect(visitor.see("expression-row").filter(has_text=text)).to_contain_text(str(len(socket) + 1111))


async def test_a_message_that_is_missing_is_noticed_and_made_up_for(
    visit: Visit, pages_url: str, secrets: dict[str, str]
) -> None:
    lost: list[str | bytes] = []

    def lossy(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            is_delta = b'"delta"' in (message.encode() if isinstance(message, str) else message)
            if is_delta and not lost:
                lost.append(message)
            else:
                socket.send(message)

        server.on_message(pass_on)

    visitor = await visit(pages_url)
    await visitor.page.route_web_socket("**/live", lossy)
    await visitor.sign_in(secrets["user"])
    await visitor.open("expressions")
    await expect(visitor.see("live-state").first).to_have_attribute("data-state", "live")
    other = await visit(pages_url, secrets["user"])
    await other.submit("2222 + 1")
    await other.submit("3333 + 1")
    for result in ("2223", "3334"):
        await expect(visitor.see("expression-row").filter(has_text=result)).to_be_visible()
    assert lost


@pytest.mark.parametrize("token", ["%", "%E0%A4%A", "curta_nobodys"])
async def test_a_link_that_is_cut_off_or_mistyped_leads_to_the_sign_in(
    visit: Visit, pages_url: str, token: str
) -> None:
    visitor = await visit(pages_url)
    visitor.expected.append(r"status of 401.*/session")
    await visitor.open(f"#token={token}")
    await expect(visitor.page.get_by_role("alert").filter(has_text="no longer valid")).to_be_visible()
    await expect(visitor.see("token-input")).to_be_visible()
    assert visitor.page.url == f"{pages_url}/ui/"


async def test_while_the_server_is_away_it_is_said_and_when_it_is_back_that_has_passed(
    make_cluster: Callable[..., Cluster], visit: Visit
) -> None:
    cluster = make_cluster()
    visitor = await visit(cluster.url, ADMIN)
    visitor.expected += [r"net::ERR_", r"WebSocket connection to", r"status of 50[0-9]"]
    state = visitor.see("live-state").first
    await expect(state).to_have_attribute("data-state", "live")
    await visitor.see("expression-input").fill("5 + 6")

    cluster.server.kill()
    await expect(state).not_to_have_attribute("data-state", "live")
    await visitor.see("send").click()
    failure = visitor.page.get_by_role("main").get_by_role("alert").first
    await expect(failure).to_contain_text("does not answer")
    await visitor.see("sign-out").click()
    rail = visitor.page.get_by_role("banner").get_by_role("alert")
    await expect(rail).to_contain_text("does not answer")

    cluster.start_server()
    await expect(state).to_have_attribute("data-state", "live", timeout=30_000)
    await expect(visitor.page.get_by_role("main").get_by_role("alert")).to_have_count(0)
    await expect(visitor.see("expression-input")).to_have_value("5 + 6")
    visitor.expected.append(r"status of 401.*/session")
    await rail.get_by_role("button", name=re.compile("again", re.IGNORECASE)).click()
    await expect(visitor.see("token-input")).to_be_visible()
