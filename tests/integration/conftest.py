"""What integration tests stand on: a real PostgreSQL, and a migrated database of its own for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from tests.support.postgres import NEWEST, PostgresServer, PostgresServers


@pytest.fixture
def postgres(request: pytest.FixtureRequest, postgres_servers: PostgresServers) -> PostgresServer:
    """The newest PostgreSQL, or with `@on_every_postgres` the newest and the oldest in turn."""
    which = getattr(request, "param", NEWEST)
    server = postgres_servers.get(which)
    if server is None:
        pytest.skip(f"no {which} PostgreSQL is installed here")
    return server


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    """libpq's URL of a migrated database that only this test sees."""
    url = postgres.database()
    try:
        yield url
    finally:
        postgres.drop(url)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = store.create_engine(database_url, pool_size=20, name="curta test")
    try:
        yield engine
    finally:
        await engine.dispose()
