"""Signing in with a browser: the cookie, what may be done with it and from where, and its end on every
orchestrator."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import credentials as module
from curta_server import known_tokens, store
from curta_server.credentials import Credentials, TokenEnded
from curta_server.known_tokens import Token
from tests.integration.orchestrators import Orchestrator, leader_and_follower, orchestrator
from tests.support.drafts import scalar
from tests.support.processes import ADMIN, AGENT
from tests.support.unreachable import lose_the_database
from tests.support.waiting import until

COOKIE = "curta_session"
WITHIN_S = 1.0
"""The contract's word for the end of what is open."""
SLACK_S = 0.5
"""For a loaded machine."""
ELSEWHERE = {"Origin": "http://elsewhere.example", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Orchestrator]:
    async with orchestrator(database_url) as running:
        yield running


async def token(
    engine: AsyncEngine, role: str = "admin", expires_in_s: float | None = None
) -> tuple[Any, str]:
    at = None if expires_in_s is None else datetime.now(UTC) + timedelta(seconds=expires_in_s)
    row, secret = await Credentials(engine).create(f"some-{role}", role, at)
    return row.id, secret


@asynccontextmanager
async def browser(server: Orchestrator, secret: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """A browser with a jar of cookies and a page of the server's in it, signed in where a token is given."""
    async with httpx.AsyncClient(
        base_url=server.url, headers={"Origin": server.url}, timeout=60, trust_env=False
    ) as http:
        if secret:
            answer = await http.post("/session", json={"token": secret})
            assert answer.status_code == 200, answer.text
        yield http


async def test_cookies_of_others_are_nobodys_business(server: Orchestrator) -> None:
    """All applications of a host share a browser's cookies, and not all write UTF-8."""
    for cookie, token, status in (
        (b"other=caf\xe9", ADMIN, 200),
        (b"other=caf\xe9", None, 401),
        (b"curta_session=\xff\xfe", None, 401),
    ):
        headers: list[tuple[bytes, bytes]] = [(b"Cookie", cookie)]
        if token is not None:
            headers.append((b"Authorization", f"Bearer {token}".encode()))
        async with httpx.AsyncClient(base_url=server.url, headers=headers, trust_env=False) as http:
            assert (await http.get("/expressions")).status_code == status, cookie
    async with browser(server, ADMIN) as http:
        session = http.cookies[COOKIE].encode()
        http.cookies.clear()
        mixed = [(b"Cookie", b"other=caf\xe9; " + COOKIE.encode() + b"=" + session)]
        assert (await http.get("/session", headers=mixed)).status_code == 200


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


async def is_over(http: httpx.AsyncClient) -> bool:
    return (await http.get("/session")).status_code == 401


# --- signing in and out -----------------------------------------------------------------------------------


async def test_a_token_buys_a_cookie_that_scripts_and_other_sites_never_get(
    server: Orchestrator, engine: AsyncEngine
) -> None:
    _, secret = await token(engine, "user")
    async with browser(server) as http:
        answer = await http.post("/session", json={"token": f" {secret}\n"})
        assert answer.status_code == 200
        name, *attributes = answer.headers["Set-Cookie"].split("; ")
        assert set(attributes) == {"HttpOnly", "Path=/", "SameSite=Strict", "Max-Age=2592000"} | {
            one for one in attributes if one.startswith("Expires=")
        }
        assert name.startswith(f"{COOKIE}=curta_") and len(name) > 43
        shown = answer.json()
        assert (shown["name"], shown["role"]) == ("some-user", "user")
        left = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
        assert timedelta(days=29.9) < left < timedelta(days=30.1)
        assert (await http.get("/session")).json() == shown
        sent = await http.post("/expressions", json={"expression": "7"})
        assert (sent.status_code, sent.json()["owner"]) == (200, "some-user")
        stored = str(await scalar(engine, "SELECT string_agg(s::text, '') FROM sessions AS s"))
        cookie = http.cookies[COOKIE]
        assert cookie not in stored and cookie.encode().hex() not in stored


async def test_who_signs_out_is_out_at_once_with_every_copy_of_the_cookie(
    server: Orchestrator, engine: AsyncEngine
) -> None:
    _, secret = await token(engine)
    async with browser(server, secret) as http, browser(server) as thief:
        thief.cookies.set(COOKIE, http.cookies[COOKIE])
        assert (await thief.get("/tokens")).status_code == 200
        answer = await http.delete("/session")
        assert (answer.status_code, answer.content) == (204, b"")
        assert "Content-Type" not in answer.headers
        assert f"{COOKIE}=;" in answer.headers["Set-Cookie"] and "Max-Age=0" in answer.headers["Set-Cookie"]
        assert COOKIE not in http.cookies
        refused = await thief.get("/tokens")
        assert problem(refused) == (401, "unauthorized") and "session is over" in refused.json()["detail"]
        assert await scalar(engine, "SELECT count(*) FROM sessions") == 0
        # Again, and by somebody who never was in.
        for one in (http, thief):
            assert (await one.delete("/session")).status_code == 204


async def test_to_sign_in_again_ends_the_session_before_and_never_keeps_its_secret(
    server: Orchestrator, engine: AsyncEngine
) -> None:
    _, one = await token(engine, "user")
    _, other = await token(engine, "viewer")
    async with browser(server, one) as http, browser(server) as copy:
        planted = http.cookies[COOKIE]
        copy.cookies.set(COOKIE, planted)
        await http.post("/session", json={"token": other})
        assert http.cookies[COOKIE] != planted
        assert (await http.get("/session")).json()["role"] == "viewer"
        assert await is_over(copy)


async def test_a_token_that_is_not_good_signs_nobody_in(server: Orchestrator, engine: AsyncEngine) -> None:
    gone, revoked = await token(engine, "user")
    await Credentials(engine).revoke(gone)
    _, expired = await token(engine, "user", -1)
    async with browser(server) as http:
        for secret in ("x", "curta_" + "A" * 43, revoked, expired):
            answer = await http.post("/session", json={"token": secret})
            assert problem(answer) == (401, "unauthorized") and "Set-Cookie" not in answer.headers
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert problem(await http.post("/session", json={"token": AGENT})) == (403, "forbidden")
        assert problem(await http.post("/session", json={"secret": AGENT})) == (400, "malformed")
        assert problem(await http.post("/session", data={"token": AGENT})) == (415, "unsupported_media_type")
        assert problem(await http.post("/session", json={"token": "A" * 5000})) == (413, "too_long")
    assert await scalar(engine, "SELECT count(*) FROM sessions") == 0


async def test_neither_secret_is_taken_for_the_other(server: Orchestrator, engine: AsyncEngine) -> None:
    _, secret = await token(engine)
    async with browser(server, secret) as http:
        cookie = http.cookies[COOKIE]
        bearer = {"Authorization": f"Bearer {cookie}"}
        # A header that is there counts, even beside a good cookie.
        assert problem(await http.get("/session", headers=bearer)) == (401, "unauthorized")
        assert problem(await http.post("/session", json={"token": cookie})) == (401, "unauthorized")
    async with browser(server) as http:
        http.cookies.set(COOKIE, secret)
        assert problem(await http.get("/session")) == (401, "unauthorized")


async def test_a_bearer_token_is_told_its_name_and_end_too(server: Orchestrator, engine: AsyncEngine) -> None:
    _, secret = await token(engine, "viewer", 100)
    async with server.client(secret) as client:
        shown = await client.ask("GET", "/session")
        left = datetime.fromisoformat(shown["expires_at"]) - datetime.now(UTC)
        assert (shown["role"], timedelta(seconds=60) < left <= timedelta(seconds=100)) == ("viewer", True)
    async with server.client(AGENT) as client:
        assert await client.ask("GET", "/session") == {"name": "agent", "role": "agent", "expires_at": None}
    async with browser(server, secret) as http:  # a session lasts no longer than its token
        assert (await http.get("/session")).json()["expires_at"] == shown["expires_at"]


# --- other sites ------------------------------------------------------------------------------------------


async def test_another_sites_page_changes_nothing_in_the_name_of_a_cookie(
    server: Orchestrator, engine: AsyncEngine
) -> None:
    _, secret = await token(engine)
    async with browser(server, secret) as http:
        for headers in (
            ELSEWHERE,
            {"Origin": "http://elsewhere.example"},
            {"Origin": "null"},
            {"Origin": server.url.replace("127.0.0.1", "localhost")},
            {"Origin": server.url + "0"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            for method, path, body in (
                ("POST", "/expressions", {"expression": "1+2"}),
                ("PUT", "/operations/addition", {"duration_ms": 5}),
                ("POST", "/tokens", {"name": "x", "role": "admin"}),
                ("DELETE", "/session", None),
                ("POST", "/session", {"token": secret}),
            ):
                answer = await http.request(method, path, json=body, headers=headers)
                assert problem(answer) == (403, "cross_origin"), (method, path, headers)
            # To look changes nothing, and what is shown the other page cannot read.
            assert (await http.get("/session", headers=headers)).status_code == 200
        assert (await http.get("/expressions")).json()["items"] == []
        for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
            answer = await http.put("/operations/addition", json={"duration_ms": 1}, headers=headers)
            assert answer.status_code == 200
    # A token in a header is sent by nobody's browser by itself.
    async with server.client(secret) as client:
        await client.ask("PUT", "/operations/addition", json={"duration_ms": 0}, headers=ELSEWHERE)


# --- several orchestrators --------------------------------------------------------------------------------


async def test_a_cookie_opens_every_orchestrator_and_what_is_passed_on_to_the_leader(
    database_url: str, engine: AsyncEngine
) -> None:
    async with leader_and_follower(database_url) as (leader, follower):
        _, secret = await token(engine)
        async with browser(follower, secret) as http, browser(leader) as there, leader.agent() as agent:
            await agent.join()
            there.cookies.set(COOKIE, http.cookies[COOKIE])
            assert (await there.get("/session")).json() == (await http.get("/session")).json()
            (shown,) = (await http.get("/agents")).json()["items"]
            path = f"/agents/{shown['id']}/drain"
            assert problem(await http.post(path, headers=ELSEWHERE)) == (403, "cross_origin")
            foreign = {"Origin": leader.url}
            assert problem(await http.post(path, headers=foreign)) == (403, "cross_origin")
            drained = await http.post(path)
            assert (drained.status_code, drained.json()["status"]) == (200, "draining")
            # The leader, asked by a browser itself, keeps to its own origin.
            assert problem(await there.delete(f"/agents/{shown['id']}", headers=ELSEWHERE)) == (
                403, "cross_origin",
            )  # fmt: skip
            began = time.monotonic()
            assert (await http.delete("/session")).status_code == 204
            await until(lambda: is_over(there), within_s=WITHIN_S + SLACK_S)
            assert time.monotonic() - began < WITHIN_S + SLACK_S


@pytest.mark.parametrize("how", ["signed out", "revoked", "expired", "unused"])
async def test_what_waits_in_a_sessions_name_ends_with_it_everywhere_within_a_second(
    database_url: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    begun = []
    real = Credentials.while_good

    @contextlib.asynccontextmanager
    async def noted(credentials: Credentials, token: Token) -> AsyncIterator[None]:
        async with real(credentials, token):
            if token.session is not None:
                begun.append(token.session)
            yield

    monkeypatch.setattr(Credentials, "while_good", noted)
    async with leader_and_follower(database_url) as (leader, follower):
        id, secret = await token(engine, expires_in_s=2 if how == "expired" else None)
        expression = (await leader.admin.submit("1+2"))["id"]
        async with (
            browser(leader, secret) as here,
            browser(follower) as there,
            browser(leader, secret) as other,
        ):
            there.cookies.set(COOKIE, here.cookies[COOKIE])

            async def waits(http: httpx.AsyncClient) -> tuple[httpx.Response, float]:
                answer = await http.get(f"/expressions/{expression}?wait=50")
                return answer, time.monotonic()

            waiting = [asyncio.create_task(waits(one)) for one in (here, there)]
            others = asyncio.create_task(waits(other))
            await until(lambda: len(begun) == 3)
            began = time.monotonic()
            if how == "signed out":
                await here.delete("/session")
            elif how == "revoked":
                await Credentials(engine).revoke(id)
            elif how == "unused":
                await change(engine, "UPDATE sessions SET expires_at = now()")
            for each in waiting:
                answer, at = await each
                assert problem(answer) == (401, "unauthorized")
                assert at - began < (2 if how == "expired" else 0) + WITHIN_S + SLACK_S
            if how == "signed out":
                assert not others.done()
                assert (await other.get("/session")).status_code == 200
            others.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await others


async def change(engine: AsyncEngine, statement: str, **parameters: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), parameters)


async def test_a_block_in_a_sessions_name_ends_with_it_and_leaves_nothing(engine: AsyncEngine) -> None:
    here, there = Credentials(engine), Credentials(engine)
    _, secret = await token(engine)
    bearer = await here.verify(secret)
    assert bearer is not None
    one, cookie = await here.sign_in(bearer)
    with pytest.raises(TokenEnded):
        async with here.while_good(one):
            await here.sign_out(cookie)
            await asyncio.Event().wait()
    one, cookie = await here.sign_in(bearer)
    with pytest.raises(TokenEnded):
        async with here.while_good(one):
            await there.sign_out(cookie)
            async with here.while_good(bearer):  # what the token itself holds open stays
                await here.revoked([])
                await asyncio.sleep(0)
    assert not here._open and not here._sessions


# --- time -------------------------------------------------------------------------------------------------


async def test_use_puts_the_end_off_once_a_day_and_renews_the_cookie(
    server: Orchestrator, engine: AsyncEngine
) -> None:
    _, secret = await token(engine)
    ends = "SELECT extract(epoch FROM expires_at - now()) / 86400 FROM sessions"
    async with browser(server, secret) as http:
        for _ in range(3):
            assert "Set-Cookie" not in (await http.get("/session")).headers
        cookie = http.cookies[COOKIE]
        await change(engine, "UPDATE sessions SET expires_at = now() + interval '28 days'")

        async def is_renewed() -> bool:  # what was looked up is believed for half a second
            return "Set-Cookie" in (await http.get("/operations")).headers

        await until(is_renewed, within_s=2)
        assert http.cookies[COOKIE] == cookie
        assert 29.9 < float(await scalar(engine, ends)) < 30.1
        shown = datetime.fromisoformat((await http.get("/session")).json()["expires_at"])
        assert shown - datetime.now(UTC) > timedelta(days=29.9)
        await asyncio.gather(*(http.get("/session") for _ in range(20)))
        assert not await is_renewed()


async def test_many_requests_at_once_renew_a_session_once(server: Orchestrator, engine: AsyncEngine) -> None:
    _, secret = await token(engine)
    async with browser(server, secret) as http:
        await change(engine, "UPDATE sessions SET expires_at = now() + interval '3 days'")
        renewed = []

        async def ask() -> bool:
            answers = await asyncio.gather(*(http.get("/session") for _ in range(10)))
            renewed.extend(answer for answer in answers if "Set-Cookie" in answer.headers)
            return bool(renewed)

        await until(ask, within_s=2)
        await ask()
        assert len(renewed) == 1


async def test_a_session_that_was_not_used_for_long_is_over(
    server: Orchestrator, engine: AsyncEngine
) -> None:
    _, secret = await token(engine)
    async with browser(server, secret) as http:
        await change(engine, "UPDATE sessions SET expires_at = now()")
        await until(lambda: is_over(http), within_s=WITHIN_S + SLACK_S)


async def test_sessions_that_are_over_are_pruned_and_the_others_kept(engine: AsyncEngine) -> None:
    credentials = Credentials(engine)
    (gone, one), (_, two), (_, late) = [await token(engine, "user", at) for at in (None, None, 0.5)]
    kept = None
    for secret in (one, two, two, late):
        bearer = await credentials.verify(secret)
        assert bearer is not None
        kept, _ = await credentials.sign_in(bearer)
        if secret is two:
            last = kept.session
    assert kept is not None and kept.ends_at == kept.expires_at
    await change(
        engine,
        "UPDATE sessions SET expires_at = now() WHERE id <> :last"
        " AND token_id = (SELECT token_id FROM sessions WHERE id = :last)",
        last=last,
    )
    await credentials.revoke(gone)

    async def all_but_one() -> bool:
        async with engine.begin() as connection:
            await store.prune_sessions(connection, 100)
        return await scalar(engine, "SELECT count(*) FROM sessions") == 1

    await until(all_but_one, within_s=3)
    assert await scalar(engine, "SELECT id FROM sessions") == last


async def test_a_token_has_so_many_sessions_and_the_one_unused_for_longest_makes_room(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SESSIONS_MAX", 3)
    credentials = Credentials(engine)
    _, secret = await token(engine)
    bearer = await credentials.verify(secret)
    assert bearer is not None
    cookies = [(await credentials.sign_in(bearer))[1] for _ in range(5)]
    good = [await credentials.signed_in(cookie) is not None for cookie in cookies]
    assert good == [False, False, True, True, True]


async def test_while_the_database_is_away_who_is_signed_in_stays_so(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = Credentials(engine)
    _, secret = await token(engine)
    bearer = await credentials.verify(secret)
    assert bearer is not None
    _, cookie = await credentials.sign_in(bearer)
    one = await credentials.signed_in(cookie)
    assert one is not None
    monkeypatch.setattr(known_tokens, "CACHE_S", 0)
    away = lose_the_database(credentials)
    assert await credentials.signed_in(cookie) == one
    soon = datetime.now(UTC) + timedelta(days=1)
    assert not await credentials.renew(cookie, Token(one.id, "x", "user", None, one.session, soon))
    async with credentials.while_good(one):
        assert await credentials.revoked([]) == set()
    await away.dispose()
