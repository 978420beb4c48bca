"""The figures as drawings for docs/performance: SVG, small, and the same bytes for the same figures.

Needs matplotlib (`make bench` installs it), which nothing else imports.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.report import Row, loud
from bench.spread import Spread

OURS, BESIDE = "#2563eb", "#9ca3af"
PARTS = {
    "server": ("orchestrator", "#2563eb"),
    "agents": ("agents", "#d97706"),
    "database": ("PostgreSQL", "#059669"),
}


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write what the rows have figures for; gives the files."""
    try:
        import matplotlib
    except ImportError:
        loud("no plots: matplotlib is not installed (make bench installs it)")
        return []
    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            # Letters as text, and ids that depend on nothing but the drawing: small files that do not change.
            "svg.fonttype": "none",
            "svg.hashsalt": "curta",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e5e7eb",
            "axes.axisbelow": True,
            "font.size": 9,
        }
    )
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, plot in PLOTS.items():
        figure = plot(pyplot, rows)
        if figure is not None:
            figure.tight_layout()
            path = folder / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None, "Creator": None})
            pyplot.close(figure)
            # matplotlib leaves spaces at the ends of lines.
            path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))
            written.append(path)
    return written


def trees(pyplot: Any, rows: Sequence[Row]) -> Any:
    """Ours and the ceiling, shape by shape and for chains, with how far the runs lie apart."""
    shown = [row for row in rows if row.scenario in ("trees", "chains") and row.beside]
    if not shown:
        return None
    groups = [list(group) for _, group in groupby(shown, lambda row: row.scenario)]
    figure, axes = pyplot.subplots(
        1, len(groups), figsize=(9, 3.4), width_ratios=[len(group) for group in groups], squeeze=False
    )
    for axis, group in zip(axes[0], groups, strict=True):
        for offset, values, colour, label in (
            (-0.2, [row.values for row in group], OURS, "Curta"),
            (0.2, [row.beside for row in group], BESIDE, "ceiling"),
        ):
            spreads = [Spread.of(one) for one in values]
            axis.bar(
                [number + offset for number in range(len(group))],
                [spread.median for spread in spreads],
                0.4,
                color=colour,
                label=label,
                yerr=[
                    [spread.median - spread.low for spread in spreads],
                    [spread.high - spread.median for spread in spreads],
                ],
                capsize=3,
            )
        axis.set_xticks(range(len(group)), [_short(row.name) for row in group])
        axis.set_title(group[0].scenario)
        axis.set_ylabel("durable tasks a second")
        axis.legend(frameon=False)
    return figure


def latency(pyplot: Any, rows: Sequence[Row]) -> Any:
    """Which share of the answers had come after so many milliseconds."""
    shown = [row for row in rows if "quantiles_ms" in row.more]
    if not shown:
        return None
    figure, axis = pyplot.subplots(figsize=(9, 3.4))
    for row in shown:
        values = row.more["quantiles_ms"]
        shares = [100 * place / (len(values) - 1) for place in range(len(values))]
        axis.plot(values, shares, label=row.name.removesuffix(", p50"))
    axis.set_xscale("log")
    axis.set_xlabel("milliseconds")
    axis.set_ylabel("% had come")
    axis.legend(frameon=False, loc="lower right")
    return figure


def growth(pyplot: Any, rows: Sequence[Row]) -> Any:
    """Throughput, CPU a task and memory, as tasks and as agents grow."""
    shown = [row for row in rows if "growing" in row.more]
    if not shown:
        return None
    words = sorted({row.more["growing"] for row in shown}, reverse=True)
    figure, axes = pyplot.subplots(3, len(words), figsize=(9, 8), sharex="col", squeeze=False)
    for column, word in enumerate(words):
        group = [row for row in shown if row.more["growing"] == word]
        numbers = [row.more[word] for row in group]
        throughput, cpu, memory = (axes[line][column] for line in range(3))
        spreads = [row.spread for row in group]
        throughput.fill_between(
            numbers, [one.low for one in spreads], [one.high for one in spreads], color=OURS, alpha=0.2
        )
        throughput.plot(numbers, [one.median for one in spreads], color=OURS, marker="o")
        throughput.set_ylabel("tasks a second")
        for part, (label, colour) in PARTS.items():
            used = [row.more["cpu_us_per_task"][part] for row in group]
            cpu.plot(numbers, used, color=colour, label=label, marker="o")
        cpu.set_ylabel("µs of CPU a task")
        cpu.legend(frameon=False)
        key = "work_bytes" if word == "tasks" else "crowd_bytes"
        memory.plot(numbers, [row.more[key] / 1e6 for row in group], color=OURS, marker="o")
        memory.set_ylabel("MB of the orchestrator")
        memory.set_xlabel(word)
        memory.set_xscale("log")
        for axis in (throughput, cpu, memory):
            axis.set_ylim(bottom=0)
    return figure


def _short(name: str) -> str:
    """`tree, 10 agents × 200 slots` below a bar."""
    words = name.partition(", ")[2].replace(" agents", "").replace(" slots", "")
    return words.replace(" × ", "×").replace(", ", "\n")


PLOTS: dict[str, Callable[[Any, Sequence[Row]], Any]] = {
    "trees": trees,
    "latency": latency,
    "growth": growth,
}
