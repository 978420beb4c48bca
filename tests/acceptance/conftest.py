"""What acceptance tests stand on: real processes, on a real PostgreSQL."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from tests.support.browser import Visitor, chromium, visiting
from tests.support.client import Client
from tests.support.postgres import NEWEST, PostgresServer, PostgresServers
from tests.support.processes import ADMIN, Cluster

if TYPE_CHECKING:
    from playwright.async_api import Browser


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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator["Browser"]:
    """One Chromium for all tests of the pages; skips or fails where there is none."""
    async with chromium() as browser:
        yield browser


def as_admin(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    """What another one does meanwhile: a request in the admin's name; its answer."""
    answer = httpx.request(method, url, json=body, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=30)
    return answer.raise_for_status().json()


Visit = Callable[..., Awaitable[Visitor]]


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: "Browser") -> AsyncIterator[Visit]:
    """`await visit(url, secret)`: somebody's browser, signed in by the link; as nobody yet without a
    secret.

    A test names it behind what it visits, which then outlives the browser: else its last words are that
    nobody answers."""
    async with AsyncExitStack() as stack:

        async def visit(url: str, secret: str | None = None, **options: Any) -> Visitor:
            visitor = await stack.enter_async_context(visiting(browser, url, **options))
            if secret is not None:
                await visitor.sign_in(secret)
            return visitor

        yield visit


@pytest.fixture(scope="session")
def pages_cluster(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One orchestrator and one agent for all tests of the pages that break neither."""
    cluster = Cluster(postgres, tmp_path_factory.mktemp("pages"))
    try:
        cluster.start_agent("calculator", slots=4)
        for operation in ("addition", "multiplication", "division"):
            httpx.put(
                f"{cluster.url}/operations/{operation}",
                json={"duration_ms": 150},
                headers={"Authorization": f"Bearer {ADMIN}"},
                timeout=30,
            ).raise_for_status()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def pages_url(pages_cluster: Cluster) -> str:
    return pages_cluster.url


@pytest.fixture(scope="session")
def secrets(pages_cluster: Cluster) -> dict[str, str]:
    """A token of each role that may sign in."""
    made = {"admin": ADMIN}
    for role in ("viewer", "user"):
        answer = httpx.post(
            f"{pages_cluster.url}/tokens",
            json={"name": f"a-{role}", "role": role},
            headers={"Authorization": f"Bearer {ADMIN}"},
            timeout=30,
        )
        made[role] = answer.raise_for_status().json()["secret"]
    return made
