"""What acceptance tests stand on: real processes, on a real PostgreSQL."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.postgres import NEWEST, PostgresServer, PostgresServers
from tests.support.processes import ADMIN, Cluster


@pytest.fixture(scope="session")
def postgres(postgres_servers: PostgresServers) -> PostgresServer:
    server = postgres_servers.get(NEWEST)
    assert server is not None
    return server


@pytest.fixture(scope="module")
def cluster(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One orchestrator for all tests of a module."""
    cluster = Cluster(postgres, tmp_path_factory.mktemp("cluster"))
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def make_cluster(postgres: PostgresServer, tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Orchestrators for one test, which may kill them."""
    made: list[Cluster] = []

    def make(orchestrators: int = 1, **settings: str) -> Cluster:
        directory = tmp_path / f"cluster-{len(made)}"
        directory.mkdir()
        made.append(Cluster(postgres, directory, settings, orchestrators))
        return made[-1]

    try:
        yield make
    finally:
        for cluster in made:
            cluster.close()


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[Client]:
    """A client of the module's orchestrator that may everything."""
    async with Client(cluster.url, ADMIN) as client:
        yield client
