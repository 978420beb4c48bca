"""What tests of several kinds stand on."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServers


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[PostgresServers]:
    servers = PostgresServers()
    try:
        yield servers
    finally:
        servers.close()
