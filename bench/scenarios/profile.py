"""Where the time goes: a tree's CPU per task of orchestrator, agents and PostgreSQL, and the orchestrator's
by module, as py-spy sees it.
"""

import asyncio
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench import pairs, texts
from bench.client import Curta
from bench.report import Row, loud
from bench.rig import Rig
from bench.sizes import Sizes

NAMED_TUPLES = "making named tuples"
"""Their code is generated, and of no file."""

SHAPES = ((10, 200), (1000, 4))
SAMPLES_PER_S = 200
MODULES = 15
"""So many are named."""

REST = "everything else"
LOOP = "event loop, sockets and drivers (C)"
"""What py-spy sees as the loop's own function: uvloop, asyncpg and whatever they call without Python."""


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """For each shape: microseconds a task of the three parts, then of the orchestrator's modules."""
    rows: list[Row] = []
    text, value = texts.tree(sizes.tree_tasks), texts.tree_value(sizes.tree_tasks)
    async with rig.curta() as curta:
        await curta.no_durations()

        async def work() -> float:
            return (await curta.compute(text, expected=value)).running_s

        for agents, slots in SHAPES:
            name = f"{agents:,} × {slots}"
            async with rig.crowd(agents, slots) as crowd:
                await work()  # to warm up
                system = pairs.System(work, rig.orchestrator, crowd)
                runs = [await pairs.once(rig, system, sizes.tree_tasks) for _ in range(sizes.long_runs)]
                parts = {"orchestrator": "server", "agents": "agents", "PostgreSQL": "database"}
                rows += [
                    Row(f"{name}, {part}", "µs/task", [getattr(run.cpu, field) for run in runs])
                    for part, field in parts.items()
                ]
                shares = modules(await _sampled(rig, curta, text, sizes.profile_s))
            server_us = pairs.cpu_of(runs)["server"]
            rows += [
                Row(
                    f"{name}, orchestrator: {module}",
                    "µs/task",
                    [server_us * share],
                    note=f"{share:.0%}",
                    is_watched=False,
                )
                for module, share in shares.items()
            ]
    return rows


async def _sampled(rig: Rig, curta: Curta, text: str, seconds: float) -> str:
    """Stacks of the orchestrator while trees are computed, as py-spy's raw format has them; empty, and said
    loudly, where it cannot look."""
    spy = Path(sys.executable).with_name("py-spy")
    program = str(spy) if spy.exists() else shutil.which("py-spy")
    if program is None:
        loud("profile: py-spy is not installed (make bench installs it): no modules")
        return ""
    with tempfile.TemporaryDirectory(prefix="curta-bench-") as folder:
        output = Path(folder) / "stacks"
        spying = await asyncio.create_subprocess_exec(
            *(program, "record", "--pid", str(rig.orchestrator), "--duration", str(round(seconds))),
            *("--rate", str(SAMPLES_PER_S), "--format", "raw", "--output", str(output)),
            # A process that is stopped for each look is slower, and its sleeping threads seem to be awake.
            "--nonblocking",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        ending = asyncio.ensure_future(spying.communicate())
        try:
            while not ending.done():
                await curta.compute(text)
            _, said = await ending
        finally:
            if spying.returncode is None:
                spying.kill()
                await spying.wait()
        if spying.returncode != 0 or not output.exists():
            loud(f"profile: py-spy cannot attach: {said.decode(errors='replace').strip()[-500:]}")
            return ""
        return output.read_text()


def modules(stacks: str) -> dict[str, float]:
    """Shares of the samples by the module whose function ran, the largest first; the shares' sum is 1.

    A line is `function (path/file.py:1);…;function (path/file.py:2) count`, the running function last.
    """
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        counts[_module(frames.rpartition(";")[2])] += int(count)
    total = counts.total()
    named = {name: count / total for name, count in counts.most_common(MODULES)}
    if len(counts) > MODULES:
        named[REST] = 1 - sum(named.values())
    return named


def _module(frame: str) -> str:
    """`take (curta_server/core/scheduler.py:12)` is of `curta_server.core.scheduler`."""
    path = frame.rpartition("(")[2].rstrip(")").partition(":")[0]
    if path.endswith("asyncio/runners.py"):
        return LOOP
    if path == "<string>":
        return NAMED_TUPLES
    path = re.sub(r"^.*/(site-packages|server|agent|lib/python3\.\d+)/", "", path)
    return path.removesuffix(".py").removesuffix("/__init__").strip("/").replace("/", ".") or "unknown"
