"""Families of texts that were written to hurt: each grows in one direction, as far as anybody asks.

Each function gives a text of about `n` characters or operands; not all are expressions.
"""

from collections.abc import Callable

Family = Callable[[int], str]


def _run(operators: str) -> Family:
    """Distinct operands between the operators in turn."""

    def text(n: int) -> str:
        return "1" + "".join(f"{operators[i % len(operators)]}{i + 2}" for i in range(n))

    return text


def _left(operators: str) -> Family:
    """`(((1+2)-3)+4)`: as deep to the left as it is long."""

    def text(n: int) -> str:
        return "(" * n + "1" + "".join(f"{operators[i % len(operators)]}{i + 2})" for i in range(n))

    return text


def _right(operators: str) -> Family:
    """`(1-(2/(3-4)))`: as deep to the right as it is long."""

    def text(n: int) -> str:
        return "".join(f"({i + 1}{operators[i % len(operators)]}" for i in range(n)) + "1" + ")" * n

    return text


def _doubled(operator: str) -> Family:
    """`X*X` with X of the same kind: everything in it is shared."""

    def text(n: int) -> str:
        found, size = "(1+2)", 2
        while size < n:
            found, size = f"({found}{operator}{found})", 2 * size
        return found

    return text


EXPRESSIONS: dict[str, Family] = {
    "nested parentheses": lambda n: "(" * n + "1" + ")" * n,
    "signs": lambda n: "-" * n + "1",
    "signs and parentheses": lambda n: "-(" * n + "1" + ")" * n,
    "signs before each": lambda n: "+".join(f"{'-' * 5}{i}" for i in range(n)),
    "a sum": _run("+"),
    "a difference": _run("-"),
    "sums and differences": _run("+-"),
    "a product": _run("*"),
    "a quotient": _run("/"),
    "products and quotients": _run("*/"),
    "all in turn": _run("+*-/"),
    "equal terms": lambda n: "2" + "+2" * n,
    "equal divisors": lambda n: "2" + "/2" * n,
    "left, sums": _left("+"),
    "left, quotients": _left("/"),
    "left, mixed": _left("*+/-"),
    "right, differences": _right("-"),
    "right, quotients": _right("/"),
    "right, mixed": _right("-/+*"),
    "doubled": _doubled("*"),
    "doubled quotients": _doubled("/"),
    "a star": lambda n: "+".join(f"(1+2)*{i}" for i in range(n)),
    "a star of signs": lambda n: "+".join(f"{i}*-(1-2)" for i in range(n)),
    "pairs of chains": lambda n: "*".join(f"({i}-{i + 1}-{i + 2})" for i in range(n // 3)),
    "powers of ten": lambda n: "+".join(["1e1000"] * n),
    "small powers of ten": lambda n: "*".join(f"{i}e-1000" for i in range(n)),
    "long literals": lambda n: "+".join("9" * 1000 for _ in range(max(1, n // 50))),
    "white space": lambda n: "\u2003" * n + "1" + "\n" * n + "+" + "\u00a0" * n + "2" + "\t" * n,
    "other signs": lambda n: "1" + "×2÷3·4−5" * (n // 4),
}

REFUSED: dict[str, Family] = {
    "only opened": lambda n: "(" * n,
    "only closed": lambda n: ")" * n,
    "closed too often": lambda n: "(" * n + "1" + ")" * (n + 1),
    "closed too often, far apart": lambda n: "(" * n + "1" + (" )" * (n + 1)),
    "only signs": lambda n: "-" * n,
    "ends with an operator": lambda n: _run("+")(n) + "+",
    "ends with a name": lambda n: _run("*-")(n) + " x",
    "ends open": lambda n: _run("/")(n) + "*(",
    "points": lambda n: "." * n,
    "points between": lambda n: "1." * n,
    "an exponent without end": lambda n: "1e" + "9" * n,
    "zeros in an exponent": lambda n: "1e" + "0" * n + "x",
    "a literal without end": lambda n: "9" * (n + 20_000),
    "white space and no more": lambda n: "\u2003" * n,
    "two numbers, far apart": lambda n: "1" + " " * n + "2",
    "signs and spaces": lambda n: "- " * n,
    "operators": lambda n: "*" * n,
}
