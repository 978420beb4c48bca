"""Text to syntax tree, or an error with a position: the grammar of docs/language.md.

One pass from left to right, one regular expression match for each operand, no recursion: nesting costs nine
bytes a level. Called by whoever plans; knows no durations and no arithmetic (a literal stays a slice of the
text).
"""

import re
from array import array
from dataclasses import dataclass
from typing import Final, NoReturn

from curta_server.core.graph import Graph

EXPONENT_MAX: Final = 1000
"""The largest exponent of ten a literal may have, either sign."""

_OPERAND_EXPECTED: Final = ("number", "(", "-")
_MINUSES: Final = "-−"
_NONE: Final = 4
"""Stands where an operation could wait for its right operand, but none does."""
_CODES: Final = {"": _NONE, "+": 0, "-": 1, "−": 1, "*": 2, "×": 2, "·": 2, "/": 3, "÷": 3}

_BEFORE = re.compile(r"[-−(\s]*+")
_NUMBER = re.compile(r"[0-9]|\.[0-9]")
_OPERAND = re.compile(
    r"([-−(\s]*+)"  # 1: signs and opening parentheses
    r"((?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE]([-+]?[0-9]++))?)"  # 2: the literal, 3: its exponent
    r"([)\s]*+)"  # 4: closing parentheses
    r"([-+*/×·÷−]?)"  # 5: what comes next, "" at the end or where something else stands
)
"""One operand with all that stands around it. Possessive, so that no text makes it go back."""


class ExpressionError(Exception):
    """The text is not an expression.

    `code` is "invalid_expression" or "literal_too_long"; `message` a sentence, with a hint where one is
    known; `position` counts code points from 0 and is the text's length where the text ends too early;
    `expected` lists what could have stood there: "number" "(" ")" "-" "operator" "end" (empty where a literal
    is out of range).
    """

    def __init__(self, message: str, position: int, expected: tuple[str, ...], code: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.position = position
        self.expected = expected


@dataclass(slots=True)
class Tree:
    """A parsed text: its operations exactly as written; literal i is `text[starts[i]:ends[i]]`."""

    text: str
    starts: "array[int]"
    ends: "array[int]"
    graph: Graph

    def __len__(self) -> int:
        """The number of operations as written."""
        return len(self.graph.operations)


def parse(text: str, *, literal_digits_max: int = 10_000) -> Tree:
    """The tree of a text: left-associative, `* /` before `+ -`, unary minus folded into the references.

    Linear in the text's length, whatever it holds. Raises: ExpressionError at the first character that cannot
    go on.
    """
    operations = bytearray()
    left, right = array("i"), array("i")
    starts, ends = array("i"), array("i")
    # What waits at this level of parentheses: `sum_left sum_operation product_left product_operation _`.
    sum_left = product_left = 0
    sum_operation = product_operation = _NONE
    # The same of the levels around it, and the sign before the parenthesis.
    outer_sums, outer_products, outer = array("i"), array("i"), bytearray()
    match, codes = _OPERAND.match, _CODES
    position = literals = tasks = 0
    while True:
        found = match(text, position)
        if found is None:
            _refuse_operand(text, position)
        before, exponent, after, symbol = found.group(1, 3, 4, 5)
        sign = 0
        if before:
            for character in before:
                if character == "(":
                    outer_sums.append(sum_left)
                    outer_products.append(product_left)
                    outer.append(sum_operation << 4 | product_operation << 1 | sign)
                    sum_operation = product_operation = _NONE
                    sign = 0
                elif character in _MINUSES:
                    sign ^= 1
        start, end = found.span(2)
        if exponent is not None or end - start > literal_digits_max:
            _check_literal(text, start, end, exponent, literal_digits_max)
        starts.append(start)
        ends.append(end)
        reference = ~(literals << 1 | sign)
        literals += 1
        if product_operation != _NONE:
            operations.append(product_operation)
            left.append(product_left)
            right.append(reference)
            reference = tasks << 1
            tasks += 1
        if after:
            closing = after.count(")")
            if closing > len(outer):
                _refuse_closing(text, found.start(4), len(outer))
            for _ in range(closing):
                if sum_operation != _NONE:
                    operations.append(sum_operation)
                    left.append(sum_left)
                    right.append(reference)
                    reference = tasks << 1
                    tasks += 1
                state = outer.pop()
                sum_left, product_left = outer_sums.pop(), outer_products.pop()
                sum_operation, product_operation = state >> 4, state >> 1 & 7
                reference ^= state & 1
                if product_operation != _NONE:
                    operations.append(product_operation)
                    left.append(product_left)
                    right.append(reference)
                    reference = tasks << 1
                    tasks += 1
        operation = codes[symbol]
        if operation > 1 and symbol:
            product_left, product_operation = reference, operation
            position = found.end()
            continue
        if sum_operation != _NONE:
            operations.append(sum_operation)
            left.append(sum_left)
            right.append(reference)
            reference = tasks << 1
            tasks += 1
        position = found.end()
        if not symbol:
            break
        sum_left, sum_operation, product_operation = reference, operation, _NONE
    if position < len(text) or outer:
        _refuse_operator(text, position, bool(outer))
    return Tree(text, starts, ends, Graph(operations, left, right, reference))


def _check_literal(text: str, start: int, end: int, exponent: str | None, digits_max: int) -> None:
    """Raises: ExpressionError where the literal has too many digits or too large an exponent."""
    if end - start > digits_max:
        literal = text[start:end]
        digits = end - start - sum(map(literal.count, ".eE+-"))
        if digits > digits_max:
            message = f"This number has {digits:,} digits; at most {digits_max:,} are allowed."
            raise ExpressionError(message, start, (), "literal_too_long")
    if exponent is not None:
        magnitude = exponent.lstrip("+-").lstrip("0")
        if len(magnitude) > 4 or int(magnitude or "0") > EXPONENT_MAX:
            message = f"This exponent is out of range: at least -{EXPONENT_MAX}, at most {EXPONENT_MAX}."
            raise ExpressionError(message, end - len(exponent), (), "invalid_expression")


def _refuse_operand(text: str, position: int) -> NoReturn:
    """Where an operand should begin, something else stands."""
    around = _BEFORE.match(text, position)
    assert around is not None
    position = around.end()
    before = text[:position].rstrip()
    if position == len(text):
        message = (
            "Here a number is missing: the text ends too early." if before else "The expression is empty."
        )
    elif (character := text[position]) == ")":
        message = "These parentheses are empty." if before[-1:] == "(" else "Here a number is missing."
    elif character == "+":
        message = "There is no unary plus: leave the sign out, or write the number that is missing."
    elif character == "*" and before[-1:] == "*":
        message = "There is no power: write a product instead."
    elif character in _CODES:
        message = "Here a number is missing: two operators stand in a row."
    else:
        message = "Here a number is expected" + _about(text, position)
    raise ExpressionError(message, position, _OPERAND_EXPECTED, "invalid_expression")


def _refuse_closing(text: str, position: int, depth: int) -> NoReturn:
    """More closing parentheses than are open: the first one too many is where the error is."""
    for _ in range(depth + 1):
        position = text.index(")", position) + 1
    message = "This closing parenthesis has no opening one."
    raise ExpressionError(message, position - 1, ("operator", "end"), "invalid_expression")


def _refuse_operator(text: str, position: int, nested: bool) -> NoReturn:
    """After an operand neither an operator follows nor, with no parenthesis open, the end."""
    if position == len(text):
        message = "A closing parenthesis is missing."
    elif text[position] == "(":
        message = "Here an operator is expected: multiplication is written with `*`."
    elif _NUMBER.match(text, position):
        message = "Here an operator is expected: two numbers stand in a row."
    else:
        message = "Here an operator is expected" + _about(text, position)
    expected = ("operator", ")" if nested else "end")
    raise ExpressionError(message, position, expected, "invalid_expression")


_HINTS: Final = {
    ",": ": decimals are written with a point, as in `0.5`.",
    "–": ", not a dash (U+2013): minus is written `-`.",
    "—": ", not a dash (U+2014): minus is written `-`.",
    ":": ": division is written `/`.",
    "^": ": there is no power, write a product instead.",
    "%": ": there is no remainder and no per cent, write `/100`.",
    ".": ": a point needs a digit before or after it.",
}


def _about(text: str, position: int) -> str:
    """The end of a sentence on the character that cannot stand there, with a hint where one is known."""
    character = text[position]
    if character in _HINTS:
        return _HINTS[character]
    if character.isalpha() or character == "_":
        return ": names are not part of the language."
    if character.isdigit():
        return ": digits are 0 to 9 only."
    shown = f"`{character}`" if character.isprintable() else f"U+{ord(character):04X}"
    return f", not {shown}."
