"""The language once more, as plainly as possible: what the parser and the planner are held against.

Recursive descent, one character at a time, over nested tuples and `fractions.Fraction`; shares no code with
the product. For short texts only: it recurses.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

DIGITS_MAX = 10_000
EXPONENT_MAX = 1000


class Refused(Exception):
    """Not an expression: `position` of the first character that cannot go on, and what could."""

    def __init__(self, position: int, expected: tuple[str, ...], code: str = "invalid_expression") -> None:
        super().__init__(f"refused at {position}: expected {expected}")
        self.position = position
        self.expected = expected
        self.code = code


class Literal(NamedTuple):
    negated: bool
    text: str


class Operation(NamedTuple):
    """`operation` is one of `+ - * /`."""

    negated: bool
    operation: str
    left: Expression
    right: Expression


Expression = Literal | Operation


class _Reader:
    def __init__(self, text: str, digits_max: int) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.digits_max = digits_max

    def peek(self) -> str:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at] if self.at < len(self.text) else ""

    def sum(self) -> Expression:
        left = self.product()
        while (character := self.peek()) and character in "+-\N{MINUS SIGN}":
            self.at += 1
            left = Operation(False, "+" if character == "+" else "-", left, self.product())
        return left

    def product(self) -> Expression:
        left = self.operand()
        while (
            character := self.peek()
        ) and character in "*/\N{MULTIPLICATION SIGN}\N{MIDDLE DOT}\N{DIVISION SIGN}":
            self.at += 1
            left = Operation(False, "/" if character in "/\N{DIVISION SIGN}" else "*", left, self.operand())
        return left

    def operand(self) -> Expression:
        character = self.peek()
        if character in ("-", "\N{MINUS SIGN}"):
            self.at += 1
            operand = self.operand()
            return operand._replace(negated=not operand.negated)
        if character == "(":
            self.at += 1
            self.depth += 1
            inside = self.sum()
            if self.peek() != ")":
                raise Refused(self.at, ("operator", ")"))
            self.at += 1
            self.depth -= 1
            return inside
        return self.literal()

    def digits(self) -> int:
        begin = self.at
        while self.at < len(self.text) and self.text[self.at] in "0123456789":
            self.at += 1
        return self.at - begin

    def literal(self) -> Literal:
        begin = self.at
        digits = self.digits()
        if self.text[self.at : self.at + 1] == ".":
            self.at += 1
            digits += self.digits()
        if not digits:
            raise Refused(begin, ("number", "(", "-"))
        mantissa_end = self.at
        exponent_begin = None
        if self.text[self.at : self.at + 1] in ("e", "E"):
            self.at += 1
            exponent_begin = self.at
            if self.text[self.at : self.at + 1] in ("+", "-"):
                self.at += 1
            exponent_digits = self.digits()
            if exponent_digits:
                digits += exponent_digits
            else:
                self.at, exponent_begin = mantissa_end, None
        if digits > self.digits_max:
            raise Refused(begin, (), "literal_too_long")
        if exponent_begin is not None and abs(int(self.text[exponent_begin : self.at])) > EXPONENT_MAX:
            raise Refused(exponent_begin, ())
        return Literal(False, self.text[begin : self.at])


def parse(text: str, digits_max: int = DIGITS_MAX) -> Expression:
    """The expression exactly as written. Raises: Refused."""
    reader = _Reader(text, digits_max)
    expression = reader.sum()
    if reader.peek():
        raise Refused(reader.at, ("operator", "end"))
    return expression


def literal_value(text: str) -> Fraction:
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, decimals = mantissa.partition(".")
    return Fraction(int(whole + decimals)) * Fraction(10) ** (int(exponent or "0") - len(decimals))


def apply(operation: str, left: Fraction | None, right: Fraction | None) -> Fraction | None:
    """None is the outcome of a division by zero, and of whatever depends on one."""
    if left is None or right is None:
        return None
    match operation:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return left / right if right else None


def evaluate(expression: Expression) -> Fraction | None:
    """The exact value; None where it divides by zero."""
    if isinstance(expression, Literal):
        value: Fraction | None = literal_value(expression.text)
    else:
        value = apply(expression.operation, evaluate(expression.left), evaluate(expression.right))
    return -value if value is not None and expression.negated else value


def operations(expression: Expression) -> list[Operation]:
    """All operations as written, equal ones as often as they stand there, signs taken off."""
    if isinstance(expression, Literal):
        return []
    inside = operations(expression.left) + operations(expression.right)
    return [*inside, expression._replace(negated=False)]


def critical_path(expression: Expression, costs: Sequence[int]) -> int:
    """The longest way from an operand to the value; costs in the order `+ - * /`."""
    if isinstance(expression, Literal):
        return 0
    below = max(critical_path(expression.left, costs), critical_path(expression.right, costs))
    return below + costs["+-*/".index(expression.operation)]


def shared_work(expression: Expression, costs: Sequence[int]) -> int:
    """The cost of all operations, equal ones counted once."""
    return sum(costs["+-*/".index(one.operation)] for one in set(operations(expression)))
