"""The figures of docs/performance.md, measured: `make bench`, or `python -m bench`.

`rig` starts PostgreSQL, the orchestrator (one process), agents (one process, the real ones: `crowd`) and the
yardstick (`ceiling`: the bare shape of the hot path); `figures` measures, `client` talks, `texts` makes
expressions, `report` prints. Ours and the yardstick take turns, because what else the machine does changes
from minute to minute: their ratio counts, the figures alone are for information.
"""
