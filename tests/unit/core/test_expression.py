"""The grammar by example: what is read how, what is refused where, and what the reader is told."""

import pytest
from tests.support import plans, reference

from curta_server.core.expression import ExpressionError, parse
from curta_server.core.plan import build


def tree_of(text: str) -> reference.Expression:
    return plans.tree_of(build(parse(text), (0, 0, 0, 0), optimize=False))


def refusal(text: str, **limits: int) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(text, **limits)
    return caught.value


@pytest.mark.parametrize(
    "literal", ["3", "3.14", ".5", "5.", "1e-3", "2.5E+6", "007", "0", "1e1000", "1e-01000"]
)
def test_a_bare_number_is_a_whole_expression_without_tasks(literal: str) -> None:
    tree = parse(f" {literal}\n")
    assert len(tree) == 0
    assert tree_of(literal) == reference.Literal(False, literal)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2+2*2", "2+(2*2)"),
        ("8-4-2", "(8-4)-2"),
        ("8/4/2", "(8/4)/2"),
        ("8/4*2", "(8/4)*2"),
        ("1-2+3", "(1-2)+3"),
        ("1+2*3-4/5", "(1+(2*3))-(4/5)"),
        ("((((1))))+2", "1+2"),
    ],
)
def test_operators_bind_from_left_to_right_and_products_before_sums(text: str, same: str) -> None:
    assert tree_of(text) == tree_of(same)


@pytest.mark.parametrize(
    ("text", "tasks"),
    [("-2+3", 1), ("2*-3", 1), ("1 - -1", 1), ("--5", 0), ("-(1+2)", 1), ("-(-(-5))", 0), ("−2 × −3", 1)],
)
def test_a_unary_minus_never_costs_a_task(text: str, tasks: int) -> None:
    assert len(parse(text)) == tasks
    assert reference.parse(text) == tree_of(text)


@pytest.mark.parametrize(
    ("text", "same"), [("6 × 7", "6*7"), ("6 · 7", "6*7"), ("6 ÷ 7", "6/7"), ("6 − 7", "6-7"), ("−6", "-6")]
)
def test_typographic_operators_are_accepted(text: str, same: str) -> None:
    assert tree_of(text) == tree_of(same)


def test_any_unicode_white_space_may_stand_between_and_around_tokens() -> None:
    spaces = "".join(chr(code) for code in range(0x10000) if chr(code).isspace())
    assert len(spaces) > 20
    assert tree_of(f"{spaces}({spaces}-{spaces}1{spaces}){spaces}*{spaces}2{spaces}") == tree_of("(-1)*2")


OPERAND = ("number", "(", "-")


@pytest.mark.parametrize(
    ("text", "position", "expected", "hint"),
    [
        ("", 0, OPERAND, "empty"),
        ("  \n", 3, OPERAND, "empty"),
        ("2 2 + 3", 2, ("operator", "end"), "two numbers"),
        ("2(3)", 1, ("operator", "end"), "`*`"),
        ("(2)(3)", 3, ("operator", "end"), "`*`"),
        ("(2)3", 3, ("operator", "end"), "two numbers"),
        ("2**3", 2, OPERAND, "power"),
        ("2^3", 1, ("operator", "end"), "power"),
        ("2%3", 1, ("operator", "end"), "/100"),
        ("x+1", 0, OPERAND, "names"),
        ("1+x", 2, OPERAND, "names"),
        ("1e", 1, ("operator", "end"), "names"),
        ("0x10", 1, ("operator", "end"), "names"),
        ("1_000", 1, ("operator", "end"), "names"),
        ("()", 1, OPERAND, "empty"),
        ("1+( )", 4, OPERAND, "empty"),
        ("(1+2", 4, ("operator", ")"), "closing parenthesis is missing"),
        ("((1)", 4, ("operator", ")"), "closing parenthesis is missing"),
        ("(1 2)", 3, ("operator", ")"), "two numbers"),
        ("1+2)", 3, ("operator", "end"), "no opening"),
        ("(1))) + 2", 3, ("operator", "end"), "no opening"),
        (")", 0, OPERAND, "number is missing"),
        ("(1+)", 3, OPERAND, "number is missing"),
        ("1+", 2, OPERAND, "ends too early"),
        ("1 - ", 4, OPERAND, "ends too early"),
        ("-", 1, OPERAND, "ends too early"),
        ("(", 1, OPERAND, "ends too early"),
        ("*2", 0, OPERAND, "number is missing"),
        ("2*/3", 2, OPERAND, "two operators"),
        ("2++3", 2, OPERAND, "unary plus"),
        ("+2", 0, OPERAND, "unary plus"),
        ("-+2", 1, OPERAND, "unary plus"),
        ("3,14", 1, ("operator", "end"), "point"),
        ("1–2", 1, ("operator", "end"), "U+2013"),
        ("1 — 2", 2, ("operator", "end"), "U+2014"),
        ("–2", 0, OPERAND, "U+2013"),
        ("6:3", 1, ("operator", "end"), "`/`"),
        ("1.2.3", 3, ("operator", "end"), "two numbers"),
        (".", 0, OPERAND, "point"),
        ("1 + 😀", 4, OPERAND, "😀"),
        ("😀", 0, OPERAND, "😀"),
        ("1\x002", 1, ("operator", "end"), "U+0000"),
        ("1\ud800", 1, ("operator", "end"), "U+D800"),
        ("٣", 0, OPERAND, "0 to 9"),
        ("1\u200b+2", 1, ("operator", "end"), "U+200B"),
        ("1e1001", 2, (), "1000"),
        ("2 * 1E-99999", 6, (), "1000"),
    ],
)
def test_a_slip_is_refused_where_it_is_with_what_was_expected(
    text: str, position: int, expected: tuple[str, ...], hint: str
) -> None:
    error = refusal(text)
    assert (error.code, error.position, error.expected) == ("invalid_expression", position, expected)
    assert hint in error.message


def test_a_literal_with_too_many_digits_is_refused_at_its_begin() -> None:
    assert len(parse("1+" + "9" * 10_000)) == 1
    error = refusal("1+" + "9" * 10_001)
    assert (error.code, error.position) == ("literal_too_long", 2)
    assert "10,000" in error.message


def test_only_digits_count_against_the_limit_of_a_literal() -> None:
    assert len(parse("1+12.3e-4", literal_digits_max=4)) == 1
    assert refusal("1+12.34e-4", literal_digits_max=4).code == "literal_too_long"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 200_000 + "1" + ")" * 200_000,
        "-" * 200_000 + "1",
        "-(" * 100_000 + "1" + ")" * 100_000,
        "1" + "-(2" * 100_000 + ")" * 100_000,
        "(" * 100_000 + "1" + "/2)" * 100_000,
    ],
)
def test_nesting_is_limited_by_nothing_but_the_length_of_the_text(text: str) -> None:
    assert len(parse(text)) == text.count("2")


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("(" * 300_000, 300_000),
        ("-(" * 200_000 + ")", 400_000),
        (" " * 300_000 + "x", 300_000),
        ("1" + ")" * 300_000, 1),
        ("(" * 100_000 + "1" + ")" * 300_000, 200_001),
        ("1 " * 200_000, 2),
        ("1+" * 200_000, 400_000),
        ("1e" * 200_000, 3),
        ("." * 300_000, 0),
        ("- " * 200_000 + "+", 400_000),
    ],
)
@pytest.mark.timeout(20)
def test_long_broken_texts_are_refused_in_linear_time(text: str, position: int) -> None:
    assert refusal(text).position == position
