"""Signing in by REST on stand-ins: what the cookie says of itself, and who is refused."""

from typing import Any

import msgspec
import pytest
from tests.support.rest import Rest

from curta_server.settings import Settings
from curta_wire.offload import Offload

TOKEN = {"token": "anna-user"}


def cookie_of(headers: Any) -> list[str]:
    """The parts of the one cookie that is set, its lifetime as a date left out."""
    (header,) = headers.getlist("Set-Cookie")
    return [part for part in header.split("; ") if not part.startswith("Expires=")]


async def signed_in(rest: Rest) -> str:
    answer = await rest.ask("POST", "/session", by=None, json=TOKEN)
    assert answer.status == 200, answer.data
    return cookie_of(answer.headers)[0]


async def test_the_cookie_goes_by_https_only_where_the_browser_came_by_it(rest: Rest) -> None:
    for scheme in ("http", "https"):
        client = rest.app.test_client()
        answer = await client.post("/session", json=TOKEN, scheme=scheme)
        assert ("Secure" in cookie_of(answer.headers)) == (scheme == "https")
        gone = await client.delete("/session", scheme=scheme)
        assert ("Secure" in cookie_of(gone.headers)) == (scheme == "https")


async def test_the_cookie_goes_by_https_only_where_that_is_the_public_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offload = Offload(1, 4)
    rest = Rest(monkeypatch, Settings(public_url="https://curta.example"), offload)
    offload.close()
    answer = await rest.ask("POST", "/session", by=None, json=TOKEN)
    assert "Secure" in cookie_of(answer.headers)
    origin = {"Origin": "https://curta.example", "Host": "inside:8080"}
    assert (await rest.ask("POST", "/session", by=None, json=TOKEN, headers=origin)).status == 200


async def test_a_session_that_is_due_is_renewed_with_its_answer(rest: Rest) -> None:
    cookie = await signed_in(rest)
    headers = {"Cookie": f"other=1; {cookie}"}
    assert not (await rest.ask("GET", "/operations", by=None, headers=headers)).headers.getlist("Set-Cookie")
    rest.credentials.due = set(rest.credentials.sessions)
    answer = await rest.ask("GET", "/expressions/nothing", by=None, headers=headers)
    assert answer.status == 404  # an answer like any other
    assert cookie_of(answer.headers)[0] == cookie and "Max-Age=2592000" in cookie_of(answer.headers)
    assert not (await rest.ask("GET", "/operations", by=None, headers=headers)).headers.getlist("Set-Cookie")


async def test_a_cookie_is_refused_where_its_role_may_not_and_where_another_site_asks(rest: Rest) -> None:
    headers = {"Cookie": await signed_in(rest)}
    answer = await rest.ask("GET", "/tokens", by=None, headers=headers)
    assert (answer.status, answer.code) == (403, "forbidden")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        path = "/operations/addition" if method == "PUT" else "/expressions"
        answer = await rest.ask(method, path, by=None, headers={**headers, "Sec-Fetch-Site": "cross-site"})
        assert (answer.status, answer.code) == (403, "cross_origin")
    assert not rest.table.rows


async def test_a_database_that_is_away_is_503_for_sessions_too(rest: Rest) -> None:
    headers = {"Cookie": await signed_in(rest)}
    rest.credentials.away = True
    for method, by in (("GET", headers), ("POST", {})):
        answer = await rest.ask(method, "/session", by=None, headers=by, json=TOKEN)
        assert (answer.status, answer.code) == (503, "unavailable")


async def test_who_shows_no_token_is_read_no_further_than_one_takes(rest: Rest) -> None:
    long = msgspec.json.encode({"token": "anna-user", "more": "x" * 5000})
    answer = await rest.ask("POST", "/session", by=None, data=long, type="application/json")
    assert (answer.status, answer.code) == (413, "too_long")
    assert not rest.credentials.sessions
