"""Other systems with the same work in the same minutes, where `bench.peers` is here."""

from dataclasses import replace

from bench.report import Row, loud
from bench.rig import Rig
from bench.sizes import Sizes


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """Curta beside each; what a peer does not offer is said beside the figure."""
    try:
        from bench import peers  # type: ignore[attr-defined, unused-ignore]
    except ImportError as error:
        loud(f"peers are left out: {error}")
        return []
    theirs = peers.QUICK if sizes.is_quick else peers.Sizes()
    rows = peers.compared(await peers.measure(rig, theirs, sizes.long_runs))
    return [
        replace(
            row,
            beside_name=row.more["peer"],
            note=f"durable: {row.more['durable']}; dependencies: {row.more['dependencies']}",
        )
        for row in rows
    ]
