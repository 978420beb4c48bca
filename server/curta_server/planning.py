"""Text to plan, wherever it is cheapest: short texts here, long ones in a child process.

The routes call it; it owns no state. It knows the core's parser and planner and turns their refusals into
problems; it must not know requests or the database. Nothing here holds the event loop longer than one short
text takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from curta_server.core.expression import ExpressionError, Tree, parse
from curta_server.core.plan import Plan, Summary, TooManyTasks, build, summarize
from curta_server.errors import Problem, unavailable
from curta_server.slices import Slices
from curta_wire import numbers
from curta_wire.offload import OffloadError

if TYPE_CHECKING:
    from curta_server.settings import Settings
    from curta_wire.offload import Offload

Durations = tuple[int, int, int, int]
"""Milliseconds, in the order of the wire's OPERATIONS."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan as it is stored. A bare number needs no task: it arrives with its value, which is then not
    None."""

    text: str
    optimize: bool
    durations_ms: Durations
    plan: Plan
    encoded: bytes
    value: str | None = None
    result: str | None = None
    exact: str | None = None


class Wanted(NamedTuple):
    """One expression of a batch."""

    text: str
    optimize: bool


class _Limits(NamedTuple):
    literal_digits: int
    tasks: int


class _Refusal(NamedTuple):
    """A refusal on its way out of a child process; exceptions with arguments of their own do not survive
    the trip."""

    code: str
    detail: str
    members: dict[str, Any]

    def problem(self) -> Problem:
        return Problem(self.code, self.detail, **self.members)


class Planning:
    """Parse and plan within the settings' limits.

    Every method raises: Problem `invalid_expression` (with `position` and `expected`), `literal_too_long`,
    `too_long`, `too_many_tasks`, or `unavailable` when the child processes have too much to do. White space
    around a text is dropped; positions count in the text as it came.
    """

    def __init__(self, settings: Settings, offload: Offload) -> None:
        self.offload = offload
        self._text_bytes_max = settings.text_bytes_max
        self._inline_bytes = settings.inline_text_bytes
        self._limits = _Limits(settings.literal_digits_max, settings.tasks_max)

    async def plan(self, text: str, optimize: bool, durations_ms: Durations) -> Planned:
        """The plan of one expression. Raises: Problem."""
        stripped, offset = self._admit(text)
        if self._is_inline(stripped):
            return self._plan_here(stripped, offset, optimize, durations_ms)
        encoded: bytes = await self._away(_encoded, stripped, offset, optimize, durations_ms, self._limits)
        # Inflating and copying arrays lets go of the interpreter's lock, so that a thread is enough.
        plan = await asyncio.to_thread(Plan.decode, encoded, stripped)
        return _planned(plan, encoded, optimize, durations_ms)

    async def plan_many(self, wanted: Sequence[Wanted], durations_ms: Durations) -> list[Planned | Problem]:
        """The plans of many expressions, in order; a refused one is a Problem in its place.

        Raises: Problem `unavailable`; then none of them was planned.
        """
        planned: list[Planned | Problem] = []
        slices = Slices()
        for text, optimize in wanted:
            try:
                planned.append(await self.plan(text, optimize, durations_ms))
            except Problem as problem:
                if problem.code == "unavailable":
                    raise
                planned.append(problem)
            await slices.turn()
        return planned

    async def summarize(self, text: str, optimize: bool, durations_ms: Durations) -> Summary:
        """What the plan of one expression costs, without making anything of it. Raises: Problem."""
        stripped, offset = self._admit(text)
        if self._is_inline(stripped):
            outcome = _summary(stripped, offset, optimize, durations_ms, self._limits)
            if isinstance(outcome, _Refusal):
                raise outcome.problem()
            return outcome
        away: Summary = await self._away(_summary, stripped, offset, optimize, durations_ms, self._limits)
        return away

    def _admit(self, text: str) -> tuple[str, int]:
        stripped = text.strip()
        size = len(stripped)
        if size * 4 > self._text_bytes_max and not stripped.isascii():
            size = len(stripped.encode())
        if size > self._text_bytes_max:
            raise Problem(
                "too_long", f"The expression has {size} bytes; at most {self._text_bytes_max} are allowed."
            )
        return stripped, (text.find(stripped[0]) if stripped else 0)

    def _is_inline(self, stripped: str) -> bool:
        return len(stripped) <= self._inline_bytes

    def _plan_here(self, text: str, offset: int, optimize: bool, durations_ms: Durations) -> Planned:
        outcome = _plan(text, offset, optimize, durations_ms, self._limits)
        if isinstance(outcome, _Refusal):
            raise outcome.problem()
        plan = outcome[1]
        return _planned(plan, plan.encode(), optimize, durations_ms)

    async def _away(self, function: Any, *arguments: Any) -> Any:
        try:
            outcome = await self.offload.run(function, *arguments)
        except OffloadError as error:
            raise unavailable(f"The expression cannot be planned at the moment: {error}.", 2) from None
        if isinstance(outcome, _Refusal):
            raise outcome.problem()
        return outcome


def _planned(plan: Plan, encoded: bytes, optimize: bool, durations_ms: Durations) -> Planned:
    if len(plan):
        return Planned(plan.text, optimize, durations_ms, plan, encoded)
    value = numbers.from_literal(plan.literal(plan.root))
    if ~plan.root & 1:
        value = numbers.negate(value)
    return Planned(plan.text, optimize, durations_ms, plan, encoded, value, *numbers.decimal(value))


# --- what runs here or in a child process -----------------------------------------------------------------


def _plan(
    text: str, offset: int, optimize: bool, durations_ms: Durations, limits: _Limits
) -> tuple[Tree, Plan] | _Refusal:
    try:
        tree = parse(text, literal_digits_max=limits.literal_digits)
        return tree, build(tree, durations_ms, optimize=optimize, tasks_max=limits.tasks)
    except ExpressionError as error:
        members: dict[str, Any] = {"position": error.position + offset, "expected": list(error.expected)}
        return _Refusal(error.code, error.message, members)
    except TooManyTasks as error:
        detail = f"The expression has {error.count:,} operations; at most {error.limit:,} tasks are allowed."
        return _Refusal("too_many_tasks", detail, {})


def _encoded(
    text: str, offset: int, optimize: bool, durations_ms: Durations, limits: _Limits
) -> bytes | _Refusal:
    outcome = _plan(text, offset, optimize, durations_ms, limits)
    return outcome if isinstance(outcome, _Refusal) else outcome[1].encode()


def _summary(
    text: str, offset: int, optimize: bool, durations_ms: Durations, limits: _Limits
) -> Summary | _Refusal:
    outcome = _plan(text, offset, optimize, durations_ms, limits)
    return outcome if isinstance(outcome, _Refusal) else summarize(*outcome, durations_ms)
