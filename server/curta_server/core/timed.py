"""The graph that regrouping makes, while it grows."""

from array import array
from collections.abc import Sequence

from curta_server.core.graph import Graph


class TimedGraph:
    """Tasks added one by one, operands first, and when each is ready if none ever has to wait for a slot.

    `costs` are what the four operations take, each above 0; literals are ready at 0. With `shares` a task
    that is there already is not added again.
    """

    __slots__ = ("_known", "costs", "left", "operations", "ready", "right")

    def __init__(self, costs: Sequence[int], *, shares: bool) -> None:
        self.costs = costs
        self.operations = bytearray()
        self.left, self.right = array("i"), array("i")
        self.ready: list[int] = []
        self._known: dict[int, int] | None = {} if shares else None

    def add(self, operation: int, left: int, right: int) -> int:
        """The reference to this task."""
        ready = self.ready
        task = len(ready)
        if self._known is not None:
            known = self._known.setdefault(task_key(operation, left, right), task)
            if known != task:
                return known << 1
        start = ready[left >> 1] if left >= 0 else 0
        if right >= 0 and ready[right >> 1] > start:
            start = ready[right >> 1]
        self.operations.append(operation)
        self.left.append(left)
        self.right.append(right)
        ready.append(start + self.costs[operation])
        return task << 1

    def ready_at(self, reference: int) -> int:
        return self.ready[reference >> 1] if reference >= 0 else 0

    def forget(self, mark: int) -> None:
        """Take back all tasks from number `mark` on."""
        if self._known is not None:
            for k in range(mark, len(self.ready)):
                del self._known[task_key(self.operations[k], self.left[k], self.right[k])]
        del self.operations[mark:], self.left[mark:], self.right[mark:], self.ready[mark:]

    def graph(self, root: int) -> Graph:
        """What has grown, with this root."""
        return Graph(self.operations, self.left, self.right, root)


def task_key(operation: int, left: int, right: int) -> int:
    """One number for an operation with its operands: cheaper to look up than a tuple."""
    return (left << 34) + (right << 2) + operation
