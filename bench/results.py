"""Runs as files: every single value, on which machine, of which commit."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import ROOT
from bench.report import Row

FOLDER = ROOT / "bench" / "results"


@dataclass(frozen=True)
class Results:
    """One run."""

    at: str
    is_quick: bool
    machine: dict[str, Any]
    rows: Sequence[Row]


def save(results: Results) -> Path:
    """Write the run into bench/results; gives the file."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{datetime.fromisoformat(results.at):%Y%m%dT%H%M%SZ}.json"
    path.write_text(encode(results))
    return path


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def encode(results: Results) -> str:
    """JSON. Medians, ratios and what was left out stand there for whoever reads it without us; `decode` makes
    them anew."""
    figures = [asdict(row) | {"median": row.ours, "ratio": row.ratio} for row in results.rows]
    data = {
        "at": results.at,
        "quick": results.is_quick,
        "machine": results.machine,
        "left_out": [f"{row.name}: {row.note}" for row in results.rows if row.is_left_out],
        "figures": figures,
    }
    return json.dumps(data, indent=1) + "\n"


def decode(text: str) -> Results:
    """A run as it was saved. Raises: ValueError, KeyError or TypeError where it is none."""
    data = json.loads(text)
    known = {one.name for one in fields(Row)}
    rows = [Row(**{name: figure[name] for name in figure.keys() & known}) for figure in data["figures"]]
    return Results(data["at"], data["quick"], data["machine"], rows)
