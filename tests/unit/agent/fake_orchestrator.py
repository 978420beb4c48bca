"""An orchestrator that says exactly what a test tells it to, over a real WebSocket on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

DEADLINE_S = 15.0
"""How long anything may take that a test waits for; only a failing test ever waits so long."""

TOKEN = "curta_a-token-of-the-tests-0123456789"

Frame = dict[str, Any]


def task(name: str, a: str = "2", b: str = "3", duration_ms: int = 0, **fields: Any) -> Frame:
    return {
        "task": name,
        "attempt": 1,
        "operation": "addition",
        "operands": [a, b],
        "duration_ms": duration_ms,
    } | fields


def attempt(name: str, number: int = 1) -> Frame:
    return {"task": name, "attempt": number}


class Conversation:
    """One connection of an agent, after its `hello`."""

    def __init__(self, connection: ServerConnection, hello: Frame) -> None:
        self.connection = connection
        self.hello = hello
        self.heartbeats: list[tuple[float, Frame]] = []
        """Every heartbeat read so far and when, on the event loop's clock."""
        self.sent = 0

    async def send(self, type: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": type} | fields))

    async def welcome(self, **fields: Any) -> None:
        defaults = {
            "heartbeat_s": 2.0,
            "idle_heartbeat_s": 5.0,
            "lease_s": 10.0,
            "keep": [],
            "drop": [],
            "peers": [],
        }
        await self.send("welcome", **(defaults | fields))

    async def tasks(self, *tasks: Frame) -> None:
        self.sent += 1
        await self.send("tasks", n=self.sent, tasks=list(tasks))

    async def next(self) -> Frame:
        """The next frame, whatever it is."""
        frame: Frame = json.loads(await asyncio.wait_for(self.connection.recv(), DEADLINE_S))
        if frame["type"] == "heartbeat":
            self.heartbeats.append((asyncio.get_running_loop().time(), frame))
        return frame

    async def receive(self, type: str, until: Callable[[Frame], bool] = lambda frame: True) -> Frame:
        """The next frame of this type that meets the condition; others are skipped, heartbeats answered."""
        while True:
            frame = await self.next()
            if frame["type"] == type and until(frame):
                return frame
            if frame["type"] == "heartbeat":
                await self.send("ack", tasks=[])

    async def results(self, count: int) -> list[Frame]:
        """The next `count` results, from as many frames as it takes."""
        results: list[Frame] = []
        while len(results) < count:
            results += (await self.receive("results"))["results"]
        return results

    async def closed(self) -> int:
        """Read to the end; the code with which the agent closed."""
        try:
            while True:
                await self.next()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


class FakeOrchestrator:
    def __init__(self) -> None:
        self.arrivals: asyncio.Queue[Conversation] = asyncio.Queue()
        self.requests: list[tuple[float, Request]] = []
        self.refusals: list[tuple[int, dict[str, str]]] = []
        """HTTP statuses (with headers) for the next requests, instead of the upgrade."""
        self.subprotocols: list[Any] | None = ["curta.agent.v1"]
        self.server: Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Listen, on the same port as before if there was one."""
        self.server = await serve(
            self._converse,
            "127.0.0.1",
            self.port,
            subprotocols=self.subprotocols,
            process_request=self._process,
            compression=None,
            ping_interval=None,
            max_size=4 * 1024 * 1024,
            close_timeout=0.2,
        )
        self.port = next(iter(self.server.sockets)).getsockname()[1]

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()
            self.server = None

    async def conversation(self, **welcome: Any) -> Conversation:
        """The next agent to connect, welcomed."""
        conversation = await self.arrival()
        await conversation.welcome(**welcome)
        return conversation

    async def arrival(self) -> Conversation:
        """The next agent to connect, after its `hello`."""
        return await asyncio.wait_for(self.arrivals.get(), DEADLINE_S)

    def _process(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append((asyncio.get_running_loop().time(), request))
        if not self.refusals:
            return None
        status, headers = self.refusals.pop(0)
        response = connection.respond(HTTPStatus(status), "no\n")
        for name, value in headers.items():
            response.headers[name] = value
        return response

    async def _converse(self, connection: ServerConnection) -> None:
        try:
            hello = json.loads(await connection.recv())
        except ConnectionClosed:
            return
        await self.arrivals.put(Conversation(connection, hello))
        await connection.wait_closed()


@asynccontextmanager
async def listening() -> AsyncIterator[FakeOrchestrator]:
    orchestrator = FakeOrchestrator()
    await orchestrator.open()
    try:
        yield orchestrator
    finally:
        await orchestrator.close()
