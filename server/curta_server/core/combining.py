"""One chain of `+ -` or of `* /`: its terms, and how they are combined anew.

Every term that is subtracted (divided by) is first paired with the nearest one that is not, which keeps the
counts of the operations and keeps numbers small; then terms combine earliest-ready first, ties in text order.
Where a chain would be ready later than as written, or take more work, it stays as written; so, by induction,
does the whole plan.
"""

from array import array
from heapq import heapify, heappop, heappush
from typing import ClassVar

from curta_server.core.graph import ADDITION, DIVISION, MULTIPLICATION, SUBTRACTION, Graph
from curta_server.core.timed import TimedGraph


class Chain:
    """What sums and products have in common.

    A term is `reference << 1 | below`; `below` says that it is subtracted or divided by. Terms on one side
    are gathered (`+` or `*`) and stay there; terms on different sides are opposed (`-` or `/`), which ends
    above.
    """

    gather: ClassVar[int]
    oppose: ClassVar[int]

    def __init__(self, graph: Graph, roles: bytearray, moved: "array[int]", result: TimedGraph) -> None:
        """`roles` tells which tasks are part of their user's chain, `moved` what stands for the others."""
        self.graph = graph
        self.roles = roles
        self.moved = moved
        self.result = result
        self.gather_cost, self.oppose_cost = result.costs[self.gather], result.costs[self.oppose]
        # How many of either operation the chain has as written and has not spent: binding for the dearer.
        self.gather_left = self.oppose_left = 0

    def terms(self, k: int) -> tuple[list[int], list[int], int]:
        """Of the chain that ends in task k: its terms in text order, its tasks, users first, its sign."""
        raise NotImplementedError

    def combined(self, first: int, second: int) -> int:
        """One term from two, the first one first in the text."""
        raise NotImplementedError

    def regrouped(self, k: int, ready_as_written: int) -> int:
        """Regroup the chain that ends in task k; the reference to what stands for it."""
        result, operations = self.result, self.graph.operations
        terms, parts, negated = self.terms(k)
        opposing = 0
        for part in parts:
            opposing += operations[part] & 1
        gathering = len(parts) - opposing
        work_as_written = opposing * self.oppose_cost + gathering * self.gather_cost
        self.oppose_left, self.gather_left = opposing, gathering
        mark = len(result.ready)
        units = self.paired(terms)
        value = self.combined(units[0][1], units[1][1]) if len(units) == 2 else self.merged(units)
        opposing = result.operations.count(self.oppose, mark)
        gathering = len(result.ready) - mark - opposing
        work = opposing * self.oppose_cost + gathering * self.gather_cost
        if work > work_as_written or result.ready_at(value >> 1) > ready_as_written:
            result.forget(mark)
            return self._as_written(parts)
        return value >> 1 ^ (value & 1 | negated)

    def _as_written(self, parts: list[int]) -> int:
        """Add the tasks of the chain as they are; the reference to the last."""
        graph, moved = self.graph, self.moved
        for part in reversed(parts):
            first, second = graph.left[part], graph.right[part]
            if first >= 0:
                first = moved[first >> 1] ^ first & 1
            if second >= 0:
                second = moved[second >> 1] ^ second & 1
            moved[part] = self.result.add(graph.operations[part], first, second)
        return moved[parts[0]]

    def paired(self, terms: list[int]) -> list[tuple[int, int]]:
        """Oppose terms below with the nearest above, as brackets match; each with its place in the text."""
        pairs_left = self.pairs_max(terms)
        units: list[int | None] = [*terms]
        waiting: list[int] = []  # places of terms without a partner, all on one side
        for place, term in enumerate(terms):
            if waiting and (terms[waiting[-1]] ^ term) & 1 and pairs_left:
                partner = waiting.pop()
                units[partner] = self.combined(terms[partner], term)
                units[place] = None
                pairs_left -= 1
            else:
                waiting.append(place)
        return [(place, unit) for place, unit in enumerate(units) if unit is not None]

    def pairs_max(self, terms: list[int]) -> int:
        """How many terms may be paired."""
        return len(terms)

    def merged(self, units: list[tuple[int, int]]) -> int:
        """Combine any two terms, earliest-ready first.

        Terms that are ready at one time combine two by two: what comes of them is ready later than all of
        these.
        """
        ready, combined = self.result.ready, self.combined
        at: dict[int, list[tuple[int, int]]] = {}
        for unit in units:
            reference = unit[1] >> 1
            at.setdefault(ready[reference >> 1] if reference >= 0 else 0, []).append(unit)
        times = list(at)
        heapify(times)
        left_over: tuple[int, int] | None = None
        while times:
            level = at.pop(heappop(times))
            level.sort()
            if left_over is not None:
                level.insert(1 if level[0] < left_over else 0, left_over)
            left_over = level.pop() if len(level) & 1 else None
            pairs = iter(level)
            for (place, first), (_, second) in zip(pairs, pairs, strict=True):
                unit = place, combined(first, second)
                time = ready[unit[1] >> 2]
                if time in at:
                    at[time].append(unit)
                else:
                    at[time] = [unit]
                    heappush(times, time)
        assert left_over is not None
        return left_over[1]


class Sum(Chain):
    """A chain of `+ -`. The signs of its terms are part of their side, so all of its references are positive.

    Signs in references make the two operations interchangeable (`a + b` is `a - -b`). Each is used for what
    it is meant for as long as it is not the dearer one, and also then as often as the text has it.
    """

    gather = ADDITION
    oppose = SUBTRACTION

    def terms(self, k: int) -> tuple[list[int], list[int], int]:
        operations, left, right = self.graph.operations, self.graph.left, self.graph.right
        roles, moved = self.roles, self.moved
        terms: list[int] = []
        parts = [k]
        waiting = [
            left[k],
            right[k] ^ operations[k],
        ]  # SUBTRACTION is 1: it turns the sign of its right operand
        while waiting:
            reference = waiting.pop()
            if reference >= 0:
                task, sign = reference >> 1, reference & 1
                if roles[task]:
                    parts.append(task)
                    waiting.append(left[task] ^ sign)
                    waiting.append(right[task] ^ sign ^ operations[task])
                    continue
                reference = moved[task] ^ sign
            if reference >= 0:
                terms.append((reference & ~1) << 1 | reference & 1)
            else:
                terms.append((reference | 1) << 1 | ~reference & 1)
        terms.reverse()
        return terms, parts, 0

    def combined(self, first: int, second: int) -> int:
        side = first & 1
        left, right = first >> 1, second >> 1
        if side == second & 1:
            if self.gather_cost <= self.oppose_cost or (self.gather_left > 0 and not side):
                self.gather_left -= 1
                return self.result.add(ADDITION, left, right) << 1 | side
            return self.result.add(SUBTRACTION, left, right ^ 1) << 1 | side
        if side:
            left, right = right, left
        if self.oppose_cost <= self.gather_cost or self.oppose_left > 0:
            self.oppose_left -= 1
            return self.result.add(SUBTRACTION, left, right) << 1
        return self.result.add(ADDITION, left, right ^ 1) << 1


class Product(Chain):
    """A chain of `* /`. The signs of its terms stay in their references.

    Below the line one division after the other can stand for a multiplication. Where `/` is the dearer one,
    there are as many divisions as written and terms below are gathered; where `*` is, they are not gathered.
    """

    gather = MULTIPLICATION
    oppose = DIVISION

    def terms(self, k: int) -> tuple[list[int], list[int], int]:
        operations, left, right = self.graph.operations, self.graph.left, self.graph.right
        roles, moved = self.roles, self.moved
        terms: list[int] = []
        parts = [k]
        negated = 0
        waiting = [
            left[k] << 1,
            right[k] << 1 | operations[k] & 1,
        ]  # DIVISION is odd: its right operand is below
        while waiting:
            term = waiting.pop()
            if term >= 0:
                task, sign, below = term >> 2, term >> 1 & 1, term & 1
                if roles[task]:
                    parts.append(task)
                    negated ^= sign
                    waiting.append(left[task] << 1 | below)
                    waiting.append(right[task] << 1 | below | operations[task] & 1)
                    continue
                term = (moved[task] ^ sign) << 1 | below
            terms.append(term)
        terms.reverse()
        return terms, parts, negated

    def pairs_max(self, terms: list[int]) -> int:
        if self.oppose_cost > self.gather_cost and sum(term & 1 for term in terms) > self.oppose_left:
            return self.oppose_left - 1  # the last division is for those that remain, gathered
        return len(terms)

    def combined(self, first: int, second: int) -> int:
        side = first & 1
        left, right = first >> 1, second >> 1
        if side == second & 1:
            return self.result.add(MULTIPLICATION, left, right) << 1 | side
        if side:
            left, right = right, left
        self.oppose_left -= 1
        return self.result.add(DIVISION, left, right) << 1

    def merged(self, units: list[tuple[int, int]]) -> int:
        """Combine any two terms, earliest-ready first, as far as the costs of `*` and `/` let them."""
        if self.oppose_cost == self.gather_cost or not any(unit & 1 for _, unit in units):
            return super().merged(units)
        sides: tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]] = ([], [])
        for place, unit in units:
            sides[unit & 1].append((self.result.ready_at(unit >> 1), place, unit))
        above, below = sides
        heapify(above)
        heapify(below)
        while below or len(above) > 1:
            if self.oppose_cost < self.gather_cost:
                first = heappop(above)
                second = heappop(_earlier(above, below))
            elif self.oppose_left > 1 or len(below) < 2:
                first = heappop(_earlier(above, below))
                second = heappop(_earlier(above, below))
            else:
                side = _earlier(above, below) if len(above) > 1 else below
                first = heappop(side)
                second = heappop(side)
            if first[1] > second[1]:
                first, second = second, first
            unit = self.combined(first[2], second[2])
            heappush(sides[unit & 1], (self.result.ready_at(unit >> 1), first[1], unit))
        return above[0][2]


def _earlier(
    one: list[tuple[int, int, int]], other: list[tuple[int, int, int]]
) -> list[tuple[int, int, int]]:
    """Of two heaps, not both empty, the one whose first is earlier."""
    return one if one and (not other or one[0] < other[0]) else other
