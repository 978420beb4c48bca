"""Waiting for conditions, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool | Awaitable[bool]], *, within_s: float = 10.0) -> float:
    """Return when the condition holds, with the seconds it took. Raises AssertionError at the deadline."""
    began = time.monotonic()
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return time.monotonic() - began
        assert time.monotonic() - began < within_s, "the condition did not come true"
        await asyncio.sleep(0.01)
