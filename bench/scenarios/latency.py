"""From before the submission of 2+2*2 until its result is known, on a system that does nothing else."""

import time

from bench.client import Line
from bench.report import Row
from bench.rig import Rig
from bench.sizes import Sizes
from bench.spread import percentile, quantiles

TEXT, VALUE = "2+2*2", "6"


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """Percentiles of each run; the distribution of all."""
    async with (
        rig.curta() as curta,
        rig.crowd(2, 2),
        Line(rig.url, rig.admin_token) as line,
    ):
        await curta.no_durations()
        await curta.compute(TEXT, expected=int(VALUE))
        took_ms = [[await _once(line) for _ in range(sizes.latencies)] for _ in range(sizes.runs)]
    p50, p99 = ([percentile(run, percent) for run in took_ms] for percent in (50, 99))
    shape = {"quantiles_ms": quantiles([one for run in took_ms for one in run])}
    return [
        Row(f"{TEXT}, submit to result, p50", "ms", p50, "≤ 10 ms", more=shape),
        Row(f"{TEXT}, submit to result, p99", "ms", p99, "≤ 30 ms"),
    ]


async def _once(line: Line) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    final = await line.compute(TEXT)
    took_ms = (time.perf_counter() - began) * 1000
    assert final["result"] == VALUE, final
    return took_ms
