"""The first stage of planning: equal subexpressions of the text become one task."""

from array import array
from dataclasses import dataclass

from curta_server.core.expression import Tree
from curta_server.core.graph import Graph
from curta_server.core.timed import task_key


@dataclass(slots=True)
class Shared:
    """A graph without two equal tasks, the literals it still refers to, and how often each task is used.

    `uses` is empty where no literal stands twice in the text: then nothing is shared, and every task has one
    user.
    """

    graph: Graph
    starts: "array[int]"
    ends: "array[int]"
    uses: "array[int]"


def share(tree: Tree, tasks_max: int) -> Shared | None:
    """Value numbering (Aho et al. 2006, section 6.1): tasks with the same operation and operands are one.

    Literals are equal where their texts are (`1` and `1.0` are not: that would take arithmetic). None where
    more than `tasks_max` tasks remain; no more is kept than that takes.
    """
    text, graph = tree.text, tree.graph
    first: dict[str, int] = {}
    literal_of = array("i")
    for start, end in zip(tree.starts, tree.ends, strict=True):
        literal_of.append(first.setdefault(text[start:end], len(first)))
        if len(first) > tasks_max + 1:
            return None
    if len(first) == len(literal_of):
        return Shared(graph, tree.starts, tree.ends, array("i")) if len(graph) <= tasks_max else None
    ends = array("i", bytes(4 * len(first)))
    starts = ends[:]
    for i in range(len(literal_of) - 1, -1, -1):
        starts[literal_of[i]], ends[literal_of[i]] = tree.starts[i], tree.ends[i]
    del first
    operations = bytearray()
    left, right, uses = array("i"), array("i"), array("i")
    task_of = array("i")
    known: dict[int, int] = {}
    for operation, first_operand, second_operand in zip(
        graph.operations, graph.left, graph.right, strict=True
    ):
        if first_operand >= 0:
            first_operand = task_of[first_operand >> 1] << 1 | first_operand & 1
        else:
            first_operand = ~(literal_of[~first_operand >> 1] << 1 | ~first_operand & 1)
        if second_operand >= 0:
            second_operand = task_of[second_operand >> 1] << 1 | second_operand & 1
        else:
            second_operand = ~(literal_of[~second_operand >> 1] << 1 | ~second_operand & 1)
        key = task_key(operation, first_operand, second_operand)
        task = known.get(key)
        if task is None:
            task = known[key] = len(operations)
            if task == tasks_max:
                return None
            operations.append(operation)
            left.append(first_operand)
            right.append(second_operand)
            uses.append(0)
            if first_operand >= 0:
                uses[first_operand >> 1] += 1
            if second_operand >= 0:
                uses[second_operand >> 1] += 1
        task_of.append(task)
    root = graph.root
    root = task_of[root >> 1] << 1 | root & 1 if root >= 0 else ~(literal_of[~root >> 1] << 1 | ~root & 1)
    return Shared(Graph(operations, left, right, root), starts, ends, uses)
