"""What is measured: one scenario a file, each with `measure(rig, sizes) -> list[Row]`.

They run one after the other, so that nothing disturbs a measurement but the machine.
"""

from collections.abc import Callable, Coroutine

from bench.report import Row
from bench.rig import Rig
from bench.scenarios import (
    chains,
    growth,
    idle,
    large,
    latency,
    limits,
    peers,
    profile,
    recovery,
    submissions,
    trees,
    viewers,
)
from bench.sizes import Sizes

SCENARIOS: dict[str, Callable[[Rig, Sizes], Coroutine[None, None, list[Row]]]] = {
    "trees": trees.measure,
    "chains": chains.measure,
    "latency": latency.measure,
    "viewers": viewers.measure,
    "limits": limits.measure,
    "submissions": submissions.measure,
    "large": large.measure,
    "recovery": recovery.measure,
    "idle": idle.measure,
    "growth": growth.measure,
    "profile": profile.measure,
    "peers": peers.measure,
}
"""In the order of the report."""

RIGS = (
    ("latency", "trees", "chains", "limits", "viewers", "submissions"),
    ("large", "recovery"),
    ("idle",),
    ("growth", "profile"),
    ("peers",),
)
"""Which share a rig, in this order: memory is measured where little has been before, and submissions leave
expressions behind that nobody computes."""

QUICK = ("latency", "trees", "chains", "viewers", "submissions", "large", "recovery", "idle")
"""What a quick run measures, if it is not told."""
