"""The parser is held against the reference on random texts."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support import plans, reference, texts

from curta_server.core.expression import ExpressionError, parse
from curta_server.core.plan import build


def check(text: str, digits_max: int = 10_000) -> None:
    """Parser and reference give the same tree, or refuse for the same reason at the same place."""
    try:
        expected = reference.parse(text, digits_max)
    except reference.Refused as refused:
        try:
            parse(text, literal_digits_max=digits_max)
        except ExpressionError as error:
            seen = (error.position, error.expected, error.code)
            assert seen == (refused.position, refused.expected, refused.code), text
            assert error.message.encode()
        else:
            raise AssertionError(f"accepted {text!r}") from refused
    else:
        plan = build(parse(text, literal_digits_max=digits_max), (0, 0, 0, 0), optimize=False)
        assert plans.tree_of(plan) == expected


@settings(max_examples=1500, deadline=None)
@given(texts.valid_texts())
def test_every_expression_is_read_as_the_reference_reads_it(text: str) -> None:
    check(text)


@settings(max_examples=1000, deadline=None)
@given(texts.broken_texts())
@example("")
@example(" \n ")
@example("1e")
@example("1e+")
@example("1e1001")
@example("1e-0001000")
@example("1e" + "9" * 4000)
@example(".")
@example("1.2.3")
@example(".e5")
@example("--(")
@example("1)")
@example("((1)))")
@example("\ud800")
def test_a_broken_text_is_refused_where_the_reference_refuses_it(text: str) -> None:
    check(text)


@settings(max_examples=1500, deadline=None)
@given(st.text(texts.ALPHABET, max_size=20))
def test_any_characters_are_an_expression_or_a_documented_error(text: str) -> None:
    check(text)


@settings(max_examples=300, deadline=None)
@given(texts.broken_texts(), st.integers(0, 4))
def test_the_limit_on_digits_counts_as_the_reference_counts(text: str, digits_max: int) -> None:
    check(text, digits_max)
