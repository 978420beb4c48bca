"""One huge sum: parsing and planning, the way through, the leader's memory, and what another user notices."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from bench import texts
from bench.client import Curta
from bench.planner import DURATIONS_MS
from bench.report import Row
from bench.rig import Rig
from bench.sizes import Sizes
from bench.spread import percentile, quantiles
from curta_server.core.expression import parse
from curta_server.core.plan import build

PAUSE_S = 0.05
"""Between the other user's expressions."""

LOOK_S = 0.1


@dataclass
class Seen:
    """One run. `bytes_per_task` is the leader's growth at its peak; the waits are the other user's."""

    done_s: float
    bytes_per_task: float
    waits_ms: list[float] = field(default_factory=list)


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """Each run on an orchestrator of its own, for a used one has room left from before."""
    name = f"{sizes.operands:,} operands"
    parse_s, plan_s = zip(*(_plan(sizes.operands) for _ in range(sizes.long_runs)), strict=True)
    seen: list[Seen] = []
    for run in range(sizes.long_runs):
        if run:
            await rig.server.renew()
        seen.append(await _compute(rig, sizes.operands))
    waits = [one.waits_ms for one in seen]
    planned_s = [parsed + planned for parsed, planned in zip(parse_s, plan_s, strict=True)]
    more = {"parse_s": parse_s, "plan_s": plan_s}
    shape = {"quantiles_ms": quantiles([one for run in waits for one in run])}
    of_million = "≤ 300" if sizes.operands == 1_000_000 else "≤ 300 (of 1,000,000)"
    return [
        Row(
            f"{name}, parse and plan",
            "s",
            planned_s,
            "≤ 10 s",
            more=more,
            note=f"parse {statistics.median(parse_s):.2f} s",
        ),
        Row(f"{name}, submit to result", "s", [one.done_s for one in seen], "≤ 60 s"),
        Row(f"{name}, leader's memory", "bytes/task", [one.bytes_per_task for one in seen], of_million),
        Row(f"{name}, another user's 2+2, p50", "ms", [statistics.median(run) for run in waits], more=shape),
        Row(f"{name}, another user's 2+2, p99", "ms", [percentile(run, 99) for run in waits]),
        Row(
            f"{name}, another user's 2+2, longest",
            "ms",
            [max(run) for run in waits],
            "≤ 250 ms",
            # One of thousands: it is chance as much as ours.
            is_watched=False,
        ),
    ]


def _plan(operands: int) -> tuple[float, float]:
    """Seconds for the parser and for the planner, in this process."""
    text = texts.tree(operands - 1)
    began = time.perf_counter()
    tree = parse(text)
    parsed = time.perf_counter()
    assert len(build(tree, DURATIONS_MS)) == operands - 1
    return parsed - began, time.perf_counter() - parsed


async def _compute(rig: Rig, operands: int) -> Seen:
    """Raises: AssertionError where the value is wrong, or an agent was lost."""
    text, value = texts.tree(operands - 1), texts.tree_value(operands - 1)
    seen, peak = Seen(0.0, 0.0), 0
    async with rig.curta() as curta, rig.crowd(10, 200):
        await curta.no_durations()
        token = await curta.call("POST", "/tokens", {"name": f"other {time.time_ns()}", "role": "user"})
        async with rig.curta(token["secret"]) as other, _beside(other, seen.waits_ms):
            await curta.compute("2+2", expected=4)
            before = rig.memory_bytes()
            computing = asyncio.ensure_future(curta.compute(text, expected=value))
            while not computing.done():
                peak = max(peak, rig.memory_bytes())
                await asyncio.wait((computing,), timeout=LOOK_S)
            seen.done_s = computing.result().total_s
        assert await curta.metric("curta_agents", '"lost"') == 0, "an agent was lost"
    seen.bytes_per_task = (peak - before) / (operands - 1)
    return seen


@asynccontextmanager
async def _beside(other: Curta, waits_ms: list[float]) -> AsyncIterator[None]:
    """Another user's small expressions, one after the other, while the block runs."""

    async def ask() -> None:
        while True:
            waits_ms.append((await other.compute("2+2", expected=4)).total_s * 1000)
            await asyncio.sleep(PAUSE_S)

    asking = asyncio.ensure_future(ask())
    try:
        yield
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
