"""How much is measured: a quick run is smaller, and leaves out what takes long; it is not different."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """`runs` is how often something is measured, ours and what stands beside it in turns; `long_runs` the
    same for what takes long. `shapes` are agents × slots; `peers` are keys of
    `bench.peers.peer.PEERS`, or empty: all of them."""

    is_quick: bool = False
    runs: int = 5
    long_runs: int = 3
    shapes: tuple[tuple[int, int], ...] = ((10, 200), (100, 20), (1000, 4), (4000, 4))
    tree_tasks: int = 50_000
    chain_tasks: int = 2_000
    latencies: int = 200
    posting_s: float = 4.0
    idle_agents: int = 10_000
    idle_s: float = 10.0
    operands: int = 1_000_000
    viewers: int = 1_000
    viewing_s: float = 10.0
    echo_s: float = 3.0
    inserts: int = 100_000
    profile_s: float = 10.0
    growing_tasks: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    growing_agents: tuple[int, ...] = (1, 10, 100, 1000, 4000)
    peers: tuple[str, ...] = ()


QUICK = Sizes(
    is_quick=True,
    runs=3,
    long_runs=1,
    shapes=((10, 200), (1000, 4)),
    tree_tasks=20_000,
    chain_tasks=1_000,
    latencies=60,
    posting_s=1.0,
    idle_agents=500,
    idle_s=2.0,
    operands=100_000,
    viewers=200,
    viewing_s=4.0,
    echo_s=1.0,
    inserts=40_000,
    profile_s=4.0,
    growing_tasks=(1_000, 10_000, 100_000),
    growing_agents=(1, 10, 100, 1000),
)
