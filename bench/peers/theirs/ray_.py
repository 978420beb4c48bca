"""Ray: one node with two processors, tasks by `.remote`, results handed on as object references.

Runs in Ray's environment.
"""

import os
import time
from collections import deque
from typing import Any

from turns import serve

# Read when Ray is imported. It tells its makers what it is used for, unless told not to; and where a machine
# could be one of a cluster, it listens on all its addresses: this says that there is no cluster.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import ray

CPUS = 2


@ray.remote
def add(left: int, right: int) -> int:
    return left + right


def measure(shape: str, tasks: int) -> tuple[float, float, int]:
    row: deque[Any] = deque(range(1, tasks + 2))
    began = time.perf_counter()
    while len(row) > 1:
        # References go in as arguments: nobody fetches a value but the task that needs it.
        reference = add.remote(row.popleft(), row.popleft())
        # A queue makes levels of a tree, a stack a chain.
        if shape == "chain":
            row.appendleft(reference)
        else:
            row.append(reference)
    value = ray.get(row[0])
    took_s = time.perf_counter() - began
    return took_s, took_s, int(value)


def main() -> None:
    ray.init(
        num_cpus=CPUS,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=os.path.join(os.environ["TMPDIR"], "ray"),
    )
    about = {
        "durable": "no: everything is in memory",
        "dependencies": "yes",
        "clock": "submission",
        "settings": f"num_cpus={CPUS}, no dashboard; references as arguments",
        "versions": {"ray": ray.__version__},
    }
    try:
        serve(about, measure)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
