"""Whole orchestrators in the test's own process and loop: quick to start, with short leases."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from curta_server.app import serve
from curta_server.settings import Settings
from tests.support.client import Client
from tests.support.foreign import ForeignAgent
from tests.support.processes import ADMIN, AGENT, free_port
from tests.support.waiting import until


class Orchestrator:
    """One that runs, with clients and foreign agents for it."""

    def __init__(self, url: str, admin: Client, stop: asyncio.Event, running: asyncio.Task[int]) -> None:
        self.url = url
        self.admin = admin
        self._stop = stop
        self._running = running

    def agent(self, **options: Any) -> ForeignAgent:
        return ForeignAgent(self.url, options.pop("secret", AGENT), **options)

    def client(self, secret: str) -> Client:
        return Client(self.url, secret)

    async def is_leading(self) -> bool:
        return (await self.admin.http.get("/leaderz")).status_code == 200

    async def knows_tokens(self) -> bool:
        return (await self.admin.http.get("/operations")).status_code == 200

    async def stop(self) -> None:
        """End it in good order; a second time does nothing."""
        self._stop.set()
        async with asyncio.timeout(10):
            assert await self._running == 0


@asynccontextmanager
async def orchestrator(database_url: str, **settings: Any) -> AsyncIterator[Orchestrator]:
    """Run one on the database, which leads; `settings` are fields of `Settings`. Durations are 0 at first."""
    async with any_orchestrator(database_url, **settings) as running:
        await until(running.is_leading)
        await running.admin.set_all_durations(0)
        yield running


@asynccontextmanager
async def leader_and_follower(
    database_url: str, *, leader_settings: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[tuple[Orchestrator, Orchestrator]]:
    """Run two on the database: one that leads, and one that follows and is connected to it."""
    async with AsyncExitStack() as stack:
        leader = await stack.enter_async_context(
            orchestrator(database_url, **settings, **(leader_settings or {}))
        )
        follower = await stack.enter_async_context(any_orchestrator(database_url, **settings))
        assert not await follower.is_leading()
        await until(lambda: is_following(follower))
        yield leader, follower


async def is_following(one: Orchestrator) -> bool:
    """Whether it is connected to a leader. (The figure is the process's: of one follower in a test.)"""
    return "curta_leader_connected 1.0" in (await one.admin.http.get("/metrics")).text


@asynccontextmanager
async def any_orchestrator(database_url: str, **settings: Any) -> AsyncIterator[Orchestrator]:
    """Run one on the database, whoever leads."""
    port = settings.pop("port", None) or free_port()
    chosen = Settings(database_url=database_url, port=port, admin_token=ADMIN, agent_token=AGENT, **settings)
    ready, stop = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(serve(chosen, ready=ready.set, stop=stop), name="orchestrator")
        async with asyncio.timeout(20):
            await ready.wait()
        tls = ssl.create_default_context(cafile=chosen.tls_cert) if chosen.tls_cert else None
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        async with Client(url, ADMIN, tls=tls) as admin:
            one = Orchestrator(url, admin, stop, running)
            await until(one.knows_tokens)
            try:
                yield one
            finally:
                await one.stop()
