"""Long loops take turns: one in each round of the event loop, first come, first served."""

import asyncio

from curta_server import slices
from curta_server.slices import Slices


class Rounds:
    """Counts the rounds of the event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._next()

    def _next(self) -> None:
        self.count += 1
        self._handle = asyncio.get_running_loop().call_soon(self._next)

    def stop(self) -> None:
        self._handle.cancel()


async def test_no_two_have_their_turn_in_one_round_and_nobody_is_passed_over() -> None:
    rounds, turns = Rounds(), []

    async def long_loop(name: str) -> None:
        for _ in range(5):
            await slices.turn()
            turns.append((rounds.count, name))

    async with asyncio.TaskGroup() as loops:
        for name in "abc":
            loops.create_task(long_loop(name))
    rounds.stop()
    assert "".join(name for _, name in turns) == "abc" * 5
    assert len({count for count, _ in turns}) == len(turns)


async def test_who_does_not_wait_any_more_keeps_nobody_waiting() -> None:
    turns = []

    async def once(name: str) -> None:
        await slices.turn()
        turns.append(name)

    tasks = [asyncio.create_task(once(name)) for name in "abcd"]
    await asyncio.sleep(0)
    for at in (0, 1, 3):
        tasks[at].cancel()
    async with asyncio.timeout(5):
        await asyncio.wait(tasks)
        assert turns == ["c"]
        await once("e")
    assert turns == ["c", "e"]


async def test_a_short_slice_gives_no_turn_away() -> None:
    rounds, mine = Rounds(), Slices()
    await mine.turn()
    assert rounds.count == 1
    mine._began -= slices.SLICE_S
    await mine.turn()
    assert rounds.count > 1
    rounds.stop()


def test_each_event_loop_has_its_own_turns() -> None:
    async def left_waiting() -> None:
        waiting = asyncio.create_task(slices.turn())
        await asyncio.sleep(0)
        waiting.cancel()

    for _ in range(2):
        asyncio.run(left_waiting())
        asyncio.run(asyncio.wait_for(slices.turn(), 5))
