"""What every task of a plan must come to, in exact fractions and in the wire's text."""

from fractions import Fraction

from curta_server.core.plan import Plan
from tests.support import reference

Outcome = Fraction | None
"""None: it divides by zero, or depends on what does."""


def outcomes(plan: Plan) -> list[Outcome]:
    """The exact value of each task."""
    values: list[Outcome] = []
    for operation, left, right in zip(plan.operations, plan.left, plan.right, strict=True):
        values.append(
            reference.apply("+-*/"[operation], operand(plan, values, left), operand(plan, values, right))
        )
    return values


def operand(plan: Plan, values: list[Outcome], of: int) -> Outcome:
    """What a reference stands for."""
    if of >= 0:
        value, negated = values[of >> 1], bool(of & 1)
    else:
        value, negated = reference.literal_value(plan.literal(of)), bool(~of & 1)
    return -value if value is not None and negated else value


def operand_tasks(plan: Plan, task: int) -> list[int]:
    """The tasks whose values the task needs."""
    return [of >> 1 for of in (plan.left[task], plan.right[task]) if of >= 0]


def wire(value: Outcome) -> str | None:
    """`3`, `-1/3`; None stays None."""
    return None if value is None else str(value)
