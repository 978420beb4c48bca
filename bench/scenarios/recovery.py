"""The orchestrator killed in the middle of a huge expression and started again: how soon tasks flow, and
whether anything was computed twice that the journal had already.
"""

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import asyncpg
import httpx

from bench import texts
from bench.client import Curta
from bench.processes import until
from bench.report import Row
from bench.rig import Rig
from bench.sizes import Sizes

LOOK_S = 0.05
EPOCH_BITS = 20
"""Of an attempt's number, below the term in which it was handed out."""


_OTHERS = """
    SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


class Journalled(NamedTuple):
    """What was durable when the orchestrator was dead: of which expression, in which term, which tasks."""

    expression: str
    epoch: int
    tasks: set[int]


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """Seconds from the new process's start to its first durable results, and to the end; repeated tasks."""
    flowing_s: list[float] = []
    done_s: list[float] = []
    journalled: list[Journalled] = []
    with tempfile.TemporaryDirectory(prefix="curta-bench-") as folder:
        record = Path(folder) / "handed"
        async with rig.curta() as curta, rig.crowd(10, 200, record=record):
            await curta.no_durations()
            for _ in range(sizes.long_runs):
                expression = await curta.submit(texts.tree(sizes.operands - 1))
                await _half(curta, expression, sizes.operands - 1)
                rig.server.kill()
                journalled.append(await _journalled(rig, expression))
                began = time.perf_counter()
                rig.server.start()
                await _flowing(curta)
                flowing_s.append(time.perf_counter() - began)
                await curta.done(expression, texts.tree_value(sizes.operands - 1))
                done_s.append(time.perf_counter() - began)
        found = later(record.read_text(), journalled)
    name = f"killed at half of {sizes.operands:,} operands"
    had, handed = min(len(one.tasks) for one in journalled), min(one.handed for one in found)
    assert handed, "the record says nothing"
    note = f"at least {had:,} were journalled, {handed:,} handed out afterwards"
    return [
        Row(f"{name}, tasks flow", "s", flowing_s, "≤ 15 s", note="from the start of the new process"),
        Row(f"{name}, done", "s", done_s),
        Row(f"{name}, computed twice", "tasks", [one.twice for one in found], "0", note=note),
    ]


class Later(NamedTuple):
    """Tasks handed out after the term in which the orchestrator was killed: all, and those in the journal."""

    handed: int
    twice: int


def later(record: str, journalled: list[Journalled]) -> list[Later]:
    """For each of the killed ones. `record` has a line for each hand-out: `expression.task attempt`."""
    handed: list[set[int]] = [set() for _ in journalled]
    known = {one.expression: place for place, one in enumerate(journalled)}
    for line in record.splitlines():
        name, _, attempt = line.partition(" ")
        expression, _, task = name.rpartition(".")
        place = known.get(expression)
        if place is not None and int(attempt) >> EPOCH_BITS > journalled[place].epoch:
            handed[place].add(int(task))
    return [Later(len(tasks), len(tasks & one.tasks)) for tasks, one in zip(handed, journalled, strict=True)]


async def _half(curta: Curta, expression: str, tasks: int) -> None:
    """Return when half of them are durable."""

    async def is_half() -> bool:
        return int((await curta.look(expression))["tasks"]["done"]) >= tasks // 2

    await until(is_half, every_s=LOOK_S)


async def _journalled(rig: Rig, expression: str) -> Journalled:
    connection = await asyncpg.connect(rig.database.url)
    try:

        async def is_alone() -> bool:
            return int(await connection.fetchval(_OTHERS)) == 0

        # What the dead process sent last may still be on its way to the disk.
        await until(is_alone, every_s=LOOK_S)
        epoch = await connection.fetchval("SELECT epoch FROM leadership")
        tasks = await connection.fetchval(
            "SELECT array_agg(task) FROM journal WHERE expression_id = $1", expression
        )
        return Journalled(expression, epoch, set(tasks or ()))
    finally:
        await connection.close()


async def _flowing(curta: Curta) -> None:
    """Return when the new process has made a result durable: its counter begins at 0."""

    async def is_flowing() -> bool:
        try:
            return await curta.metric("curta_tasks_finished_total") > 0
        except httpx.TransportError:
            return False  # not there yet

    await until(is_flowing, every_s=LOOK_S)
