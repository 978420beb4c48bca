"""Curta beside its peers: the same work, on the same machine, in the same run. `make bench`, or
`python -m bench.peers`.

`peer` lists who is measured and how large, `environment` installs them into places of their own, `services`
starts the Redis and the database that some need, `driver` is the process that one of them runs in, `turns`
lets Curta and a peer take turns, `table` prints. What runs under a peer's own interpreter is in `theirs`.

From another benchmark, on a rig that it has started:

    rows = await measure(rig, Sizes(), runs=3)   # one a peer and form; `values` are the peer's tasks/s
    rows += compared(rows)                       # Curta's as `values`, the peer's as `ceiling`: their ratio
"""

from bench.peers.peer import PEERS, QUICK, Sizes
from bench.peers.turns import compared, measure

__all__ = ["PEERS", "QUICK", "Sizes", "compared", "measure"]
