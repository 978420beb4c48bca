"""Who wants to know that an expression is final: one wake-up for each, from the commit to the waiting GET;
and, in `changed`, who looks at what is going on.

The dispatcher publishes after the commit, and so does a follower that hears of it; requests watch. It
carries no data: the table is the truth, and a watcher that reads its row after it began to watch misses
nothing.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from curta_server.changed import Changed


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
        self.changed = Changed()
        self._watches: dict[str, set[Watch]] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._has_ended = False

    @contextmanager
    def watch(self, expression: str) -> Iterator[Watch]:
        """Watch while the block runs; read the row inside it."""
        watch = Watch()
        if self._has_ended:
            watch.wake()
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
        for listener in self._listeners:
            listener(expression)
        self.changed.touch(None, expression)

    @contextmanager
    def listening(self, listener: Callable[[str], None]) -> Iterator[None]:
        """Have `listener` called with every expression that is published while the block runs. It must not
        wait."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def is_watched(self, expression: str) -> bool:
        """Whether somebody waits for its end at this moment."""
        return expression in self._watches

    def watched(self) -> list[str]:
        """The expressions whose end somebody waits for at this moment."""
        return list(self._watches)

    def end(self) -> None:
        """Let nobody wait, now and from now on: this process stops, and others can be asked."""
        self._has_ended = True
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()
