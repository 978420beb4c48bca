"""Celery on Redis: a prefork worker of two processes; trees are chords of two in chords of two, chains are
chains.

Runs in Celery's environment; `python celery_.py worker` is the worker.
"""

import os
import sys
import time
from functools import partial
from typing import Any

import celery
import redis
from celery import Celery, chain, chord
from turns import process, serve, until

PROCESSES = 2
# For many short tasks the guide says 50 to 150, "say 64, or 128".
PREFETCH = 64
RESULT_S = 110.0

_redis = f"redis://127.0.0.1:{os.environ['BENCH_REDIS_PORT']}"
app = Celery("bench", broker=f"{_redis}/0", backend=f"{_redis}/1")
app.conf.update(
    # A task that was being computed by a worker that died is computed again.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=PREFETCH,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task(name="add")
def add(left: int, right: int) -> int:
    return left + right


@app.task(name="total")
def total(values: list[int]) -> int:
    """The body of a chord: it gets what both parts gave."""
    left, right = values
    return left + right


def signature(shape: str, tasks: int) -> Any:
    """Additions of 1 … tasks+1. A tree must be complete: one task less than a power of two."""
    literals = range(1, tasks + 2)
    if shape == "chain":
        return chain(add.s(1, 2), *(add.s(literal) for literal in literals[2:]))
    row = [add.s(left, right) for left, right in zip(literals[::2], literals[1::2], strict=True)]
    while len(row) > 1:
        row = [chord([left, right], total.s()) for left, right in zip(row[::2], row[1::2], strict=True)]
    return row[0]


def measure(client: redis.Redis, shape: str, tasks: int) -> tuple[float, float, int]:
    made = signature(shape, tasks)
    began = time.perf_counter()
    value = made.apply_async().get(timeout=RESULT_S)
    took_s = time.perf_counter() - began
    # What earlier runs left behind is not to slow down later ones; queues are empty by now.
    client.flushdb()
    return took_s, took_s, int(value)


def main() -> None:
    about = {
        "durable": "Redis, append-only file synced once a second; acknowledged late",
        "dependencies": "yes, chords and chains",
        "clock": "submission",
        "settings": f"prefork, {PROCESSES} processes, prefetch {PREFETCH} each, late acknowledgement",
        "versions": {"celery": celery.__version__, "redis": os.environ["BENCH_REDIS_VERSION"]},
    }
    with (
        process(sys.executable, __file__, "worker"),
        redis.Redis.from_url(app.conf.result_backend) as results,
    ):
        until(lambda: bool(app.control.ping(timeout=0.5)))
        serve(about, partial(measure, results))


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        quiet = ("--without-gossip", "--without-mingle", "--loglevel=WARNING")
        app.worker_main(["worker", "--pool=prefork", f"--concurrency={PROCESSES}", *quiet])
    else:
        main()
