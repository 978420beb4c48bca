"""Dask distributed: a scheduler and two worker processes of one thread each, as `LocalCluster` has them on
two cores; each in a process of its own.

Runs in Dask's environment. A graph goes to the scheduler as a whole.
"""

import operator
import os
import sys
import time
import uuid
from collections import deque
from functools import partial
from typing import Any

import dask
import distributed
from distributed import Client
from turns import process, serve

WORKERS = 2
HERE = "127.0.0.1"


def graph(shape: str, tasks: int) -> tuple[dict[Any, Any], Any]:
    """Additions as a graph of Dask's own kind, and the key of the last one. Keys are new each time: a known
    key would not be computed again."""
    run = uuid.uuid4().hex
    made: dict[Any, Any] = {}
    row: deque[Any] = deque(range(1, tasks + 2))
    while len(row) > 1:
        key = f"add-{run}-{len(made)}"
        made[key] = (operator.add, row.popleft(), row.popleft())
        # A queue makes levels of a tree, a stack a chain.
        if shape == "chain":
            row.appendleft(key)
        else:
            row.append(key)
    return made, row[0]


def measure(client: Client, shape: str, tasks: int) -> tuple[float, float, int]:
    made, key = graph(shape, tasks)
    began = time.perf_counter()
    value = client.get(made, key)
    took_s = time.perf_counter() - began
    return took_s, took_s, int(value)


def main() -> None:
    note = os.path.join(os.environ["TMPDIR"], "scheduler.json")
    common = ("--scheduler-file", note, "--host", HERE, "--no-dashboard", "--dashboard-address", f"{HERE}:0")
    scheduler = (sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *common)
    sizes = ("--nworkers", str(WORKERS), "--nthreads", "1", "--local-directory", os.environ["TMPDIR"])
    workers = (sys.executable, "-m", "distributed.cli.dask_worker", *common, *sizes)
    about = {
        "durable": "no: everything is in memory",
        "dependencies": "yes",
        "clock": "submission",
        "settings": f"a scheduler, {WORKERS} workers of 1 thread with nannies; one graph by Client.get",
        "versions": {"distributed": distributed.__version__, "dask": dask.__version__},
    }
    with process(*scheduler), process(*workers), Client(scheduler_file=note, timeout=60) as client:
        client.wait_for_workers(WORKERS, timeout=60)
        serve(about, partial(measure, client))


if __name__ == "__main__":
    main()
