"""A bare WebSocket echo: what the socket carries with nothing behind it.

The same server as ours (uvicorn, websockets-sansio, uvloop) without an application framework, the same client
library as the agents'. Started by the scenario `limits`: `python -m bench.echo serve` with BENCH_PORT, and
`python -m bench.echo ask --connections N --seconds S`, which says how many messages a second came back.
"""

import argparse
import asyncio
import os
import sys
import time
from typing import Any

import uvloop

from curta_cli.agent import end_with_parent
from curta_wire.codec import encode
from curta_wire.frames import Assignment, Tasks

AT_ONCE = 100
"""Connections that are opened at the same time."""

MESSAGE = encode(
    Tasks(1, [Assignment("01926f3e-8d3c-7b1a-9c55-2f6f0b7f6a10.0", 1_048_577, "addition", ("1", "2"), 0)])
)
"""As large as the frame that brings an agent one task."""


async def application(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application: everything comes back as it came."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": event["text"]})


def serve(port: int) -> None:
    import uvicorn

    uvicorn.run(
        application,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="off",
        access_log=False,
        log_level="warning",
        backlog=4096,
    )


async def ask(port: int, connections: int, seconds: float) -> float:
    """Messages a second that came back, where each connection sends its next when it has its last."""
    from websockets.asyncio.client import connect

    async def reach() -> Any:
        url = f"ws://127.0.0.1:{port}/"
        return await connect(url, compression=None, max_size=None, ping_interval=None, proxy=None)

    channels: list[Any] = []
    for first in range(0, connections, AT_ONCE):
        channels += await asyncio.gather(*(reach() for _ in range(min(AT_ONCE, connections - first))))
    began = time.perf_counter()

    async def converse(channel: Any) -> int:
        count = 0
        while time.perf_counter() < began + seconds:
            await channel.send(MESSAGE)
            await channel.recv()
            count += 1
        return count

    counts = await asyncio.gather(*map(converse, channels))
    return sum(counts) / (time.perf_counter() - began)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("role", choices=("serve", "ask"))
    arguments.add_argument("--connections", type=int, default=1)
    arguments.add_argument("--seconds", type=float, default=1.0)
    chosen = arguments.parse_args()
    end_with_parent()
    port = int(os.environ["BENCH_PORT"])
    if chosen.role == "serve":
        serve(port)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rate = runner.run(ask(port, chosen.connections, chosen.seconds))
    sys.stdout.write(f"{rate}\n")
    # Without the farewells of a thousand connections.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
