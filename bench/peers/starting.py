"""A peer with all that it needs, for as long as it is measured. Called by the scenario `peers`."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.peers import environment, services
from bench.peers.driver import Driver, driving
from bench.peers.peer import PEERS
from curta_server.embedded import EmbeddedPostgres

THEIRS = Path(__file__).resolve().parent / "theirs"


@asynccontextmanager
async def started(key: str, database: EmbeddedPostgres) -> AsyncIterator[Driver]:
    """A peer, installed and ready. Raises: environment.Missing, driver.Failed, OSError, RuntimeError."""
    peer = PEERS[key]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="curta-peer-")))
        if peer.kind == "python":
            command = [str(environment.python(key)), str(THEIRS / peer.script)]
            settings = {}
        else:
            program, packages = environment.node(key)
            command = [str(program), str(THEIRS / peer.script)]
            settings = {"BENCH_PACKAGES": str(packages), "NODE_ENV": "production"}
        if peer.service == "redis":
            settings |= await stack.enter_async_context(services.redis(folder))
        elif peer.service == "postgres":
            settings |= await stack.enter_async_context(services.postgres(database))
        yield await stack.enter_async_context(driving(command, settings, folder))
