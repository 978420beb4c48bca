"""From before the submission of 2+2*2 until its result is known, on a system that does nothing else."""

from bench.report import Row
from bench.rig import Rig
from bench.sizes import Sizes
from bench.spread import percentile, quantiles

TEXT, VALUE = "2+2*2", 6


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """Percentiles of each run; the distribution of all."""
    async with rig.curta() as curta, rig.crowd(2, 2):
        await curta.no_durations()
        await curta.compute(TEXT, expected=VALUE)
        took_ms = [
            [(await curta.compute(TEXT, expected=VALUE)).total_s * 1000 for _ in range(sizes.latencies)]
            for _ in range(sizes.runs)
        ]
    p50, p99 = ([percentile(run, percent) for run in took_ms] for percent in (50, 99))
    shape = {"quantiles_ms": quantiles([one for run in took_ms for one in run])}
    return [
        Row(f"{TEXT}, submit to result, p50", "ms", p50, "≤ 10 ms", more=shape),
        Row(f"{TEXT}, submit to result, p99", "ms", p99, "≤ 30 ms"),
    ]
