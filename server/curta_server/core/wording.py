"""Tasks as a person would write them, for the messages of expressions that fail."""

from curta_server.core.crew import Run


def describe(run: Run) -> str:
    """The task with its operands, cut to a readable length: `12 / 0`."""
    plan, task = run.execution.plan, run.task
    left, right = (_operand(run, reference) for reference in (plan.left[task], plan.right[task]))
    return f"{_short(left)} {'+-*/'[plan.operations[task]]} {_short(right)}"


def _operand(run: Run, reference: int) -> str:
    """The value, or the literal as it stands in the text."""
    execution = run.execution
    if reference < 0:
        text: str | None = execution.plan.literal(reference)
        negated = ~reference & 1
    else:
        text, negated = execution.values[reference >> 1], reference & 1
    if text is None:
        return "…"  # an attempt held over a restart may be answered before its operands are known again
    return negate(text) if negated else text


def negate(number: str) -> str:
    """A wire number (or literal) with the other sign; pure text, for a value is text to the core."""
    if number == "0":
        return number
    return number[1:] if number[0] == "-" else "-" + number


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"
