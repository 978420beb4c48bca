"""A token that is revoked or expires, on what is open in its name: sockets, waiting requests, at several
orchestrators. And what guessing costs."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import known_tokens as module
from curta_server import store
from curta_server.credentials import Credentials, TokenEnded, new_secret
from tests.integration.orchestrators import Orchestrator, orchestrator
from tests.support.foreign import ForeignAgent
from tests.support.waiting import until

WITHIN_S = 1.0
"""The contract's word for revocation."""
SLACK_S = 0.5
"""For a loaded machine."""


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Orchestrator]:
    async with orchestrator(database_url, hello_timeout_s=30) as running:
        yield running


async def make(engine: AsyncEngine, role: str, expires_in_s: float | None = None) -> tuple[Any, str]:
    at = None if expires_in_s is None else datetime.now(UTC) + timedelta(seconds=expires_in_s)
    return await Credentials(engine).create(f"some-{role}", role, at)


async def revoke(server: Orchestrator, id: Any) -> float:
    """Revoke by REST; the moment before."""
    began = time.monotonic()
    await server.admin.ask("DELETE", f"/tokens/{id}")
    return began


async def waiting(server: Orchestrator, secret: str, path: str) -> tuple[httpx.Response, float]:
    """A request that waits: its answer, and when it came."""
    async with server.client(secret) as client:
        answer = await client.http.get(path)
        return answer, time.monotonic()


class Begun(list[str]):
    """The names of the tokens in whose name something lasting has begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        real = Credentials.while_good

        @contextlib.asynccontextmanager
        async def noted(credentials: Credentials, token: module.Token) -> AsyncIterator[None]:
            async with real(credentials, token):
                if token.name.startswith("some-"):  # bodies of others' requests are waited for, too
                    self.append(token.name)
                yield

        monkeypatch.setattr(Credentials, "while_good", noted)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Begun:
    return Begun(monkeypatch)


@pytest.mark.parametrize("greeted", [True, False])
async def test_a_revoked_token_ends_its_agents_sockets_within_a_second(
    server: Orchestrator, engine: AsyncEngine, greeted: bool
) -> None:
    row, secret = await make(engine, "agent")
    async with server.agent(secret=secret) as agent, server.agent() as other:
        await (agent.join() if greeted else agent.open())
        await other.join()
        await server.admin.set_all_durations(60_000)
        id = (await server.admin.submit("(1+2)*(3+4)"))["id"]
        if greeted:
            await agent.tasks(1)
        await other.tasks(1)
        began = await revoke(server, row.id)
        code, reason = await agent.closed()
        assert time.monotonic() - began < WITHIN_S + SLACK_S
        assert code == 4001 and "revoked" in reason
        await other.beat()
        await other.expect("ack")
        if greeted:  # what it held is ready at once, without any grace
            async with server.agent() as third:
                await third.join()
                await third.tasks(1, within_s=2)
        await server.admin.ask("DELETE", f"/expressions/{id}")


@pytest.mark.parametrize(
    ("role", "path"), [("admin", "/expressions/{}?wait=50"), ("agent", "/tasks?wait=50")]
)
async def test_a_revoked_tokens_waiting_requests_end_with_401_within_a_second(
    server: Orchestrator, engine: AsyncEngine, begun: Begun, role: str, path: str
) -> None:
    row, secret = await make(engine, role)
    id = (await server.admin.submit("1+2"))["id"]
    if role == "agent":
        await server.admin.ask("DELETE", f"/expressions/{id}")
    asking = [asyncio.create_task(waiting(server, secret, path.format(id))) for _ in range(3)]
    await until(lambda: len(begun) == 3)
    began = await revoke(server, row.id)
    for each in asking:
        answer, at = await each
        assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert at - began < WITHIN_S + SLACK_S


async def test_a_body_that_comes_after_its_tokens_end_does_nothing(
    server: Orchestrator, engine: AsyncEngine, begun: Begun
) -> None:
    """Else a revoked token could make itself another one by a request that was begun before."""
    row, secret = await make(engine, "admin")
    url = httpx.URL(server.url)
    body = b'{"name": "another", "role": "admin"}'
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        head = (
            f"POST /tokens HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {secret}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body[:1])
        await until(lambda: len(begun) == 1)
        began = await revoke(server, row.id)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert time.monotonic() - began < WITHIN_S + SLACK_S
        assert answer.startswith(b"HTTP/1.1 401 ")
        writer.write(body[1:])
    finally:
        writer.close()
    names = [one["name"] for one in (await server.admin.ask("GET", "/tokens"))["items"]]
    assert "another" not in names


async def test_what_waits_at_another_orchestrator_ends_within_a_second_too(
    server: Orchestrator, engine: AsyncEngine, begun: Begun
) -> None:
    row, secret = await make(engine, "admin")
    id = (await server.admin.submit("1+2"))["id"]
    elsewhere = Credentials(engine)  # as another process has it
    asking = asyncio.create_task(waiting(server, secret, f"/expressions/{id}?wait=50"))
    await until(lambda: len(begun) == 1)
    began = time.monotonic()
    assert await elsewhere.revoke(row.id) == "revoked"
    answer, at = await asking
    assert answer.status_code == 401 and at - began < WITHIN_S + SLACK_S


async def test_an_expired_token_ends_what_is_open_in_its_name(
    server: Orchestrator, engine: AsyncEngine
) -> None:
    id = (await server.admin.submit("1+2"))["id"]
    _, user = await make(engine, "admin", 2.0)
    _, machine = await make(engine, "agent", 2.0)
    began = time.monotonic()
    async with server.agent(secret=machine, operations=["division"]) as agent:
        await agent.join()
        asking = asyncio.create_task(waiting(server, user, f"/expressions/{id}?wait=50"))
        code, _ = await agent.closed()
        assert code == 4001
        assert 1.5 < time.monotonic() - began < 2 + WITHIN_S + SLACK_S
        answer, at = await asking
        assert answer.status_code == 401 and 1.5 < at - began < 2 + WITHIN_S + SLACK_S


async def test_a_revoked_token_is_let_in_nowhere_any_more(server: Orchestrator, engine: AsyncEngine) -> None:
    row, secret = await make(engine, "agent")
    async with server.agent(secret=secret) as agent:
        await agent.join()
        await revoke(server, row.id)
        await agent.closed()
        again = ForeignAgent(server.url, secret)
        with pytest.raises(Exception, match="401"):
            await again.open()


async def test_last_use_goes_on_while_a_socket_is_open(
    server: Orchestrator, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Credentials(engine)
    row, secret = await tokens.create("ann", "agent")
    token = await tokens.verify(secret)
    assert token is not None
    tokens._used.clear()
    async with tokens.while_good(token):
        await tokens.revoked([])
        await tokens.flush()
    listed = {one.id: one for one in await tokens.list()}
    assert listed[row.id].last_used_at is not None


# --- the block that ends with its token -------------------------------------------------------------------


async def test_a_block_ends_with_its_token_and_leaves_nothing(engine: AsyncEngine) -> None:
    tokens = Credentials(engine)
    row, secret = await tokens.create("ann", "user")
    token = await tokens.verify(secret)
    assert token is not None
    async with tokens.while_good(token):
        pass
    assert not tokens._open
    with pytest.raises(TimeoutError):
        async with tokens.while_good(token), asyncio.timeout(0.01):
            await asyncio.Event().wait()
    with pytest.raises(TokenEnded):
        async with tokens.while_good(token):
            await tokens.revoke(row.id)
            await asyncio.Event().wait()
    assert not tokens._open


# --- guessing ---------------------------------------------------------------------------------------------


class Asked:
    """Counts the queries for tokens, and how many are under way at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queries = self.now = self.most = 0
        self.sizes: list[int] = []
        real = store.tokens_by_digests

        async def counted(connection: Any, digests: Any) -> Any:
            self.queries += 1
            self.sizes.append(len(digests))
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                return await real(connection, digests)
            finally:
                self.now -= 1

        monkeypatch.setattr(store, "tokens_by_digests", counted)


async def test_two_thousand_guesses_at_once_take_a_handful_of_queries(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Credentials(engine)
    _, secret = await tokens.create("ann", "user")
    asked = Asked(monkeypatch)
    found = await asyncio.gather(tokens.verify(secret), *(tokens.verify(new_secret()) for _ in range(2000)))
    assert found[0] is not None and not any(found[1:])
    assert (asked.most, asked.queries <= 5) == (1, True), asked.sizes


async def test_one_wrong_secret_again_and_again_is_asked_for_now_and_then(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, secret = Credentials(engine), new_secret()
    asked = Asked(monkeypatch)
    for _ in range(200):
        assert await tokens.verify(secret) is None
        assert await tokens.verify("too short to be one") is None
    assert asked.queries <= 3


async def test_guesses_push_no_good_token_out(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_MAX", 50)
    monkeypatch.setattr(module, "CACHE_S", 3600)
    tokens = Credentials(engine)
    _, secret = await tokens.create("ann", "user")
    assert await tokens.verify(secret)
    for _ in range(200):
        await tokens.verify(new_secret())
    asked = Asked(monkeypatch)
    assert await tokens.verify(secret)
    assert asked.queries == 0
    assert len(tokens._known._strangers) <= 50


async def test_who_waits_for_anothers_question_asks_again_when_that_one_goes_away(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Credentials(engine)
    _, secret = await tokens.create("ann", "user")
    entered, real = asyncio.Event(), store.tokens_by_digests

    async def hangs(connection: Any, digests: Any) -> Any:
        entered.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(store, "tokens_by_digests", hangs)
    first = asyncio.create_task(tokens.verify(secret))
    await entered.wait()
    others = [asyncio.create_task(tokens.verify(secret)) for _ in range(5)]
    await asyncio.sleep(0)
    monkeypatch.setattr(store, "tokens_by_digests", real)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    assert all(await asyncio.gather(*others))


async def test_an_outage_is_told_to_all_who_wait_at_once(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Credentials(engine)

    async def fails(connection: Any, digests: Any) -> Any:
        await asyncio.sleep(0.2)
        raise ConnectionRefusedError

    monkeypatch.setattr(store, "tokens_by_digests", fails)
    began = time.monotonic()
    found = await asyncio.gather(*(tokens.verify(new_secret()) for _ in range(50)), return_exceptions=True)
    assert {getattr(one, "status", None) for one in found} == {503}
    assert time.monotonic() - began < 2
    assert uuid4() not in tokens._open
