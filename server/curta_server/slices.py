"""Long loops on the event loop, in slices: nothing may hold it for 50 ms.

Called by whoever walks through many items and cannot leave the process for it.
"""

import asyncio
import time
from typing import Final

SLICE_S: Final = 0.01
"""Well below 50 ms, for an item may take long itself, and several such loops may take turns."""


class Slices:
    """One loop's way to give way: `await slices.turn()` after each item."""

    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = time.monotonic()

    async def turn(self) -> None:
        """Let others run if this slice has lasted SLICE_S."""
        if time.monotonic() - self._began > SLICE_S:
            await asyncio.sleep(0)
            self._began = time.monotonic()
