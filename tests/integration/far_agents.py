"""Agents of ours in the test's own loop, with a network between them and the orchestrator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from curta_agent import run_agent
from curta_agent.settings import AgentSettings
from tests.integration.orchestrators import Orchestrator
from tests.support.processes import AGENT
from tests.support.proxy import Proxy


@asynccontextmanager
async def agent_behind(proxy: Proxy, slots: int = 2) -> AsyncIterator[None]:
    """One named `far`, that knows the orchestrator by the proxy's address first."""
    stop = asyncio.Event()
    settings = AgentSettings(
        urls=(f"http://127.0.0.1:{proxy.port}",), token=AGENT, slots=slots, name="far", drain_s=0.0
    )
    running = asyncio.create_task(run_agent(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await running


def proxy_of(server: Orchestrator) -> Proxy:
    """A network to the orchestrator."""
    return Proxy(("127.0.0.1", int(server.url.rpartition(":")[2])))
