"""The figures of docs/performance.md, measured: `make bench`, or `python -m bench`.

The way of a figure: a scenario (`scenarios/`, one a file, of a size that `sizes` says) measures on a `rig` of
real processes, ours and what stands beside it in turns (`pairs`); what it gives are rows (`report`), which
are kept with a description of the `machine` (`results`), compared with those of an earlier run
(`comparison`), and drawn (`plots`).

What else the machine does changes from minute to minute: the ratio to what was measured in the same minutes
counts, the figures alone are for information. Beside us stand `ceiling`, the bare shape of the hot path;
`inserts` and `echo`, the bare database and the bare socket; and other systems (`peers`), each in an
environment of its own. What cannot be measured is a row, too, which says why.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""
