"""An agent that is not ours: `websockets`, JSON, and what the protocol's page says. Driven by hand, frame by
frame."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

SUBPROTOCOL = "curta.agent.v1"
AGENTS_PATH = "/agents/connect"
WITHIN_S = 10.0

Frame = dict[str, Any]


class ForeignAgent:
    """One agent, over as many connections as a test likes. `hello` and the rest are sent when a test says so;
    nothing happens by itself, not even a heartbeat."""

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        slots: int = 1,
        name: str = "foreign",
        operations: list[str] | None = None,
        agent: str | None = None,
    ) -> None:
        self.url = url.replace("http", "ws", 1) + AGENTS_PATH
        self.secret = secret
        self.slots = slots
        self.name = name
        self.operations = operations
        self.id = agent or str(uuid.uuid4())
        self.seen = 0
        self._connection: ClientConnection | None = None
        self._passed: deque[Frame] = deque()
        self._acked: list[Frame] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    @property
    def connection(self) -> ClientConnection:
        assert self._connection is not None, "not connected"
        return self._connection

    def twin(self) -> Self:
        """The same agent, not connected."""
        return type(self)(
            self.url.removesuffix(AGENTS_PATH),
            self.secret,
            slots=self.slots,
            name=self.name,
            operations=self.operations,
            agent=self.id,
        )

    async def open(self) -> None:
        """The handshake, and no frame. Raises what `websockets` raises where it is refused."""
        self._connection = await connect(
            self.url,
            additional_headers={"Authorization": f"Bearer {self.secret}"},
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
            compression=None,
            ping_interval=None,
            max_size=4 * 1024 * 1024,
        )
        self._passed.clear()
        self.seen = 0

    async def join(self, held: list[Frame] | None = None) -> Frame:
        """Connect and say hello: the welcome."""
        await self.open()
        await self.hello(held=held or [])
        return await self.expect("welcome")

    async def hello(self, **fields: Any) -> None:
        offer = {} if self.operations is None else {"operations": self.operations}
        await self.send(
            "hello",
            **{
                "protocol": 1,
                "agent": self.id,
                "name": self.name,
                "slots": self.slots,
                "version": "foreign/1",
                "held": [],
                **offer,
                **fields,
            },
        )

    async def send(self, type: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": type, **fields}))

    async def beat(self, held: list[Frame] | None = None, *, seen: int | None = None) -> None:
        """A heartbeat; `held` are tasks as they came, or attempts."""
        attempts = [named(one) for one in held or []]
        await self.send("heartbeat", held=attempts, seen=self.seen if seen is None else seen)

    async def answer(self, task: Frame, value: str | None = None, *, error: str | None = None) -> None:
        """The result of a task: the right one, unless told otherwise."""
        outcome = (
            {"error": {"code": error, "message": "as told"}} if error else {"value": value or compute(task)}
        )
        await self.send("results", results=[{**named(task), **outcome}])

    async def receive(self, *, within_s: float = WITHIN_S) -> Frame:
        """The next frame, whatever it is."""
        async with asyncio.timeout(within_s):
            frame: Frame = json.loads(await self.connection.recv())
        if frame["type"] == "tasks":
            assert frame["n"] == self.seen + 1
            self.seen = frame["n"]
        elif frame["type"] == "ack":
            self._acked.extend(frame["tasks"])
        return frame

    async def expect(self, type: str, *, within_s: float = WITHIN_S) -> Frame:
        """The next frame of a type; the others are kept for later."""
        for frame in self._passed:
            if frame["type"] == type:
                self._passed.remove(frame)
                return frame
        async with asyncio.timeout(within_s):
            while (frame := await self.receive(within_s=within_s))["type"] != type:
                self._passed.append(frame)
        return frame

    async def tasks(self, count: int, *, within_s: float = WITHIN_S) -> list[Frame]:
        """Exactly so many tasks, in however many frames."""
        found: list[Frame] = []
        while len(found) < count:
            found.extend((await self.expect("tasks", within_s=within_s))["tasks"])
        assert len(found) == count, found
        return found

    async def acked(self, task: Frame) -> None:
        """Return when the attempt is acknowledged; one acknowledgement counts once."""
        while named(task) not in self._acked:
            await self.expect("ack")
        self._acked.remove(named(task))

    async def serve(self) -> None:
        """Compute at once whatever comes, and beat, until cancelled or the connection ends."""
        while True:
            try:
                async with asyncio.timeout(1.0):
                    frame = self._passed.popleft() if self._passed else await self.receive()
            except TimeoutError:
                await self.beat()
                continue
            except ConnectionClosed:
                return
            if frame["type"] == "tasks":
                results = [{**named(task), "value": compute(task)} for task in frame["tasks"]]
                await self.send("results", results=results)

    async def closed(self, *, within_s: float = WITHIN_S) -> tuple[int, str]:
        """Return when the server has closed: its code and its reason."""
        async with asyncio.timeout(within_s):
            try:
                while True:
                    await self.connection.recv()
            except ConnectionClosed as closed:
                assert closed.rcvd is not None, "cut, not closed"
                return closed.rcvd.code, closed.rcvd.reason

    async def cut(self) -> None:
        """Drop the connection without a word."""
        if self._connection is not None:
            self._connection.transport.abort()
            await self._connection.wait_closed()
            self._connection = None


def named(task: Frame) -> Frame:
    return {"task": task["task"], "attempt": task["attempt"]}


def compute(task: Frame) -> str:
    """The exact value of a task; in Python's own fractions."""
    left, right = (Fraction(operand) for operand in task["operands"])
    match task["operation"]:
        case "addition":
            return str(left + right)
        case "subtraction":
            return str(left - right)
        case "multiplication":
            return str(left * right)
        case "division":
            return str(left / right)
    raise AssertionError(task["operation"])
