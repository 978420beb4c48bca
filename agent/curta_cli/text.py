"""Answers as text for people: columns, times, lengths of time.

Used by the commands that print. Everything that came over the wire passes through `clean`: an agent's name is
free text and must not move a terminal's cursor.
"""

import shutil
import sys
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any


def clean(value: Any) -> str:
    """A value as one printable line; None is empty, control characters become visible."""
    text = "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char in "\t\r\n":
        return " "
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char)[0] == "C" else char


def columns(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table with its columns aligned; on a terminal each line is cut to its width."""
    lines = [list(head), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    width_max = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()[:width_max]
        for line in lines
    )


def shorten(text: Any, length: int) -> str:
    """One line of at most `length` characters, cut with an ellipsis."""
    line = clean(text)
    return line if len(line) <= length else line[: length - 1] + "…"


def moment(text: str | None) -> str:
    """An RFC 3339 time in the reader's own zone, to the second; empty when there is none."""
    if not text:
        return ""
    return datetime.fromisoformat(text).astimezone().isoformat(sep=" ", timespec="seconds")


def length(seconds: float | None) -> str:
    """A length of time in its two largest units: 950 ms, 12.5 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for size, large, part, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    raise AssertionError("a minute or more has one of the units above")
