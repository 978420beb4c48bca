"""The middle stage of planning: chains of `+ -` and of `* /` are regrouped so that more can run at once.

A chain is a task with all operands of its own kind (`+ -` or `* /`) that nothing else uses, theirs, and so
on; what is left at the ends are its terms. In exact arithmetic the terms may be combined in any order.
Division by zero is kept exactly: a quotient in a divisor is a term of its own (`a/(b/c)` never becomes
`a*c/b`), so every term below the line still divides, alone or within a product, which is zero only if a
factor is.

This module finds the chains; `combining` regroups one.
"""

from array import array
from collections.abc import Sequence

from curta_server.core.combining import Product, Sum
from curta_server.core.graph import DIVISION, MULTIPLICATION, SUBTRACTION, Graph
from curta_server.core.timed import TimedGraph

_ABSORBED, _DIVISOR = 1, 2
"""The role of a task that is part of its user's chain: whether that chain multiplies or divides by it."""


def regroup(graph: Graph, costs: Sequence[int], uses: "array[int]") -> Graph:
    """An equal graph with no longer critical path and no more work, both by `costs` (each above 0).

    `uses` says how often each task is used, empty if each is once; a task used more often stays whole. Tasks
    that come out equal become one (with `uses` empty none can). Operands still come first.
    """
    operations, left, right = graph.operations, graph.left, graph.right
    roles = _roles(graph, uses)
    # For each task that ends a chain, what stands for it in the result.
    moved = array("i", bytes(4 * len(graph)))
    result = TimedGraph(costs, shares=len(uses) > 0)
    add, ready = result.add, result.ready
    a_sum, a_product = Sum(graph, roles, moved, result), Product(graph, roles, moved, result)
    # When each task is ready: those that end a chain as planned, those within one if it stays as written.
    due: list[int] = []
    for k, operation in enumerate(operations):
        first, second = left[k], right[k]
        time = due[first >> 1] if first >= 0 else 0
        if second >= 0 and due[second >> 1] > time:
            time = due[second >> 1]
        time += costs[operation]
        if not roles[k]:
            single = True
            if first >= 0:
                single = not roles[first >> 1]
                first = moved[first >> 1] ^ first & 1
            if second >= 0:
                single = single and not roles[second >> 1]
                second = moved[second >> 1] ^ second & 1
            if operation > SUBTRACTION:
                value = add(operation, first, second) if single else a_product.regrouped(k, time)
            elif single and (first < 0) is (first & 1 == 1) and (second < 0) is (second & 1 == 1):
                value = add(operation, first, second)  # neither operand is negated
            else:
                value = a_sum.regrouped(k, time)
            moved[k] = value
            time = ready[value >> 1]
        due.append(time)
    root = graph.root
    return result.graph(root if root < 0 else moved[root >> 1] ^ root & 1)


def _roles(graph: Graph, uses: "array[int]") -> bytearray:
    """For each task 0, or what it is within its user's chain; found from users to operands."""
    operations, left, right = graph.operations, graph.left, graph.right
    roles = bytearray(len(graph))
    for k in range(len(graph) - 1, -1, -1):
        operation = operations[k]
        below = roles[k] == _DIVISOR
        for reference in (left[k], right[k]):
            if reference >= 0:
                operand = reference >> 1
                own = operations[operand]
                if own >> 1 == operation >> 1 and not (uses and uses[operand] > 1):
                    if not below:
                        roles[operand] = _ABSORBED
                    elif own == MULTIPLICATION:
                        roles[operand] = _DIVISOR
            below = below or operation == DIVISION
    return roles
