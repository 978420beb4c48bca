"""What a task costs as work grows: from 1,000 to 1,000,000 tasks, from 1 to 4,000 agents."""

import asyncio

from bench import pairs, texts
from bench.report import Row, left_out
from bench.rig import NotGathered, Rig
from bench.sizes import Sizes

SLOTS = 2_000
"""Of all agents together, and at least MIN_SLOTS of each."""
MIN_SLOTS = 4
AGENTS = 10
LOOK_S = 0.05


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """A row for each number of tasks, with 10 agents, and for each number of agents, with one tree."""
    rows: list[Row] = []
    for tasks in sizes.growing_tasks:
        runs = sizes.long_runs if tasks >= 100_000 else sizes.runs
        rows.append(await _grown(rig, f"{tasks:,} tasks, {AGENTS} agents", "tasks", tasks, AGENTS, runs))
    for agents in sizes.growing_agents:
        name = f"{agents:,} agent{'s' * (agents > 1)}, {sizes.tree_tasks:,} tasks"
        try:
            rows.append(await _grown(rig, name, "agents", sizes.tree_tasks, agents, sizes.long_runs))
        except NotGathered as error:
            rows.append(left_out(name, error))
    return rows


async def _grown(rig: Rig, name: str, growing: str, tasks: int, agents: int, runs: int) -> Row:
    """On an orchestrator of its own: memory that was used once is not given back. Raises: NotGathered."""
    await rig.server.renew()
    slots = max(MIN_SLOTS, SLOTS // agents)
    text, value = texts.tree(tasks), texts.tree_value(tasks)
    async with rig.curta() as curta:
        await curta.no_durations()
        empty = rig.memory_bytes()
        async with rig.crowd(agents, slots) as crowd:
            gathered = rig.memory_bytes()
            peak = gathered

            async def work() -> float:
                nonlocal peak
                computing = asyncio.ensure_future(curta.compute(text, expected=value))
                while not computing.done():
                    peak = max(peak, rig.memory_bytes())
                    await asyncio.wait((computing,), timeout=LOOK_S)
                return computing.result().running_s

            await work()  # to warm up
            system = pairs.System(work, rig.orchestrator, crowd)
            found = [await pairs.once(rig, system, tasks) for _ in range(runs)]
    more = {
        "growing": growing,
        "tasks": tasks,
        "agents": agents,
        "cpu_us_per_task": pairs.cpu_of(found),
        "work_bytes": peak - gathered,
        "crowd_bytes": gathered - empty,
    }
    note = f"{pairs.cpu_note(more)}; memory: work {(peak - gathered) / 1e6:.0f} MB"
    note += f", agents {(gathered - empty) / 1e6:.0f} MB"
    return Row(name, "tasks/s", [run.rate for run in found], more=more, note=note)
