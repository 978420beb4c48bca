"""Which part of the bare database and of the bare socket Curta reaches, in turns with them.

A tree's tasks are journal rows: no more of them than PostgreSQL takes in. A chain's task is a frame there
and one back: no more of them than echoes on one connection. With 1,000 agents of few slots frames carry few
tasks: beside that stands the echo on 1,000 connections.
"""

from bench import inserts, texts
from bench.client import Curta
from bench.processes import answers, free_ports, line_of, process, until
from bench.report import Row
from bench.rig import Rig
from bench.sizes import Sizes

MANY = 1_000


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """Three rows: ours beside the bare thing."""
    (port,) = free_ports(1)
    environment = {"BENCH_PORT": str(port)}
    tree: list[float] = []
    chain: list[float] = []
    many: list[float] = []
    rows: list[float] = []
    single: list[float] = []
    wide: list[float] = []

    async def echoes(connections: int) -> float:
        arguments = ("ask", f"--connections={connections}", f"--seconds={sizes.echo_s}")
        with process("bench.echo", environment, *arguments, talks=True) as asking:
            return float(await line_of(asking))

    async with rig.curta() as curta:
        with process("bench.echo", environment, "serve") as server:
            await until(lambda: answers(f"http://127.0.0.1:{port}/"), server)
            await curta.no_durations()
            async with rig.crowd(10, 200):
                await _tree(curta, sizes.tree_tasks)
                for _ in range(sizes.runs):
                    tree.append(await _tree(curta, sizes.tree_tasks))
                    rows.append(await inserts.measure(rig.database.url, sizes.inserts))
                    chain.append(await _chain(curta, sizes.chain_tasks))
                    single.append(await echoes(1))
            async with rig.crowd(MANY, 4):
                for _ in range(sizes.runs):
                    many.append(await _tree(curta, sizes.tree_tasks))
                    wide.append(await echoes(MANY))
    return [
        Row(
            "tree, 10 × 200, of bare inserts",
            "tasks/s",
            tree,
            beside=rows,
            beside_name="rows/s, PostgreSQL alone",
            note=f"{inserts.BATCH:,} rows a commit, one connection",
        ),
        Row(
            "chain, of bare echoes",
            "tasks/s",
            chain,
            beside=single,
            beside_name="messages/s, one connection",
            note="a task is a message there and one back, as an echo is",
        ),
        Row(
            f"tree, {MANY:,} × 4, of bare echoes",
            "tasks/s",
            many,
            beside=wide,
            beside_name=f"messages/s, {MANY:,} connections",
            note="a frame may carry several tasks",
        ),
    ]


async def _tree(curta: Curta, tasks: int) -> float:
    return tasks / (await curta.compute(texts.tree(tasks), expected=texts.tree_value(tasks))).running_s


async def _chain(curta: Curta, tasks: int) -> float:
    text, value = texts.horner(tasks)
    return tasks / (await curta.compute(text, expected=value)).running_s
