"""What is measured, and how: each function gives the rows of one figure.

Called by `__main__` one after the other, so that nothing disturbs a measurement but the machine. Sizes come
from `Sizes`: a quick run is smaller, not different.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple

import httpx

from bench import texts
from bench.client import Curta, Poster
from bench.report import Row
from bench.rig import Cpu, Rig
from curta_server.core.expression import parse
from curta_server.core.plan import build

CHAIN_TASKS = 2_000
PLAN_DURATIONS_MS = (1000, 1000, 2000, 2000)
CLIENTS = 50
BATCH = 1_000


@dataclass(frozen=True)
class Sizes:
    """`shapes` are agents × slots; `pairs` how often ours and the yardstick take turns."""

    shapes: tuple[tuple[int, int], ...] = ((10, 200), (100, 20), (1000, 4))
    pairs: int = 5
    tree_tasks: int = 50_000
    latencies: int = 300
    posting_s: float = 5.0
    operands: int = 1_000_000
    idle_agents: int = 2_000
    idle_s: float = 15.0


QUICK = Sizes(
    pairs=3, tree_tasks=20_000, latencies=100, posting_s=1.5, operands=100_000, idle_agents=500, idle_s=5.0
)


async def trees(rig: Rig, sizes: Sizes) -> list[Row]:
    """Durable tasks a second while one large tree is computed, for each shape."""
    rows: list[Row] = []
    async with rig.curta() as curta, rig.ceiling() as ceiling, httpx.AsyncClient(timeout=120.0) as bare:
        await curta.no_durations()
        text, value = texts.tree(sizes.tree_tasks), texts.tree_value(sizes.tree_tasks)
        for agents, slots in sizes.shapes:
            # Both crowds stay connected while the other is measured: idle agents cost little.
            async with rig.crowd(agents, slots) as crowd, rig.ceiling_crowd(agents, slots) as ceiling_crowd:

                async def ours() -> float:
                    return (await curta.compute(text, expected=value)).running_s

                async def theirs() -> float:
                    return await _bare(bare, rig, "tree", sizes.tree_tasks)

                row = await _pairs(
                    rig,
                    f"tree, {agents:,} agents × {slots} slots",
                    sizes.tree_tasks,
                    sizes.pairs,
                    (ours, rig.orchestrator, crowd),
                    (theirs, ceiling, ceiling_crowd),
                )
                row.wanted = "ratio ≥ 0.7" if agents >= 1000 else "ratio ≥ 0.5"
                rows.append(row)
    return rows


async def chains(rig: Rig, sizes: Sizes) -> list[Row]:
    """Durable tasks a second where each needs the one before: as written, and Horner's scheme."""
    rows: list[Row] = []
    horner, horner_value = texts.horner(CHAIN_TASKS)
    sequence, sum_value = texts.tree(CHAIN_TASKS), texts.tree_value(CHAIN_TASKS)
    async with rig.curta() as curta, rig.ceiling() as ceiling, httpx.AsyncClient(timeout=120.0) as bare:
        await curta.no_durations()
        async with rig.crowd(10, 200) as crowd, rig.ceiling_crowd(10, 200) as ceiling_crowd:

            async def sums() -> float:
                return (await curta.compute(sequence, optimize=False, expected=sum_value)).running_s

            async def scheme() -> float:
                return (await curta.compute(horner, expected=horner_value)).running_s

            async def theirs() -> float:
                return await _bare(bare, rig, "chain", CHAIN_TASKS)

            for name, ours in (("chain, a sum as written", sums), ("chain, Horner's scheme", scheme)):
                row = await _pairs(
                    rig,
                    name,
                    CHAIN_TASKS,
                    sizes.pairs,
                    (ours, rig.orchestrator, crowd),
                    (theirs, ceiling, ceiling_crowd),
                )
                row.wanted = "ratio ≥ 0.6"
                rows.append(row)
    return rows


async def latency(rig: Rig, sizes: Sizes) -> list[Row]:
    """From before the submission of 2+2*2 until its result is known, on a system that does nothing else."""
    async with rig.curta() as curta, rig.crowd(2, 2):
        await curta.no_durations()
        await curta.compute("2+2*2", expected=6)
        took_ms = [(await curta.compute("2+2*2", expected=6)).total_s * 1000 for _ in range(sizes.latencies)]
    return _latencies("2+2*2, submit to result", took_ms, "p50 ≤ 10 ms", "p99 ≤ 30 ms")


async def submissions(rig: Rig, sizes: Sizes) -> list[Row]:
    """`POST /expressions` with 50 clients at once, beside a bare route with one insert; and in batches.

    No agent is connected, so nothing is computed meanwhile.
    """
    body = {"expression": "2+2*2"}
    rates: list[float] = []
    bare_rates: list[float] = []
    took_ms: list[float] = []
    async with rig.ceiling():
        for pair in range(sizes.pairs):
            for is_ours in (True, False) if pair % 2 else (False, True):
                url = rig.url if is_ours else rig.ceiling_url
                poster = Poster(url, "/expressions", rig.admin_token, body)
                posted = await _post(poster, CLIENTS, sizes.posting_s)
                (rates if is_ours else bare_rates).append(posted.per_second)
                took_ms += [one * 1000 for one in posted.took_s] if is_ours else []
    items = [{"expression": f"{number}+2*2"} for number in range(BATCH)]
    poster = Poster(rig.url, "/expressions/batch", rig.admin_token, {"expressions": items})
    batches = [BATCH * (await _post(poster, 2, sizes.posting_s)).per_second for _ in range(sizes.pairs)]
    return [
        Row(f"POST /expressions, {CLIENTS} clients", "/s", rates, "ratio ≥ 0.6", bare_rates),
        Row("POST /expressions, p99", "ms", [_percentile(took_ms, 99)], "≤ 150 ms"),
        Row(f"POST /expressions/batch of {BATCH:,}", "/s", batches, "≥ 10,000/s"),
    ]


async def large(rig: Rig, sizes: Sizes) -> list[Row]:
    """One huge sum: planning, the way through, the leader's memory, and what another user notices."""
    text, value = texts.tree(sizes.operands - 1), texts.tree_value(sizes.operands - 1)
    began = time.perf_counter()
    tasks = len(build(parse(text), PLAN_DURATIONS_MS))
    plan_s = time.perf_counter() - began
    waits_ms: list[float] = []
    peak = 0
    async with rig.curta() as curta, rig.crowd(10, 200):
        await curta.no_durations()
        token = await curta.call("POST", "/tokens", {"name": f"other {time.time_ns()}", "role": "user"})
        async with rig.curta(token["secret"]) as other, _beside(other, waits_ms):
            await curta.compute("2+2", expected=4)
            before = rig.memory_bytes()
            computing = asyncio.ensure_future(curta.compute(text, expected=value))
            while not computing.done():
                peak = max(peak, rig.memory_bytes())
                await asyncio.wait((computing,), timeout=0.1)
            done_s = computing.result().total_s
    name = f"{sizes.operands:,} operands"
    return [
        Row(f"{name}, parse and plan", "s", [plan_s], "≤ 10 s"),
        Row(f"{name}, submit to result", "s", [done_s], "≤ 60 s"),
        Row(f"{name}, leader's memory", "bytes/task", [(peak - before) / tasks], "≤ 300 (of 1,000,000)"),
        Row(f"{name}, another user's 2+2, p50", "ms", [statistics.median(waits_ms)], ""),
        Row(
            f"{name}, another user's 2+2, longest",
            "ms",
            [max(waits_ms)],
            "≤ 250 ms",
            more={"waits_ms": waits_ms},
        ),
    ]


async def idle(rig: Rig, sizes: Sizes) -> list[Row]:
    """What agents that only beat cost the orchestrator."""
    before = rig.memory_bytes()
    async with rig.crowd(sizes.idle_agents, 4) as crowd:
        # A welcome is costlier than a beat: begin when each has beaten.
        await asyncio.sleep(6.0)
        memory = rig.memory_bytes() - before
        begin, began = rig.cpu(rig.orchestrator, crowd), time.perf_counter()
        await asyncio.sleep(sizes.idle_s)
        used = rig.cpu(rig.orchestrator, crowd).since(begin)
        share = used.server / (time.perf_counter() - began) * 100
    name = f"{sizes.idle_agents:,} idle agents"
    scaled = 25 * sizes.idle_agents / 10_000
    return [
        Row(f"{name}, orchestrator", "% of a core", [share], f"≤ {scaled:.3g} % (10,000: 25 %)"),
        Row(f"{name}, memory", "KB each", [memory / sizes.idle_agents / 1000], "≤ 60 KB"),
    ]


FIGURES: dict[str, Callable[[Rig, Sizes], Coroutine[None, None, list[Row]]]] = {
    "latency": latency,
    "trees": trees,
    "chains": chains,
    "submissions": submissions,
    "large": large,
    "idle": idle,
}
RIGS = (("latency", "trees", "chains", "submissions"), ("large",), ("idle",))
"""Which figures share a rig, in this order: memory is measured on a fresh orchestrator, and submissions leave
expressions behind that nobody computes."""

System = tuple[Callable[[], Awaitable[float]], int, int]
"""What takes so many seconds, and the processes of its server and its agents."""


async def _pairs(rig: Rig, name: str, tasks: int, pairs: int, ours: System, theirs: System) -> Row:
    """Ours and the yardstick in turns, each first as often as the other; once before that to warm up."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    cpu: dict[bool, list[Cpu]] = {True: [], False: []}
    for pair in range(-1, pairs):
        for is_ours in (True, False) if pair % 2 else (False, True):
            run, server, agents = ours if is_ours else theirs
            begin = rig.cpu(server, agents)
            took_s = await run()
            if pair >= 0:
                rates[is_ours].append(tasks / took_s)
                cpu[is_ours].append(rig.cpu(server, agents).since(begin).per(tasks))
    more = {
        f"cpu_us_per_task_{'ours' if is_ours else 'ceiling'}": {
            part: statistics.median(getattr(one, part) for one in cpu[is_ours]) for part in Cpu._fields
        }
        for is_ours in (True, False)
    }
    return Row(name, "tasks/s", rates[True], "", rates[False], more)


async def _bare(http: httpx.AsyncClient, rig: Rig, shape: str, tasks: int) -> float:
    response = await http.post(f"{rig.ceiling_url}/compute/{shape}/{tasks}")
    response.raise_for_status()
    return float(response.json()["seconds"])


class Posted(NamedTuple):
    """Requests by several clients: what each took, and how many a second were answered."""

    took_s: list[float]
    per_second: float


async def _post(poster: Poster, clients: int, seconds: float) -> Posted:
    began = time.perf_counter()
    each = await asyncio.gather(*(poster.post_until(began + seconds) for _ in range(clients)))
    took_s = [took for one in each for took in one]
    return Posted(took_s, len(took_s) / (time.perf_counter() - began))


@asynccontextmanager
async def _beside(other: Curta, waits_ms: list[float]) -> AsyncIterator[None]:
    """Another user's small expressions, one after the other, while the block runs."""

    async def ask() -> None:
        while True:
            waits_ms.append((await other.compute("2+2", expected=4)).total_s * 1000)
            await asyncio.sleep(0.05)

    asking = asyncio.ensure_future(ask())
    try:
        yield
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


def _latencies(name: str, took_ms: list[float], p50: str, p99: str) -> list[Row]:
    return [
        Row(f"{name}, p50", "ms", [statistics.median(took_ms)], p50, more={"all_ms": took_ms}),
        Row(f"{name}, p99", "ms", [_percentile(took_ms, 99)], p99),
    ]


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
