"""The whole orchestrator in the test's own process and loop: quick to start, with short leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from curta_server.app import serve
from curta_server.settings import Settings
from tests.support.client import Client
from tests.support.foreign import ForeignAgent
from tests.support.processes import ADMIN, AGENT, free_port
from tests.support.waiting import until


class Orchestrator:
    """One that runs, with clients and foreign agents for it."""

    def __init__(self, url: str, admin: Client) -> None:
        self.url = url
        self.admin = admin

    def agent(self, **options: Any) -> ForeignAgent:
        return ForeignAgent(self.url, options.pop("secret", AGENT), **options)

    def client(self, secret: str) -> Client:
        return Client(self.url, secret)


@asynccontextmanager
async def orchestrator(database_url: str, **settings: Any) -> AsyncIterator[Orchestrator]:
    """Run one on the database; `settings` are fields of `Settings`. Durations are 0 at first."""
    port = free_port()
    chosen = Settings(database_url=database_url, port=port, admin_token=ADMIN, agent_token=AGENT, **settings)
    ready, stop = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(serve(chosen, ready=ready.set, stop=stop), name="orchestrator")
        async with asyncio.timeout(20):
            await ready.wait()
        url = f"http://127.0.0.1:{port}"
        async with Client(url, ADMIN) as admin:

            async def is_leading() -> bool:
                return (await admin.http.get("/leaderz")).status_code == 200

            async def knows_tokens() -> bool:
                return (await admin.http.get("/operations")).status_code == 200

            await until(is_leading)
            await until(knows_tokens)
            await admin.set_all_durations(0)
            try:
                yield Orchestrator(url, admin)
            finally:
                stop.set()
                async with asyncio.timeout(10):
                    assert await running == 0
