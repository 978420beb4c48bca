"""Hypothesis strategies for texts, valid and broken, and for durations."""

from hypothesis import strategies as st

LITERALS = ("0", "1", "2", "3", "7", "10", "3.14", ".5", "5.", "1e-3", "2.5E+6", "007", "0.0", "00.50", "1e0")
OPERATORS = ("+", "-", "*", "/", "×", "·", "÷", "−")
SPACES = ("", "", "", "", " ", "\t", "\n", " \u00a0", "\u2003", "\u3000", "\u2028", "\x1f")
ALPHABET = "0123456789.eE+-*/()×·÷−–—,:^%_ax \t\n\u00a0\u2003\u200b\ufeff٣²\x00\ud800😀"


_LITERALS = st.sampled_from(LITERALS)


def _joined(left: str, before: str, operator: str, after: str, right: str) -> str:
    return left + before + operator + after + right


def valid_texts(literals: st.SearchStrategy[str] = _LITERALS, leaves: int = 25) -> st.SearchStrategy[str]:
    """Expressions: whatever is joined by an operator, negated or put in parentheses is one again."""
    spaces, operators = st.sampled_from(SPACES), st.sampled_from(OPERATORS)
    return st.recursive(
        literals,
        lambda inner: st.one_of(
            st.builds(_joined, inner, spaces, operators, spaces, inner),
            st.builds(_joined, inner, spaces, operators, spaces, inner),
            st.builds("{}({}{}{})".format, spaces, spaces, inner, spaces),
            st.builds("{}-{}{}".format, spaces, spaces, inner),
            st.builds("-({})".format, inner),
        ),
        max_leaves=leaves,
    )


@st.composite
def broken_texts(draw: st.DrawFn) -> str:
    """An expression with a few characters changed, dropped or put in: now and then still one."""
    text = list(draw(valid_texts(leaves=8)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text)))
        text[place : place + draw(st.integers(0, 2))] = draw(st.text(ALPHABET, max_size=2))
    return "".join(text)


def durations() -> st.SearchStrategy[tuple[int, int, int, int]]:
    """Milliseconds of the four operations: alike, unlike, or very unlike."""
    one = st.one_of(st.integers(0, 4), st.sampled_from((1000, 2000)), st.integers(0, 10**6))
    return st.one_of(st.tuples(one, one, one, one), st.just((0, 0, 0, 0)), st.just((1000, 1000, 2000, 2000)))
