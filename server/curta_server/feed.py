"""Who wants to know that an expression is final: one wake-up for each, from the commit to the waiting GET.

The dispatcher publishes after the commit; requests watch. It carries no data: the table is the truth, and a
watcher that reads its row after it began to watch misses nothing.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Watch:
    """One request's interest in one expression."""

    def __init__(self) -> None:
        self._final = asyncio.Event()

    def wake(self) -> None:
        self._final.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when the expression was published as final since the watch began, or after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._final.wait()
        except TimeoutError:
            pass


class Feed:
    """Watches by expression."""

    def __init__(self) -> None:
        self._watches: dict[str, set[Watch]] = {}

    @contextmanager
    def watch(self, expression: str) -> Iterator[Watch]:
        """Watch while the block runs; read the row inside it."""
        watch = Watch()
        self._watches.setdefault(expression, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._watches[expression]
            watches.discard(watch)
            if not watches:
                del self._watches[expression]

    async def final(self, expression: str, timeout_s: float) -> None:
        """Wait until the expression is published as final, at most `timeout_s`."""
        with self.watch(expression) as watch:
            await watch.wait(timeout_s)

    def publish_final(self, expression: str) -> None:
        """The expression is final, durably."""
        for watch in self._watches.get(expression, ()):
            watch.wake()
