"""Text for people: columns, lengths of time, nothing that moves a cursor."""

import pytest

from curta_cli.text import clean, columns, length, moment, shorten


def test_columns_are_aligned() -> None:
    assert columns(("A", "BBB"), [("xx", 1), ("y", None)]) == "A   BBB\nxx  1\ny"


def test_control_characters_become_visible() -> None:
    assert clean("a\x1b[2J\nb") == "a\ufffd[2J b"
    assert clean(None) == ""
    assert clean("naïve ÷ 2") == "naïve ÷ 2"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (12.5, "12.5 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_a_length_of_time_is_told_in_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert length(seconds) == text


def test_a_time_is_told_to_the_second() -> None:
    assert moment("2026-01-02T03:04:05.678901Z").startswith("202")
    assert "." not in moment("2026-01-02T03:04:05.678901Z")
    assert moment(None) == ""


def test_long_texts_are_cut() -> None:
    assert shorten("1+1", 3) == "1+1"
    assert shorten("1+12", 3) == "1+…"
