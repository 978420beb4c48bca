"""Notices wake those who listen, and a gap wakes everybody."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server.notices import Notices
from tests.support.waiting import until

_CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name LIKE 'curta notices%' AND datname = current_database()
"""


class Listening:
    """An orchestrator's notices and what it heard."""

    def __init__(self, url: str) -> None:
        self.heard: list[str] = []
        self.notices = Notices(url, id=uuid4())
        self.notices.listen("cancelled", self.heard.append)
        self.task = asyncio.create_task(self.notices.run())


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[tuple[Listening, Listening]]:
    both = Listening(database_url), Listening(database_url)
    await until(lambda: all(one.heard == [""] for one in both))
    yield both
    for one in both:
        one.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await one.task


async def test_everybody_hears_what_one_sends_on_the_topic(two: tuple[Listening, Listening]) -> None:
    one, other = two
    one.notices.send("operations")
    one.notices.send("cancelled", "an id")
    await until(lambda: one.heard == other.heard == ["", "an id"])


async def test_many_equal_notices_are_few(two: tuple[Listening, Listening]) -> None:
    one, other = two
    for _ in range(1000):
        one.notices.send("cancelled", "an id")
    one.notices.send("cancelled", "the last")
    await until(lambda: "the last" in other.heard)
    assert other.heard.count("an id") == 1


async def test_a_gap_wakes_everybody_and_what_was_sent_meanwhile_arrives(
    two: tuple[Listening, Listening], engine: AsyncEngine
) -> None:
    one, other = two
    async with engine.begin() as connection:
        await connection.execute(text(_CUT))
    one.notices.send("cancelled", "meanwhile")
    await until(lambda: one.heard.count("") == 2 and other.heard.count("") == 2)
    one.notices.send("cancelled", "afterwards")
    await until(lambda: "afterwards" in other.heard)
    assert "meanwhile" in one.heard
