"""Tokens as requests meet them."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import errors, known_tokens
from curta_server.credentials import Credentials
from tests.integration.orchestrators import any_orchestrator
from tests.support.client import Client
from tests.support.drafts import scalar
from tests.support.processes import ADMIN, free_port
from tests.support.unreachable import lose_the_database
from tests.support.waiting import until

SECRET = "s" * 32


async def is_refused(tokens: Credentials, secret: str) -> bool:
    return await tokens.verify(secret) is None


async def test_a_secret_stands_for_its_token_and_is_stored_nowhere(engine: AsyncEngine) -> None:
    tokens = Credentials(engine)
    row, secret = await tokens.create("ann", "user")
    assert secret.startswith("curta_") and len(secret) == 49
    assert await tokens.verify(secret) == known_tokens.Token(row.id, "ann", "user", None)
    assert await tokens.verify(secret + "x") is None
    assert await tokens.verify("") is None
    stored = str(await scalar(engine, "SELECT tokens::text FROM tokens"))
    assert secret not in stored and secret.encode().hex() not in stored


@pytest.mark.parametrize(
    ("name", "role"), [("", "user"), ("a" * 256, "user"), ("a\n", "user"), ("a", "root")]
)
async def test_a_name_or_role_that_cannot_be_is_refused(engine: AsyncEngine, name: str, role: str) -> None:
    with pytest.raises(errors.Problem) as caught:
        await Credentials(engine).create(name, role)
    assert caught.value.status == 422


async def test_a_revoked_token_is_refused_here_at_once_and_elsewhere_within_a_second(
    engine: AsyncEngine,
) -> None:
    here, there = Credentials(engine), Credentials(engine)
    row, secret = await here.create("ann", "user")
    assert await here.verify(secret) and await there.verify(secret)
    assert await there.revoked([row.id]) == set()
    assert await here.revoke(row.id) == "revoked"
    assert await here.verify(secret) is None
    assert await there.revoked([row.id]) == {row.id}
    await until(lambda: is_refused(there, secret), within_s=1)


async def test_an_expired_token_is_refused_even_from_the_cache(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_tokens, "CACHE_S", 3600)
    tokens = Credentials(engine)
    _, secret = await tokens.create("ann", "user", datetime.now(UTC) + timedelta(seconds=0.3))
    assert await tokens.verify(secret)
    await until(lambda: is_refused(tokens, secret), within_s=2)


async def test_the_last_admin_token_is_kept(engine: AsyncEngine) -> None:
    tokens = Credentials(engine)
    row, secret = await tokens.create("root", "admin")
    assert await tokens.revoke(row.id) == "last_admin"
    assert await tokens.revoke(uuid4()) == "unknown"
    assert await tokens.verify(secret)


async def test_while_the_database_is_away_known_tokens_are_good_and_others_unknown(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Credentials(engine)
    row, secret = await tokens.create("ann", "user")
    assert await tokens.verify(secret)
    monkeypatch.setattr(known_tokens, "CACHE_S", 0)
    away = lose_the_database(tokens)
    assert await tokens.verify(secret)
    assert await tokens.revoked([row.id]) == set()
    with pytest.raises(errors.Problem) as caught:
        await tokens.verify("another" * 5)
    assert caught.value.status == 503 and "Retry-After" in caught.value.headers
    await tokens.flush()
    monkeypatch.setattr(known_tokens, "STALE_S", 0)
    with pytest.raises(errors.Problem):
        await tokens.verify(secret)
    await away.dispose()


async def test_last_use_is_written_in_batches(engine: AsyncEngine) -> None:
    tokens = Credentials(engine)
    _, secret = await tokens.create("ann", "user")
    await tokens.verify(secret)
    assert (await tokens.list())[0].last_used_at is None
    await tokens.flush()
    assert (await tokens.list())[0].last_used_at is not None


async def test_the_first_tokens_are_made_once_on_a_fresh_database(engine: AsyncEngine) -> None:
    several = [Credentials(engine) for _ in range(5)]
    made = await asyncio.gather(*(tokens.bootstrap(SECRET, SECRET + "2") for tokens in several))
    assert sorted(made) == [False] * 4 + [True]
    admin, agent = await several[0].verify(SECRET), await several[0].verify(SECRET + "2")
    assert admin is not None and (admin.name, admin.role) == ("admin", "admin")
    assert agent is not None and (agent.name, agent.role) == ("agent", "agent")
    assert not await several[0].bootstrap("t" * 32, "")


async def test_a_short_secret_is_refused_and_none_makes_nothing(engine: AsyncEngine) -> None:
    with pytest.raises(ValueError, match="CURTA_AGENT_TOKEN"):
        await Credentials(engine).bootstrap("", "short")
    assert not await Credentials(engine).bootstrap("", "")


async def test_an_orchestrator_is_ready_once_the_first_tokens_are_made(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on, port = asyncio.Event(), free_port()
    bootstrap = Credentials.bootstrap

    async def late(tokens: Credentials, admin: str, agent: str) -> bool:
        await may_go_on.wait()
        return await bootstrap(tokens, admin, agent)

    monkeypatch.setattr(Credentials, "bootstrap", late)

    async def is_ready_at_last() -> bool:
        async with any_orchestrator(database_url, port=port) as server:
            return (await server.admin.http.get("/readyz")).status_code == 200

    async with Client(f"http://127.0.0.1:{port}", ADMIN) as client:

        async def says(text: str) -> bool:
            try:
                answer = await client.http.get("/readyz")
            except httpx.TransportError:
                return False
            assert answer.status_code == 503, "the tokens are not there yet"
            return text in answer.text

        starting = asyncio.create_task(is_ready_at_last())
        await until(lambda: says("first tokens"))
        may_go_on.set()
        assert await starting
