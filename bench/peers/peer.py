"""Who is measured beside Curta: what each needs, which forms of the work it knows, and how much of it.

The work is that of `bench.texts`: a sum of distinct numbers as a balanced tree of additions, and the same sum
as a chain in which each addition needs the one before. Who knows no dependencies gets as many independent
additions. How a peer is started, and with which settings, stands in its own file under `theirs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Shape = Literal["tree", "chain", "independent"]


@dataclass(frozen=True)
class Form:
    """One figure of a peer. `tasks` are as many as it computes in seconds, `quick_tasks` those of a quick
    run; Curta is to be `wanted` times as fast (None where no figure is promised)."""

    shape: Shape
    tasks: int
    quick_tasks: int
    wanted: float | None = None


@dataclass(frozen=True)
class Peer:
    """`kind` says what its environment is made with, `service` what must run before it does; `script` is a
    file of `theirs`."""

    name: str
    kind: Literal["python", "node"]
    script: str
    forms: tuple[Form, ...]
    service: Literal["redis", "postgres"] | None = None


# Trees of Celery must be complete (a task less than a power of two): its chords take two of a kind.
PEERS: Mapping[str, Peer] = {
    "dask": Peer(
        "Dask",
        "python",
        "dask_.py",
        (Form("tree", 4_095, 1_023, wanted=50), Form("chain", 500, 200, wanted=10)),
    ),
    "ray": Peer(
        "Ray",
        "python",
        "ray_.py",
        (Form("tree", 4_095, 1_023), Form("chain", 1_000, 300, wanted=3)),
    ),
    "celery": Peer(
        "Celery",
        "python",
        "celery_.py",
        (Form("tree", 511, 127), Form("chain", 200, 100)),
        service="redis",
    ),
    "bullmq": Peer(
        "BullMQ flows",
        "node",
        "bullmq.mjs",
        (Form("tree", 4_095, 2_047, wanted=20), Form("chain", 500, 200)),
        service="redis",
    ),
    "graphile_worker": Peer(
        "graphile-worker",
        "node",
        "graphile_worker.mjs",
        (Form("independent", 50_000, 20_000, wanted=2.5),),
        service="postgres",
    ),
    "procrastinate": Peer(
        "Procrastinate",
        "python",
        "procrastinate_.py",
        (Form("independent", 1_000, 300),),
        service="postgres",
    ),
}
