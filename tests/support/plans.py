"""Plans as the reference sees them: their values, their trees, their figures."""

from collections.abc import Sequence
from fractions import Fraction

from curta_server.core.plan import Plan
from tests.support import reference


def value_of(plan: Plan) -> Fraction | None:
    """What the tasks compute, one after the other; None where one divides by zero."""
    values: list[Fraction | None] = []

    def operand(of: int) -> Fraction | None:
        if of >= 0:
            value, negated = values[of >> 1], bool(of & 1)
        else:
            value, negated = reference.literal_value(plan.literal(of)), bool(~of & 1)
        return -value if value is not None and negated else value

    for operation, left, right in zip(plan.operations, plan.left, plan.right, strict=True):
        values.append(reference.apply("+-*/"[operation], operand(left), operand(right)))
    return None if None in values else operand(plan.root)


def tree_of(plan: Plan) -> reference.Expression:
    """The plan written out as an expression, tasks with several users as often as they are used."""
    trees: list[reference.Operation] = []

    def operand(of: int) -> reference.Expression:
        if of >= 0:
            return trees[of >> 1]._replace(negated=bool(of & 1))
        return reference.Literal(bool(~of & 1), plan.literal(of))

    for operation, left, right in zip(plan.operations, plan.left, plan.right, strict=True):
        trees.append(reference.Operation(False, "+-*/"[operation], operand(left), operand(right)))
    return operand(plan.root)


def critical_path(plan: Plan, costs: Sequence[int]) -> int:
    finished: list[int] = []
    for operation, left, right in zip(plan.operations, plan.left, plan.right, strict=True):
        ready = max((finished[of >> 1] for of in (left, right) if of >= 0), default=0)
        finished.append(ready + costs[operation])
    return max(finished, default=0)


def work(plan: Plan, costs: Sequence[int]) -> int:
    return sum(costs[operation] for operation in plan.operations)


def remaining_paths(plan: Plan, costs: Sequence[int]) -> list[int]:
    """For each task the cost from its start to the root's end, by the lists of users."""
    remaining = [0] * len(plan)
    for k in reversed(range(len(plan))):
        users = plan.users[plan.users_at[k] : plan.users_at[k + 1]]
        remaining[k] = costs[plan.operations[k]] + max((remaining[user] for user in users), default=0)
    return remaining
