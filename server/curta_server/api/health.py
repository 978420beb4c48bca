"""What load balancers, orchestrators of containers and Prometheus ask, without a token."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from quart import Blueprint, Response

from curta_server import metrics, migrate, store
from curta_server import resources as shapes
from curta_server.api import answers
from curta_server.api.access import open_to_all
from curta_server.api.documentation import documented
from curta_server.api.services import context, services
from curta_server.errors import unavailable

health = Blueprint("health", __name__)

READY_TIMEOUT_S: Final = 2.0
COUNT_FRESH_S: Final = 10.0
"""Open expressions are counted by the database, which is not to do it for every scraper …"""
COUNT_COST: Final = 50
"""… and not for more than so small a part of the time: a million take 0.2 s."""
COUNT_TIMEOUT_S: Final = 2.0


class OpenCount:
    """How many expressions are open, by status, some seconds ago; None while the database is away."""

    def __init__(self) -> None:
        self._counts: dict[str, int] | None = None
        self._fresh_until = 0.0
        self._counting = asyncio.Lock()

    async def current(self) -> dict[str, int] | None:
        async with self._counting:
            if (began := time.monotonic()) >= self._fresh_until:
                self._counts = await self._count()
                now = time.monotonic()
                self._fresh_until = now + max(COUNT_FRESH_S, COUNT_COST * (now - began))
            return self._counts

    async def _count(self) -> dict[str, int] | None:
        try:
            async with asyncio.timeout(COUNT_TIMEOUT_S), services().engine.connect() as connection:
                return await store.count_open(connection)
        except Exception as error:
            if not store.is_outage(error):
                raise
            return None


@health.get("/healthz")
@open_to_all
@documented("health", {200: shapes.Health})
async def is_alive() -> Response:
    """Whether the process answers at all."""
    return answers.answer(shapes.Health("alive"))


@health.get("/readyz")
@open_to_all
@documented("health", {200: shapes.Health}, problems=("unavailable",))
async def is_ready() -> Response:
    """Whether requests can be served: the database is reached and can be written to, its schema is at least
    this release's, and the first tokens of a fresh database are made."""
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            state = await migrate.schema_state(services().engine)
    except Exception as error:
        if not store.is_outage(error):
            raise
        raise unavailable(store.outage_sentence(error)) from None
    if state.is_read_only:
        raise unavailable("The database only reads at the moment.")
    if not state.is_ready:
        raise unavailable(
            f"The schema is at {state.current or 'nothing'}, older than {state.head}: run `curta migrate`.", 5
        )
    if not services().credentials.is_bootstrapped:
        raise unavailable("The first tokens are being made.")
    return answers.answer(shapes.Health("ready"))


@health.get("/leaderz")
@open_to_all
@documented("health", {200: shapes.Health}, problems=("unavailable",))
async def is_leading() -> Response:
    """Whether this orchestrator leads: 200 at the leader, 503 elsewhere."""
    if not services().dispatcher.leading:
        raise unavailable("This orchestrator does not lead.")
    return answers.answer(shapes.Health("leading"))


@health.get("/metrics")
@open_to_all
@documented("health", {200: "text/plain"})
async def show_metrics() -> Response:
    """Figures for Prometheus, in its text format."""
    counts = await context().open_count.current()
    body = metrics.exposition(services().dispatcher.stats(), counts)
    return Response(body, content_type=metrics.CONTENT_TYPE)
