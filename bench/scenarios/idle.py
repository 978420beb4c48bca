"""What agents that only beat cost the orchestrator."""

import asyncio
import time

import psutil  # type: ignore[import-untyped]

from bench.report import Row, left_out, loud
from bench.rig import NotGathered, Rig
from bench.sizes import Sizes

SOCKETS_BESIDE = 500
"""Files that a process has open beside its agents' sockets."""

AGENT_BYTES = 200_000
"""What one takes in both processes and the kernel, at most."""


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """Processor share, window by window, and memory; with fewer agents where the machine holds no more, and
    nothing but why where they do not gather."""
    fitting = min(
        rig.sockets_max - SOCKETS_BESIDE, int(psutil.virtual_memory().available * 0.7) // AGENT_BYTES
    )
    agents = min(sizes.idle_agents, fitting)
    if agents < sizes.idle_agents:
        loud(
            f"idle: only {agents:,} of {sizes.idle_agents:,} agents fit "
            f"({rig.sockets_max:,} open files a process, "
            f"{psutil.virtual_memory().available // 2**20:,} MiB of memory)"
        )
    try:
        return await _beating(rig, sizes, agents)
    except NotGathered as error:
        return [left_out(name, error) for name in _names(agents)]


async def _beating(rig: Rig, sizes: Sizes, agents: int) -> list[Row]:
    """Raises NotGathered."""
    before = rig.memory_bytes()
    shares: list[float] = []
    async with rig.crowd(agents, 4) as crowd, rig.curta() as curta:
        # A welcome is costlier than a beat: begin when each has beaten.
        await asyncio.sleep(6.0)
        memory = rig.memory_bytes() - before
        for _ in range(sizes.long_runs):
            begin, began = rig.cpu(rig.orchestrator, crowd), time.perf_counter()
            await asyncio.sleep(sizes.idle_s)
            used = rig.cpu(rig.orchestrator, crowd).since(begin)
            shares.append(used.server / (time.perf_counter() - began) * 100)
        gone = agents - await curta.connected_agents()
    note = f"{gone:,} were gone in the end" if gone else ""
    if note:
        loud(f"idle: of {agents:,} agents {note}")
    processor, held = _names(agents)
    scaled = 25 * agents / 10_000
    wanted = f"≤ {scaled:.3g}%" + ("" if agents == 10_000 else " (10,000: 25%)")
    return [
        Row(processor, "% of a core", shares, wanted, note=note),
        Row(held, "KB each", [memory / agents / 1000], "≤ 60 KB"),
    ]


def _names(agents: int) -> tuple[str, str]:
    """Of the two figures."""
    return f"{agents:,} idle agents, orchestrator", f"{agents:,} idle agents, memory"
