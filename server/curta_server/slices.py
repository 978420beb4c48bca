"""Long loops on the event loop, in slices: nothing may hold it for 50 ms.

Called by whoever walks through many items, or has one that takes long, and cannot leave the process for it.
All who do take turns with each other: between two of them everybody else runs.
"""

import asyncio
import time
from collections import deque
from typing import Final
from weakref import WeakKeyDictionary

SLICE_S: Final = 0.01
"""Well below 50 ms, for an item may take long itself."""


class Slices:
    """One loop's way to give way: `await slices.turn()` after each item."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = time.monotonic()

    async def turn(self) -> None:
        """Let others run if this slice has lasted SLICE_S."""
        if time.monotonic() - self._began > SLICE_S:
            await turn()
            self._began = time.monotonic()


async def turn() -> None:
    """Return when it is the caller's turn: first come, first served, one in each round of the event loop."""
    loop = asyncio.get_running_loop()
    waiting = _waiting.get(loop)
    if waiting is None:
        waiting = _waiting[loop] = deque()
    if not waiting:
        loop.call_soon(_call_next, loop, waiting)
    mine = loop.create_future()
    waiting.append(mine)
    await mine


_waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, deque[asyncio.Future[None]]] = WeakKeyDictionary()


def _call_next(loop: asyncio.AbstractEventLoop, waiting: deque[asyncio.Future[None]]) -> None:
    while waiting:
        called = waiting.popleft()
        if not called.done():  # else its task was cancelled meanwhile
            called.set_result(None)
            break
    if waiting:
        loop.call_soon(_call_next, loop, waiting)
