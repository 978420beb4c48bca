"""Durable tasks a second while one large tree is computed, for several shapes of the crowd."""

import httpx

from bench import pairs, texts
from bench.report import Row, left_out
from bench.rig import NotGathered, Rig
from bench.sizes import Sizes

MANY_AGENTS = 1_000
"""From here on frames, not tasks, decide; there the bare shape pays for them, too, and more is wanted."""


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """A row for each shape, beside the ceiling."""
    rows: list[Row] = []
    text, value = texts.tree(sizes.tree_tasks), texts.tree_value(sizes.tree_tasks)
    async with rig.curta() as curta, rig.ceiling() as ceiling, httpx.AsyncClient(timeout=120.0) as http:
        await curta.no_durations()

        async def ours() -> float:
            return (await curta.compute(text, expected=value)).running_s

        async def theirs() -> float:
            return await pairs.bare(http, rig, "tree", sizes.tree_tasks)

        for agents, slots in sizes.shapes:
            name = f"tree, {agents:,} agents × {slots} slots"
            wanted = "ratio ≥ 0.7" if agents >= MANY_AGENTS else "ratio ≥ 0.5"
            try:
                # Both crowds stay connected while the other is measured: idle agents cost little.
                async with rig.crowd(agents, slots) as crowd, rig.ceiling_crowd(agents, slots) as their_crowd:
                    found = await pairs.turns(
                        rig,
                        sizes.tree_tasks,
                        sizes.runs,
                        pairs.System(ours, rig.orchestrator, crowd),
                        pairs.System(theirs, ceiling, their_crowd),
                    )
            except NotGathered as error:
                rows.append(left_out(name, error, wanted))
                continue
            row = pairs.row(name, wanted, found)
            row.note = pairs.cpu_note(row.more)
            rows.append(row)
    return rows
