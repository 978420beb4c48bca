"""What waits for the dispatcher's next turn, and who waits until it has been dealt with.

Owned by the dispatcher. A turn is bounded, so that a flood of results or of held attempts does not hold the
event loop: what does not fit into one turn waits for the next.
"""

import asyncio
import time
from typing import Final

from curta_server.core.events import Answered, Beaten, Event, Joined

TURN_WEIGHT: Final = 2_000
"""Results and held attempts that one turn deals with: about 15 ms."""


class Inbox:
    """Events in order of arrival. Unbounded by itself: whoever posts is bounded."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._wake = asyncio.Event()
        self._settling: list[tuple[int, asyncio.Future[None]]] = []
        self._posted = self._handled = 0
        self.posted_s = 0.0
        """When the first of those that wait was posted, by time.perf_counter."""

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._events)

    def post(self, event: Event) -> None:
        if not self._events:
            self.posted_s = time.perf_counter()
            self._wake.set()
        self._events.append(event)
        self._posted += 1

    def clear(self) -> None:
        """Nobody deals with what waits: forget it, and wake those who wait for that."""
        self._events.clear()
        self._handled = self._posted
        self.settle()

    async def settled(self) -> None:
        """Return when everything posted before has been dealt with, or forgotten."""
        done = asyncio.get_running_loop().create_future()
        self._settling.append((self._posted, done))
        self._wake.set()
        await done

    async def something(self) -> None:
        """Return when there is something to do."""
        await self._wake.wait()

    def take(self) -> list[Event]:
        """What has gathered, up to TURN_WEIGHT; `settle` says that it has been dealt with."""
        self._wake.clear()
        events, self._events = self._events, []
        weight = 0
        for place, event in enumerate(events):
            kind = type(event)
            weight += 1
            if kind is Answered:
                weight += len(event.answers)  # type: ignore[union-attr]
            elif kind is Beaten or kind is Joined:
                weight += len(event.held)  # type: ignore[union-attr]
            if weight > TURN_WEIGHT and place:
                events, self._events = events[:place], events[place:]
                break
        self._handled += len(events)
        return events

    def settle(self) -> None:
        """Everything taken has been dealt with: wake those who waited for it."""
        if self._settling:
            for target, done in self._settling:
                if target <= self._handled and not done.done():
                    done.set_result(None)
            self._settling = [(target, done) for target, done in self._settling if target > self._handled]
