"""Procrastinate: jobs in PostgreSQL, deferred in one batch; two worker processes that work them off.

It knows no dependencies and keeps no results, so its jobs are independent. Runs in Procrastinate's
environment; `python procrastinate_.py worker` is a worker, which works off whatever is there at each line it
reads, and says how much that was.
"""

import asyncio
import sys
import time
from contextlib import ExitStack
from importlib.metadata import version

import procrastinate
from turns import process, say, serve

WORKERS = 2
CONCURRENCY = 10
"""Jobs at once in a worker; its connection pool has one more for what listens."""

# Where the database is says libpq's environment.
app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(min_size=CONCURRENCY + 1, max_size=CONCURRENCY + 1)
)
_ran = 0


@app.task(name="add")
async def add(left: int, right: int) -> None:
    global _ran
    assert left + right
    _ran += 1


async def work() -> None:
    """A worker: work off what is there at each line, until there are none."""
    global _ran
    loop = asyncio.get_running_loop()
    async with app.open_async():
        say("ready")
        while await loop.run_in_executor(None, sys.stdin.readline):
            _ran = 0
            await app.run_worker_async(concurrency=CONCURRENCY, wait=False, install_signal_handlers=False)
            say(str(_ran))


def main() -> None:
    about = {
        "durable": "PostgreSQL with fsync, a commit for each step of a job; no results",
        "dependencies": "no: independent jobs",
        "clock": "start",
        "settings": f"{WORKERS} workers of concurrency {CONCURRENCY}, one batch_defer",
        "versions": {"procrastinate": version("procrastinate")},
    }
    asyncio.run(prepare())
    with ExitStack() as stack:
        workers = [stack.enter_context(process(sys.executable, __file__, "worker")) for _ in range(WORKERS)]

        def answers() -> list[str]:
            return [worker.stdout.readline().strip() for worker in workers if worker.stdout]

        def measure(shape: str, tasks: int) -> tuple[float, float, int]:
            submitted = time.perf_counter()
            asyncio.run(defer(tasks))
            began = time.perf_counter()
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write("go\n")
            ran = sum(map(int, answers()))
            ended = time.perf_counter()
            return ended - began, ended - submitted, ran

        if answers() != ["ready"] * WORKERS:
            raise RuntimeError("the workers do not start")
        serve(about, measure)


async def prepare() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def defer(tasks: int) -> None:
    async with app.open_async():
        await add.batch_defer_async(*({"left": number, "right": number + 1} for number in range(tasks)))


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        asyncio.run(work())
    else:
        main()
