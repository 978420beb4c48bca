"""Two systems in turns on the same work: what each carried, and what it cost."""

import statistics
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

import httpx

from bench.processes import Cpu
from bench.report import Row
from bench.rig import Rig


class System(NamedTuple):
    """`run` does the work and gives the seconds it took; the others are the ids of its processes."""

    run: Callable[[], Awaitable[float]]
    server: int
    agents: int


class Run(NamedTuple):
    """Tasks a second, and processor microseconds for each task."""

    rate: float
    cpu: Cpu


class Pairs(NamedTuple):
    """Runs of both, pair by pair."""

    ours: list[Run]
    theirs: list[Run]


def order(pairs: int, *, is_warm: bool = False) -> Iterator[tuple[bool, bool]]:
    """Turn by turn, whether it is ours, and whether it counts. Each is first as often as the other; one pair
    more goes before all others to warm up, unless everything `is_warm`."""
    for pair in range(0 if is_warm else -1, pairs):
        for is_ours in (True, False) if pair % 2 else (False, True):
            yield is_ours, pair >= 0


async def once(rig: Rig, system: System, tasks: int) -> Run:
    begin = rig.cpu(system.server, system.agents)
    took_s = await system.run()
    return Run(tasks / took_s, rig.cpu(system.server, system.agents).since(begin).per(tasks))


async def turns(rig: Rig, tasks: int, pairs: int, ours: System, theirs: System) -> Pairs:
    """So many runs of each, in `order`."""
    found = Pairs([], [])
    for is_ours, counts in order(pairs):
        run = await once(rig, ours if is_ours else theirs, tasks)
        if counts:
            (found.ours if is_ours else found.theirs).append(run)
    return found


def row(name: str, wanted: str, found: Pairs) -> Row:
    """The figure of a tree or a chain, beside the ceiling."""
    return Row(
        name,
        "tasks/s",
        [run.rate for run in found.ours],
        wanted,
        [run.rate for run in found.theirs],
        {"cpu_us_per_task": cpu_of(found.ours), "cpu_us_per_task_ceiling": cpu_of(found.theirs)},
    )


def cpu_of(runs: Sequence[Run]) -> dict[str, float]:
    """Medians, by part."""
    return {part: statistics.median(getattr(run.cpu, part) for run in runs) for part in Cpu._fields}


def cpu_note(more: dict[str, Any]) -> str:
    """What a task costs, for people."""
    used = more["cpu_us_per_task"]
    return (
        f"CPU a task: orchestrator {used['server']:.1f} µs, agents {used['agents']:.1f} µs, "
        f"PostgreSQL {used['database']:.1f} µs"
    )


async def bare(http: httpx.AsyncClient, rig: Rig, shape: str, tasks: int) -> float:
    """Seconds that the yardstick takes for a `tree` or a `chain`."""
    response = await http.post(f"{rig.ceiling_url}/compute/{shape}/{tasks}")
    response.raise_for_status()
    return float(response.json()["seconds"])
