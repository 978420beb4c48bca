"""Durable tasks a second where each needs the one before: a sum as written, and Horner's scheme."""

import httpx

from bench import pairs, texts
from bench.report import Row
from bench.rig import Rig
from bench.sizes import Sizes


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """A row for each, beside the ceiling's chain."""
    rows: list[Row] = []
    tasks = sizes.chain_tasks
    horner, horner_value = texts.horner(tasks)
    sequence, sum_value = texts.tree(tasks), texts.tree_value(tasks)
    async with rig.curta() as curta, rig.ceiling() as ceiling, httpx.AsyncClient(timeout=120.0) as http:
        await curta.no_durations()

        async def sums() -> float:
            return (await curta.compute(sequence, optimize=False, expected=sum_value)).running_s

        async def scheme() -> float:
            return (await curta.compute(horner, expected=horner_value)).running_s

        async def theirs() -> float:
            return await pairs.bare(http, rig, "chain", tasks)

        async with rig.crowd(10, 200) as crowd, rig.ceiling_crowd(10, 200) as ceiling_crowd:
            for name, ours in (("chain, a sum as written", sums), ("chain, Horner's scheme", scheme)):
                found = await pairs.turns(
                    rig,
                    tasks,
                    sizes.runs,
                    pairs.System(ours, rig.orchestrator, crowd),
                    pairs.System(theirs, ceiling, ceiling_crowd),
                )
                rows.append(pairs.row(name, "ratio ≥ 0.6", found))
    return rows
