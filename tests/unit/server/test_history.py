"""The last minutes of a term: one point a second, what it counts, and what falls off."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.waiting import until

from curta_server import history
from curta_server.core.execution import DONE, READY, RUNNING
from curta_server.history import SAMPLE, History


class World:
    """A term's memory, as far as the history looks at it; the clock goes in whole seconds."""

    def __init__(self) -> None:
        self.executions: dict[str, Any] = {}
        self.agents: dict[str, Any] = {}
        self.backlog = 0
        scheduler = SimpleNamespace(executions=self.executions, crew=SimpleNamespace(agents=self.agents))
        self.history = History(
            cast("Any", scheduler), cast("Any", self), lambda monotonic_s: round(monotonic_s * 1_000_000)
        )

    def agent(self, name: str, *, held: int, slots: int, is_lost: bool = False) -> None:
        self.agents[name] = SimpleNamespace(held=held, slots=slots, is_lost=is_lost)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_point_says_what_there_is_and_what_happened_since_the_one_before(world: World) -> None:
    world.executions["a"] = SimpleNamespace(state=bytearray([READY, READY, RUNNING, DONE]), held=1)
    world.executions["b"] = SimpleNamespace(state=bytearray([READY]), held=0)
    world.agent("one", held=1, slots=4)
    world.agent("gone", held=0, slots=9, is_lost=True)
    world.backlog = 5
    world.history.stored(30)
    world.history.stored(10)
    await world.history._note(7.0, 2.0)
    (point,) = world.history.after(0)
    assert (point.at_us, point.tasks_per_s, point.commits_per_s) == (7_000_000, 20.0, 1.0)
    assert (point.ready, point.running, point.expressions, point.journal_backlog) == (3, 1, 2, 5)
    assert (point.agents, point.slots_used, point.slots_total) == (1, 1, 4)
    assert point.dispatch_p50_ms is None and point.dispatch_p99_ms is None
    await world.history._note(8.0, 1.0)
    assert world.history.after(7_000_000)[0].tasks_per_s == 0


async def test_latencies_are_of_this_second_and_the_last_ones_where_there_are_many(world: World) -> None:
    for _ in range(SAMPLE):
        world.history.dispatched(9.0)
    for number in range(SAMPLE):
        world.history.dispatched(number / SAMPLE)
    await world.history._note(1.0, 1.0)
    world.history.dispatched(0.003)
    await world.history._note(2.0, 1.0)
    many, one = world.history.after(0)
    assert (many.dispatch_p50_ms, many.dispatch_p99_ms) == (500.0, pytest.approx(990, abs=1))
    assert (one.dispatch_p50_ms, one.dispatch_p99_ms) == (3.0, 3.0)


async def test_ten_minutes_are_kept_and_no_more(world: World) -> None:
    for second in range(1, 702):
        await world.history._note(second, 1.0)
    points = world.history.after(0)
    assert [point.at_us for point in points] == [second * 1_000_000 for second in range(102, 702)]
    assert [point.at_us for point in world.history.after(700_000_000)] == [701_000_000]
    assert world.history.after(701_000_000) == []
    assert len(world.history.after(50_000_000)) == 600


async def test_no_two_points_have_one_time_though_the_clock_is_set_back(world: World) -> None:
    for moment in (5.0, 4.0, 4.5, 6.0):
        await world.history._note(moment, 1.0)
    assert [p.at_us for p in world.history.after(0)] == [5_000_000, 5_000_001, 5_000_002, 6_000_000]


async def test_points_come_by_themselves_and_one_stands_for_a_stall(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "EVERY_S", 0.02)
    noting = asyncio.create_task(world.history.run())
    await until(lambda: len(world.history.after(0)) >= 2)
    before = len(world.history.after(0))
    world.history.stored(10)
    time.sleep(0.3)  # noqa: ASYNC251 the loop stands still
    await until(lambda: len(world.history.after(0)) >= before + 3)
    stalled = world.history.after(0)[before]
    assert stalled.tasks_per_s == pytest.approx(10 / 0.3, rel=0.2)
    assert all(point.tasks_per_s == 0 for point in world.history.after(stalled.at_us))
    noting.cancel()


async def test_many_expressions_do_not_hold_the_event_loop(world: World) -> None:
    for number in range(100_000):
        world.executions[str(number)] = SimpleNamespace(state=bytearray([READY]), held=0)
    pauses: list[float] = []

    async def breathe() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0)
            pauses.append(time.monotonic() - before)

    breathing = asyncio.create_task(breathe())
    await world.history._note(1.0, 1.0)
    breathing.cancel()
    assert world.history.after(0)[0].ready == 100_000
    assert max(pauses, default=0.0) < 0.05
