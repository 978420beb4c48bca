"""The yardstick: the bare shape of the hot path, and nothing else on it.

The same libraries in the same processes as ours (Quart on uvicorn, websockets agents under uvloop, asyncpg
with group commits, the protocol's own frames): tasks are pushed in batches, a result releases what it makes
ready at once, rows are committed together, agents are acknowledged after the commit. No attempts, leases,
fairness, tokens, parsing, planning, metrics or feed: what ours costs more than this is what those cost.

Started by `rig`: `python -m bench.ceiling serve` with BENCH_DATABASE_URL and BENCH_PORT, and
`python -m bench.ceiling agents --agents N --slots M`.
"""

import argparse
import asyncio
import os
import threading
import time
from collections import deque
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import msgspec
import uvloop

from curta_wire.frames import Ack, Assignment, Attempt, Result, Results, Tasks

ACK_DELAY_S = 0.05
TABLES = """
CREATE TABLE IF NOT EXISTS yardstick_journal (
    expression uuid, task integer, value text, stored_at timestamptz DEFAULT now(),
    PRIMARY KEY (expression, task));
CREATE TABLE IF NOT EXISTS yardstick_expressions (id uuid PRIMARY KEY, text text);
"""
APPEND = """
INSERT INTO yardstick_journal (expression, task, value)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::text[]) ON CONFLICT DO NOTHING
"""
encode = msgspec.json.encode


class Graph:
    """Additions of 1 … n+1, as a balanced tree or as a chain. Operands: a task's number, or ~literal."""

    def __init__(self, tasks: int, *, is_chain: bool) -> None:
        self.id = uuid4()
        self.operands: list[tuple[int, int]] = []
        self.user = [-1] * tasks
        self.missing = [0] * tasks
        self.values = [""] * tasks
        self.uncommitted = tasks
        self.stored = asyncio.Event()
        row = deque(~literal for literal in range(1, tasks + 2))
        while len(row) > 1:
            pair = row.popleft(), row.popleft()
            number = len(self.operands)
            self.operands.append(pair)
            for operand in pair:
                if operand >= 0:
                    self.user[operand] = number
                    self.missing[number] += 1
            # A queue makes levels of a tree, a stack a chain.
            if is_chain:
                row.appendleft(number)
            else:
                row.append(number)

    def operand(self, reference: int) -> str:
        return self.values[reference] if reference >= 0 else str(~reference)


class Peer:
    """One agent's connection: its free slots, and frames on their way to it."""

    def __init__(self, slots: int) -> None:
        self.free = slots
        self.sent = 0
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.acknowledged: list[Attempt] = []

    def push(self, tasks: list[Assignment]) -> None:
        self.free -= len(tasks)
        self.sent += 1
        self.frames.put_nowait(encode(Tasks(self.sent, tasks)))

    def acknowledge(self, attempts: list[Attempt]) -> None:
        if not self.acknowledged:
            asyncio.get_running_loop().call_later(ACK_DELAY_S, self._flush)
        self.acknowledged += attempts

    def _flush(self) -> None:
        attempts, self.acknowledged = self.acknowledged, []
        self.frames.put_nowait(encode(Ack(attempts)))


class Engine:
    """Ready tasks, peers with room, and results that wait for the commit."""

    def __init__(self) -> None:
        self.graphs: dict[str, Graph] = {}
        self.peers: set[Peer] = set()
        self._roomy: deque[Peer] = deque()
        self._ready: deque[tuple[str, Graph, int]] = deque()
        self._arrived: list[tuple[Peer, list[tuple[Graph, int]], list[Attempt]]] = []
        self._wake = asyncio.Event()
        self._names = count()

    def join(self, peer: Peer) -> None:
        self.peers.add(peer)
        self._roomy.append(peer)

    def leave(self, peer: Peer) -> None:
        self.peers.discard(peer)
        if peer in self._roomy:
            self._roomy.remove(peer)

    async def compute(self, graph: Graph) -> float:
        """Seconds from the first task handed out to the last row committed."""
        name = str(next(self._names))
        self.graphs[name] = graph
        began = time.perf_counter()
        self._ready.extend((name, graph, task) for task, missing in enumerate(graph.missing) if not missing)
        self._match()
        await graph.stored.wait()
        took_s = time.perf_counter() - began
        del self.graphs[name]
        return took_s

    def answered(self, peer: Peer, results: list[Result]) -> None:
        if not peer.free:
            self._roomy.append(peer)
        peer.free += len(results)
        rows: list[tuple[Graph, int]] = []
        for result in results:
            name, _, number = result.task.partition(".")
            graph, task = self.graphs[name], int(number)
            assert isinstance(result.value, str)
            graph.values[task] = result.value
            rows.append((graph, task))
            user = graph.user[task]
            if user >= 0:
                graph.missing[user] -= 1
                if not graph.missing[user]:
                    self._ready.append((name, graph, user))
        self._match()
        self._arrived.append((peer, rows, [Attempt(result.task, result.attempt) for result in results]))
        self._wake.set()

    def _match(self) -> None:
        ready, roomy = self._ready, self._roomy
        while ready and roomy:
            peer = roomy.popleft()
            tasks = []
            for _ in range(min(peer.free, len(ready))):
                name, graph, task = ready.popleft()
                left, right = graph.operands[task]
                operands = graph.operand(left), graph.operand(right)
                tasks.append(Assignment(f"{name}.{task}", 1, "addition", operands, 0))
            peer.push(tasks)
            if peer.free:
                roomy.append(peer)

    async def write_journal(self, database: Any) -> None:
        """Commit what has arrived, again and again: the commit in flight is the batching window."""
        append = await database.prepare(APPEND)
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._arrived = self._arrived, []
            rows = [row for _, some, _ in batch for row in some]
            ids: list[UUID] = [graph.id for graph, _ in rows]
            await append.fetch(ids, [task for _, task in rows], [graph.values[task] for graph, task in rows])
            for peer, _, attempts in batch:
                peer.acknowledge(attempts)
            for graph, _ in rows:
                graph.uncommitted -= 1
                if not graph.uncommitted:
                    graph.stored.set()


def serve() -> None:
    """The yardstick's server, until SIGTERM."""
    import asyncpg
    import uvicorn
    from quart import Quart, request, websocket

    url = os.environ["BENCH_DATABASE_URL"]
    app, engine, decoder = Quart(__name__), Engine(), msgspec.json.Decoder(Results)
    pools: list[Any] = []

    @app.while_serving
    async def database() -> Any:
        async with asyncpg.create_pool(url, min_size=8, max_size=8) as pool, pool.acquire() as connection:
            await connection.execute(TABLES)
            pools.append(pool)
            writing = asyncio.get_running_loop().create_task(engine.write_journal(connection))
            yield
            writing.cancel()

    @app.get("/agents")
    async def agents() -> dict[str, int]:
        return {"agents": len(engine.peers)}

    @app.post("/compute/<shape>/<int:tasks>")
    async def compute(shape: str, tasks: int) -> dict[str, float]:
        return {"seconds": await engine.compute(Graph(tasks, is_chain=shape == "chain"))}

    @app.post("/expressions")
    async def submit() -> dict[str, str]:
        """What a submission costs at least: one route, one insert, one commit."""
        body, id = await request.get_json(), uuid4()
        await pools[0].execute("INSERT INTO yardstick_expressions VALUES ($1, $2)", id, body["expression"])
        return {"id": str(id), "expression": body["expression"]}

    @app.websocket("/agents/<int:slots>")
    async def session(slots: int) -> None:
        peer = Peer(slots)

        async def write() -> None:
            while True:
                await websocket.send(await peer.frames.get())

        engine.join(peer)
        writing = asyncio.get_running_loop().create_task(write())
        try:
            while True:
                engine.answered(peer, decoder.decode(await websocket.receive()).results)
        finally:
            writing.cancel()
            engine.leave(peer)

    uvicorn.run(
        app,
        port=int(os.environ["BENCH_PORT"]),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        access_log=False,
        log_level="warning",
        backlog=4096,
    )


async def compute(agents: int, slots: int) -> None:
    """The yardstick's agents, until somebody ends the process."""
    from websockets.asyncio.client import connect

    decoder = msgspec.json.Decoder(Tasks | Ack)
    url = f"ws://127.0.0.1:{os.environ['BENCH_PORT']}/agents/{slots}"

    async def agent() -> None:
        async with connect(
            url, compression=None, max_size=None, ping_interval=None, proxy=None
        ) as connection:
            async for message in connection:
                frame = decoder.decode(message)
                if isinstance(frame, Tasks):
                    results = [
                        Result(one.task, one.attempt, str(int(one.operands[0]) + int(one.operands[1])))
                        for one in frame.tasks
                    ]
                    await connection.send(encode(Results(results)).decode())

    async with asyncio.TaskGroup() as crowd:
        for number in range(agents):
            crowd.create_task(agent())
            if number % 100 == 99:
                await asyncio.sleep(0.05)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("role", choices=("serve", "agents"))
    arguments.add_argument("--agents", type=int, default=10)
    arguments.add_argument("--slots", type=int, default=200)
    chosen = arguments.parse_args()
    # Whoever started us holds the other end of standard input: we do not outlive him, kill -9 included.
    threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
    if chosen.role == "serve":
        serve()
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(compute(chosen.agents, chosen.slots))


if __name__ == "__main__":
    main()
