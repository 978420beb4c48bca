"""A plan: the tasks of one expression in compact arrays, numbered in the order in which they are urgent.

Made once, at submission, and stored with the expression, so that recovery never depends on the parser's
version. The scheduler reads the arrays as they are. Knows no arithmetic: a literal is a slice of the text.
"""

import struct
import sys
import zlib
from array import array
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from curta_server.core.chains import regroup
from curta_server.core.expression import Tree
from curta_server.core.graph import DIVISION, Graph
from curta_server.core.numbering import number, users_of
from curta_server.core.sharing import share

TASKS_MAX: Final = 2_000_000

_HEADER: Final = struct.Struct("<4sBBxxIIIi")
"""Mark, version, flags, then the counts of tasks, literals and users, and the root."""
_MARK: Final = b"plan"
_VERSION: Final = 1
_COMPRESSED: Final = 1
_COMPRESS_BYTES: Final = 4096
"""Smaller bodies are stored as they are: compressing them costs more than it saves."""


class TooManyTasks(Exception):
    """The expression is valid, but has too many tasks; `count` is how many operations its text has."""

    def __init__(self, count: int, limit: int) -> None:
        super().__init__(f"{count:,} operations need more than the {limit:,} tasks that are allowed")
        self.count = count
        self.limit = limit


class NewerPlan(ValueError):
    """A stored plan of a later release, which that one can read."""


@dataclass(slots=True)
class Plan:
    """The tasks of one expression; references are those of `graph`.

    `operations[k]` is the operation's code, `left[k]` and `right[k]` refer to its operands, `root` to the
    whole value. `users[users_at[k]:users_at[k + 1]]` are the tasks that use task k, ascending; one that uses
    it for both operands stands there twice. `text[starts[i]:ends[i]]` is literal i.

    Tasks are numbered by descending remaining path (the task itself included, each counting its duration + 1
    ms), so the smallest number is the most urgent; operands come before their users, and the root's task is
    the last. Without tasks the root is a literal.
    """

    text: str
    operations: bytes
    left: "array[int]"
    right: "array[int]"
    starts: "array[int]"
    ends: "array[int]"
    users_at: "array[int]"
    users: "array[int]"
    root: int

    def __len__(self) -> int:
        """The number of tasks."""
        return len(self.operations)

    def literal(self, reference: int) -> str:
        """The text of the literal that a reference below 0 names, without the reference's sign."""
        i = ~reference >> 1
        return self.text[self.starts[i] : self.ends[i]]

    def encode(self) -> bytes:
        """The plan without its text, for `decode`."""
        numbers = (self.left, self.right, self.starts, self.ends, self.users_at, self.users)
        body = self.operations + b"".join(map(_little_endian, numbers))
        flags = 0
        if len(body) >= _COMPRESS_BYTES:
            body = zlib.compress(body, 1)
            flags = _COMPRESSED
        counts = len(self.operations), len(self.starts), len(self.users)
        return _HEADER.pack(_MARK, _VERSION, flags, *counts, self.root) + body

    @classmethod
    def decode(cls, data: bytes, text: str) -> "Plan":
        """The plan that `encode` wrote, for the same text. Raises: ValueError for any other data, NewerPlan
        for one that a later release wrote.

        A large plan is told from damaged data by its checksum alone: to look at millions of references would
        hold whoever loads it. Takes no more time and memory than the plan of such a text can.
        """
        try:
            mark, version, flags, tasks, literals, users, root = _HEADER.unpack_from(data)
            if mark == _MARK and version > _VERSION:
                raise NewerPlan(f"a plan of version {version}")
            if mark != _MARK or version != _VERSION:
                raise ValueError(f"no plan of version {_VERSION}")
            lengths = (tasks, tasks, literals, literals, tasks + 1, users)
            size = tasks + 4 * sum(lengths)
            if max(tasks, literals, users) > 2 * len(text):
                raise ValueError("damaged plan: too large for its text")
            body = memoryview(data)[_HEADER.size :]
            if flags & _COMPRESSED:
                body = _inflated(body, size)
        except (struct.error, zlib.error) as error:
            raise ValueError(f"damaged plan: {error}") from None
        if len(body) != size:
            raise ValueError("damaged plan: its length does not fit")
        ends = list(accumulate((4 * length for length in lengths), initial=tasks))
        left, right, starts, stops, users_at, users_ = (
            _from_little_endian(body[ends[i] : ends[i + 1]]) for i in range(6)
        )
        plan = cls(text, bytes(body[:tasks]), left, right, starts, stops, users_at, users_, root)
        if not flags & _COMPRESSED:
            plan._check()
        return plan

    def _check(self) -> None:
        """Raises: ValueError where a reference leads nowhere, or forwards."""
        tasks, literals = len(self), len(self.starts)
        graph = Graph(bytearray(self.operations), self.left, self.right, self.root)
        for task, operation in enumerate(self.operations):
            for reference in (self.left[task], self.right[task]):
                if operation > DIVISION or not ~literals < reference >> 1 < task:
                    raise ValueError(f"damaged plan: task {task} is none")
        for start, end in zip(self.starts, self.ends, strict=True):
            if not 0 <= start < end <= len(self.text):
                raise ValueError("damaged plan: a literal is not in the text")
        if self.root >> 1 != tasks - 1 or (not tasks and not literals):
            raise ValueError("damaged plan: the root is not its last task")
        if (self.users_at, self.users) != users_of(graph):
            raise ValueError("damaged plan: its users are not those of its tasks")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a plan will take, by the durations alone (without the millisecond that planning adds to each).

    `sequential_ms` on one slot, `critical_path_ms` with as many slots as it can use,
    `critical_path_as_written_ms` the same without regrouping; `width` is how many tasks run at once when each
    starts as soon as it can.
    """

    tasks: int
    sequential_ms: int
    critical_path_ms: int
    critical_path_as_written_ms: int
    width: int


def build(
    tree: Tree, durations_ms: Sequence[int], *, optimize: bool = True, tasks_max: int = TASKS_MAX
) -> Plan:
    """Plan an expression: share equal subexpressions, regroup chains, number the tasks.

    `durations_ms` are the four operations' durations in the order of their codes, each 0 or above. With
    `optimize` the critical path and the total work are never worse than as written with equal subexpressions
    shared; without it, each operation of the text is one task with its operands as written. Either way the
    value is the text's exactly, and it divides by zero if and only if the text does. Takes time n log n, and
    no recursion. Raises: TooManyTasks, before anything grows beyond `tasks_max`.
    """
    costs = [duration + 1 for duration in durations_ms]
    graph, starts, ends = tree.graph, tree.starts, tree.ends
    if optimize:
        shared = share(tree, tasks_max)
        if shared is None:
            raise TooManyTasks(len(tree), tasks_max)
        graph, starts, ends = shared.graph, shared.starts, shared.ends
        graph = regroup(graph, costs, shared.uses)
    elif len(tree) > tasks_max:
        raise TooManyTasks(len(tree), tasks_max)
    graph, users_at, users = number(graph, costs)
    return Plan(
        tree.text, bytes(graph.operations), graph.left, graph.right, starts, ends, users_at, users, graph.root
    )


def summarize(tree: Tree, plan: Plan, durations_ms: Sequence[int]) -> Summary:
    """The figures of a plan beside those of the text it was made from."""
    durations = list(durations_ms)
    planned = Graph(bytearray(plan.operations), plan.left, plan.right, plan.root)
    return Summary(
        tasks=len(plan),
        sequential_ms=sum(plan.operations.count(code) * durations[code] for code in range(4)),
        critical_path_ms=max(_finish_times(planned, durations), default=0),
        critical_path_as_written_ms=max(_finish_times(tree.graph, durations), default=0),
        width=_width(planned, [duration + 1 for duration in durations]),
    )


def _finish_times(graph: Graph, costs: Sequence[int]) -> list[int]:
    """When each task is done, if it starts as soon as its operands are."""
    done: list[int] = []
    extend_finish_times(done, graph.operations, graph.left, graph.right, costs)
    return done


def extend_finish_times(
    done: MutableSequence[int],
    operations: bytes | bytearray,
    left: Sequence[int],
    right: Sequence[int],
    costs: Sequence[int],
) -> None:
    """Append when each of these tasks is done to `done`, which says it of all tasks before them."""
    for operation, one, other in zip(operations, left, right, strict=True):
        ready = done[one >> 1] if one >= 0 else 0
        if other >= 0 and done[other >> 1] > ready:
            ready = done[other >> 1]
        done.append(ready + costs[operation])


def _width(graph: Graph, costs: Sequence[int]) -> int:
    """The most tasks that run at once; costs are above 0."""
    ends = _finish_times(graph, costs)
    begins = sorted(end - costs[operation] for end, operation in zip(ends, graph.operations, strict=True))
    ends.sort()
    widest = ended = 0
    for started, begin in enumerate(begins, 1):
        while ends[ended] <= begin:
            ended += 1
        widest = max(widest, started - ended)
    return widest


def _inflated(data: memoryview, size: int) -> memoryview:
    """What was compressed: `size` bytes and nothing after them. Raises: ValueError, zlib.error."""
    inflating = zlib.decompressobj()
    body = inflating.decompress(data, size + 1)
    if not inflating.eof or inflating.unused_data:
        raise ValueError("damaged plan: its length does not fit")
    return memoryview(body)


def _little_endian(numbers: "array[int]") -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _from_little_endian(data: memoryview) -> "array[int]":
    numbers = array("i")
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
