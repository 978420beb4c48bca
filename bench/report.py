"""What was measured, as rows of a table and as JSON with every single value."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass
class Row:
    """One figure. `values` are ours, `ceiling` the yardstick's, pair by pair; `wanted` says what is to be
    reached: of `ours`, or, where there is a yardstick, of the ratio."""

    name: str
    unit: str
    values: Sequence[float]
    wanted: str
    ceiling: Sequence[float] = ()
    more: dict[str, Any] = field(default_factory=dict)
    """Whatever else was seen; goes into the JSON only."""

    @property
    def ours(self) -> float:
        return statistics.median(self.values)

    @property
    def ratio(self) -> float | None:
        """The median of the pairs' ratios."""
        if not self.ceiling:
            return None
        return statistics.median(ours / bare for ours, bare in zip(self.values, self.ceiling, strict=True))


def table(rows: Sequence[Row]) -> Table:
    """All figures: medians."""
    made = Table()
    for heading in ("figure", "ours", "ceiling", "ratio", "wanted"):
        made.add_column(heading, justify="left" if heading in ("figure", "wanted") else "right")
    for row in rows:
        bare = _short(statistics.median(row.ceiling)) if row.ceiling else ""
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        made.add_row(row.name, f"{_short(row.ours)} {row.unit}", bare, ratio, row.wanted)
    return made


def save(rows: Sequence[Row], *, quick: bool) -> Path:
    """Write every value into bench/results; gives the file."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    load = os.getloadavg()
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load_1_min": load[0]}
    data = {
        "at": now.isoformat(timespec="seconds"),
        "quick": quick,
        "machine": machine,
        "figures": [asdict(row) | {"median": row.ours, "ratio": row.ratio} for row in rows],
    }
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(data, indent=1) + "\n")
    return path


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
