"""Browsers that look at the live list: how late an update reaches them at a given load, and what they take
from the throughput when the machine is full.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from bench import texts
from bench.client import Curta
from bench.pairs import order
from bench.processes import Process, line_of, process
from bench.report import Row
from bench.rig import Rig
from bench.sizes import Sizes

OFFERED_PER_S = 10_000
AGENTS, SLOTS = 10, 200
DURATION_MS = AGENTS * SLOTS * 1000 // OFFERED_PER_S
"""What each task takes, so that full slots are that many tasks a second."""

PROBE_S = 0.1
"""Between small expressions, whose coming and end every viewer has to be told."""

SETTLE_S = 1.0


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """Percentiles of each run under load; then trees at full speed, with and without viewers in turns."""
    environment = {"CURTA_URL": rig.url, "CURTA_TOKEN": rig.admin_token}
    arguments = (f"--viewers={sizes.viewers}",)
    with process("bench.watchers", environment, *arguments, talks=True) as watchers:
        await line_of(watchers)
        async with rig.curta() as curta, rig.crowd(AGENTS, SLOTS):
            late = await _late(curta, watchers, sizes)
            full = await _full(curta, watchers, sizes)
    return late + full


async def _late(curta: Curta, watchers: Process, sizes: Sizes) -> list[Row]:
    taken: list[dict[str, Any]] = []
    carried: list[float] = []
    await curta.durations(DURATION_MS)
    text = texts.tree(round(OFFERED_PER_S * (sizes.viewing_s + 2 * SETTLE_S)))
    for _ in range(sizes.long_runs):
        async with _loaded(curta, text):
            await asyncio.sleep(SETTLE_S)
            await _tell(watchers, "subscribe")
            await _tell(watchers, "take")
            done, began = await curta.metric("curta_tasks_finished_total"), time.perf_counter()
            await asyncio.sleep(sizes.viewing_s)
            done = await curta.metric("curta_tasks_finished_total") - done
            carried.append(done / (time.perf_counter() - began))
            taken.append(json.loads(await _tell(watchers, "take")))
            await _tell(watchers, "unsubscribe")
    name = f"{sizes.viewers:,} viewers"
    updates = sum(one["updates"] for one in taken)
    wanted = "≤ 500 ms" if sizes.viewers >= 1000 else "≤ 500 ms (1,000 viewers)"
    more = {"quantiles_ms": taken[-1]["quantiles_ms"], "taken": taken}
    return [
        Row(f"{name}, update, p50", "ms", [one["p50_ms"] for one in taken], more=more),
        Row(
            f"{name}, update, p99",
            "ms",
            [one["p99_ms"] for one in taken],
            wanted,
            note=f"of {updates:,} updates",
        ),
        Row(f"{name}, carried meanwhile", "tasks/s", carried, note=f"{OFFERED_PER_S:,} tasks/s offered"),
    ]


async def _full(curta: Curta, watchers: Process, sizes: Sizes) -> list[Row]:
    rates: dict[bool, list[float]] = {True: [], False: []}
    text, value = texts.tree(sizes.tree_tasks), texts.tree_value(sizes.tree_tasks)
    await curta.no_durations()
    for is_watched, counts in order(sizes.runs):
        if is_watched:
            await _tell(watchers, "subscribe")
        rate = sizes.tree_tasks / (await curta.compute(text, expected=value)).running_s
        if is_watched:
            await _tell(watchers, "unsubscribe")
        if counts:
            rates[is_watched].append(rate)
    return [
        Row(
            f"tree, {sizes.viewers:,} viewers",
            "tasks/s",
            rates[True],
            "ratio ≥ 0.8",
            rates[False],
            beside_name="without viewers",
        )
    ]


async def _tell(watchers: Process, order: str) -> str:
    """Gives the answer, which comes when it is done."""
    assert watchers.stdin is not None
    watchers.stdin.write(f"{order}\n".encode())
    watchers.stdin.flush()
    return await line_of(watchers)


@asynccontextmanager
async def _loaded(curta: Curta, text: str) -> AsyncIterator[None]:
    """A tree that keeps all slots busy, and small expressions beside it, until the block ends."""
    tree = await curta.submit(text)

    async def probe() -> None:
        while True:
            await curta.submit("2+2")
            await asyncio.sleep(PROBE_S)

    probing = asyncio.ensure_future(probe())
    try:
        yield
    finally:
        probing.cancel()
        with suppress(asyncio.CancelledError):
            await probing
        await curta.call("DELETE", f"/expressions/{tree}")
