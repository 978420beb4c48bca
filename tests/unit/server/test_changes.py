"""What another orchestrator changed: heard by notice, believed by the table alone."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

import pytest
from tests.support.waiting import until

from curta_server import store
from curta_server.changes import Changes
from curta_server.core.events import DurationSet
from curta_server.feed import Feed
from curta_server.loader import Loader
from curta_server.settings import Settings

ID = "01926f3e-8d3c-7b1a-9c55-2f6f0b7f6a10"
OTHER = "01926f3e-8d3c-7b1a-9c55-2f6f0b7f6a11"


class World:
    """A table, a dispatcher that listens, and the changes between them."""

    def __init__(self) -> None:
        self.leading = True
        self.feed = Feed()
        self.statuses: dict[str, str] = {}
        self.is_away = False
        self.looked_up: list[set[str]] = []
        self.was_cancelled: list[str] = []
        self.durations: dict[str, int] = {}
        self.wakes = 0
        self.changes = Changes(cast("Any", self), self, self.feed)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[None]:
        if self.is_away:
            raise ConnectionRefusedError
        yield

    async def final_statuses(self, _: object, ids: Iterable[UUID]) -> dict[UUID, str]:
        found = {str(id) for id in ids}
        self.looked_up.append(found)
        return {UUID(id): status for id, status in self.statuses.items() if id in found}

    async def operations(self, _: object) -> list[store.OperationRow]:
        return [store.OperationRow("addition", "+", 5)]

    async def cancelled_since(self, _: object, since_us: int) -> set[UUID]:
        return set()

    def cancelled(self, expression: str) -> None:
        self.was_cancelled.append(expression)

    def set_duration(self, operation: str, duration_ms: int) -> None:
        self.durations[operation] = duration_ms

    def wake_loader(self) -> None:
        self.wakes += 1


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World()
    for name in ("final_statuses", "operations"):
        monkeypatch.setattr(store, name, getattr(made, name))
    running = asyncio.create_task(made.changes.run())
    yield made
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_cancellation_is_told_when_the_table_says_so(world: World) -> None:
    world.statuses = {ID: "cancelled"}
    world.changes.cancelled(ID)
    await until(lambda: world.was_cancelled == [ID])


@pytest.mark.parametrize("status", ["done", None])
async def test_a_notice_alone_cancels_nothing(world: World, status: str | None) -> None:
    world.statuses = {} if status is None else {ID: status}
    world.changes.cancelled(ID)
    world.changes.cancelled("no id at all")
    await until(lambda: world.looked_up == [{ID}])
    assert not world.was_cancelled


async def test_a_follower_looks_up_what_somebody_waits_for_and_no_more(world: World) -> None:
    world.leading = False
    world.statuses = dict.fromkeys((ID, OTHER), "cancelled")
    with world.feed.watch(ID):
        world.changes.cancelled(OTHER)
        world.changes.durations("addition")
        world.changes.cancelled(ID)
        await until(lambda: world.was_cancelled == [ID])
    assert world.looked_up == [{ID}] and not world.durations


async def test_many_cancellations_are_one_look_into_the_table(world: World) -> None:
    ids = [str(UUID(int=number)) for number in range(900)]
    world.statuses = dict.fromkeys(ids, "cancelled")
    for id in ids:
        world.changes.cancelled(id)
    await until(lambda: len(world.was_cancelled) == 900)
    assert len(world.looked_up) == 1


async def test_durations_come_from_the_table(world: World) -> None:
    world.changes.durations("addition")
    await until(lambda: world.durations == {"addition": 5})


async def test_a_change_that_nobody_told_of_is_found_by_the_poll(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted: list[object] = []
    loader = Loader(
        cast("Any", world), 1, Settings(), post=posted.append, clock_us=lambda: 0, values_bytes=lambda: 0,
        durations=[5, 1, 1, 1],
    )  # fmt: skip
    monkeypatch.setattr(store, "cancelled_since", world.cancelled_since)
    # Told of the first change, and not of the second, which puts it back to what it was at first.
    loader.set_duration(0, 9)
    await loader._poll(0)
    await loader._poll(0)
    assert posted == [DurationSet(0, 9), DurationSet(0, 5)]


async def test_after_a_gap_the_table_is_polled(world: World) -> None:
    world.statuses = dict.fromkeys((ID, OTHER), "cancelled")
    with world.feed.watch(ID):
        world.changes.cancelled("")
        await until(lambda: world.was_cancelled == [ID])
    assert world.wakes == 1 and world.looked_up == [{ID}]


async def test_while_the_database_is_away_the_poll_has_to_do(world: World) -> None:
    world.is_away, world.statuses = True, {ID: "cancelled", OTHER: "cancelled"}
    world.changes.cancelled(ID)
    await until(lambda: not world.changes._cancelled)
    world.is_away = False
    world.changes.cancelled(OTHER)
    await until(lambda: world.was_cancelled == [OTHER])
