"""Tasks and their operands in compact arrays: the form that the parser, the planner and the plan share.

Owned by the core; knows neither texts nor durations. A reference names an operand in one integer, sign
included, so that a unary minus costs nothing:

    task k, negated s (0 or 1)       k << 1 | s         0 and above
    literal i, negated s             ~(i << 1 | s)      below 0

Hence `reference ^ 1` negates either kind, and `reference >> 1` is k for a task, ~i for a literal.
"""

from array import array
from dataclasses import dataclass

ADDITION, SUBTRACTION, MULTIPLICATION, DIVISION = range(4)
"""Operations as the arrays hold them; `operation >> 1` tells `+ -` from `* /`."""


@dataclass(slots=True)
class Graph:
    """Operations with their operands, operands before their users.

    `operations` holds one of the four codes for each task, `left` and `right` the references to its operands,
    and `root` is the reference to the whole value. In the graph that the parser makes every task has one
    user, and the tasks stand in the order in which a reader from left to right completes them.
    """

    operations: bytearray
    left: "array[int]"
    right: "array[int]"
    root: int

    def __len__(self) -> int:
        """The number of tasks."""
        return len(self.operations)
