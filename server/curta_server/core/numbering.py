"""The last stage of planning: number the tasks by urgency and list who uses whom."""

from array import array
from collections.abc import Sequence

from curta_server.core.graph import Graph


def number(graph: Graph, costs: Sequence[int]) -> tuple[Graph, "array[int]", "array[int]"]:
    """The same graph in the order of Plan, with `users_at` and `users`.

    Sorted by the remaining path, the sum of costs (above 0) from a task through its users to the root: an
    operand's is longer than its user's, so operands still come first. Equal paths keep the order they have.
    """
    operations, left, right = graph.operations, graph.left, graph.right
    tasks = len(operations)
    remaining = [costs[operation] for operation in operations]
    for k in range(tasks - 1, -1, -1):
        path = remaining[k]
        reference = left[k]
        if reference >= 0:
            operand = reference >> 1
            longer = path + costs[operations[operand]]
            if longer > remaining[operand]:
                remaining[operand] = longer
        reference = right[k]
        if reference >= 0:
            operand = reference >> 1
            longer = path + costs[operations[operand]]
            if longer > remaining[operand]:
                remaining[operand] = longer
    order = sorted(range(tasks), key=remaining.__getitem__, reverse=True)
    del remaining
    doubled = array("i", bytes(4 * tasks))
    for new, old in enumerate(order):
        doubled[old] = new << 1
    ordered = Graph(
        bytearray(map(operations.__getitem__, order)),
        _moved(left, order, doubled),
        _moved(right, order, doubled),
        graph.root if graph.root < 0 else doubled[graph.root >> 1] | graph.root & 1,
    )
    return ordered, *users_of(ordered)


def _moved(references: "array[int]", order: Sequence[int], doubled: "array[int]") -> "array[int]":
    """References of the tasks in their new order, to the tasks' new numbers."""
    return array(
        "i",
        [
            reference if reference < 0 else doubled[reference >> 1] | reference & 1
            for reference in map(references.__getitem__, order)
        ],
    )


def users_of(graph: Graph) -> tuple["array[int]", "array[int]"]:
    """For each task where its users begin in the second array; ascending, twice where it is both operands."""
    tasks = len(graph)
    counts = [0] * (tasks + 1)
    for references in (graph.left, graph.right):
        for reference in references:
            if reference >= 0:
                counts[reference >> 1] += 1
    users_at = array("i", bytes(4 * (tasks + 1)))
    total = 0
    for k in range(tasks):
        users_at[k] = total
        total += counts[k]
    users_at[tasks] = total
    users = array("i", bytes(4 * total))
    following = users_at[:]
    for user, (first, second) in enumerate(zip(graph.left, graph.right, strict=True)):
        if first >= 0:
            users[following[first >> 1]] = user
            following[first >> 1] += 1
        if second >= 0:
            users[following[second >> 1]] = user
            following[second >> 1] += 1
    return users_at, users
