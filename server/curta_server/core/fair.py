"""A queue in which whoever holds least comes first, and among equals whoever waited longest.

The scheduler's three choices (which user, which of the user's expressions, which agent) are this one rule.
Items are compared by their `held` and `turn` when asked: growing ones are found out lazily, a `held` that
shrinks must be told by `add`.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar


class Holder(Protocol):
    """Somebody who holds a number of slots, and has waited for another one since `turn`: a number that only
    grows and is nobody else's.

    It belongs to the holder and not to a queue: somebody who stands in several queues and is served in one of
    them waits anew in all.
    """

    held: int
    turn: int


def order(item: Holder) -> tuple[int, int]:
    """Whose is the smallest comes first."""
    return item.held, item.turn


H = TypeVar("H", bound=Holder)


class Fair(Generic[H]):
    """Holders in order of what they hold. Every call costs O(log n), amortized."""

    __slots__ = ("_entries", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, H]] = []
        self._entries: dict[H, tuple[int, int, H]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, item: object) -> bool:
        return item in self._entries

    def __iter__(self) -> Iterator[H]:
        return iter(self._entries)

    def add(self, item: H) -> None:
        """Put the item in its place; again whenever its `held` has shrunk."""
        entry = self._entries.get(item)
        if entry is None or entry[0] > item.held:
            self._push(item)

    def discard(self, item: H) -> None:
        self._entries.pop(item, None)

    def first(self) -> H | None:
        """Who holds least, or None when empty."""
        heap, entries = self._heap, self._entries
        while heap:
            entry = heap[0]
            item = entry[2]
            if entries.get(item) is not entry:
                heappop(heap)
            elif entry[0] < item.held or entry[1] < item.turn:
                heappop(heap)
                self._push(item)
            else:
                return item
        return None

    def runner_up(self) -> int | None:
        """What the one after the first holds at least (never more than it really does); None where there is
        none."""
        heap = self._heap
        if len(heap) < 2:
            return None
        return heap[1][0] if len(heap) == 2 else min(heap[1][0], heap[2][0])

    def _push(self, item: H) -> None:
        entry = (*order(item), item)
        self._entries[item] = entry
        heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entries) + 64:
            self._heap = list(self._entries.values())
            heapify(self._heap)
