"""Many agents that are not ours in one event loop: they hold what they get until told to answer, and come
back by themselves, as the protocol's page says."""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.support.foreign import SUBPROTOCOL, Frame, compute, named

BACKOFF_S = 0.2
BACKOFF_MAX_S = 5.0
OPEN_S = 10.0
"""What an agent gives the handshake."""


class Member:
    """One agent. `held` are its tasks by name, `welcomed_s` when it was last let in."""

    def __init__(self, herd: Herd, number: int, slots: int) -> None:
        self._herd = herd
        self.id = str(uuid.uuid4())
        self.name = f"member {number}"
        self.slots = slots
        self.held: dict[str, Frame] = {}
        self.dropped: list[Frame] = []
        self.welcomed_s = 0.0
        self.is_in = False
        self._connection: ClientConnection | None = None
        self._seen = 0
        self._answered: set[str] = set()

    async def live(self) -> None:
        """Connect, serve, and connect again, until cancelled."""
        backoff_s = 0.0
        while True:
            await asyncio.sleep(random.random() * backoff_s)
            backoff_s = min(max(2 * backoff_s, BACKOFF_S), BACKOFF_MAX_S)
            try:
                async with connect(
                    self._herd.url,
                    additional_headers={"Authorization": f"Bearer {self._herd.secret}"},
                    subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
                    compression=None,
                    ping_interval=None,
                    max_size=4 * 1024 * 1024,
                    open_timeout=OPEN_S,
                    close_timeout=0.1,
                    proxy=None,
                ) as connection:
                    await self._serve(connection)
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed):
                if self.is_in:
                    backoff_s = 0.0  # at once, the first time
            self.is_in, self._connection = False, None

    async def _serve(self, connection: ClientConnection) -> None:
        self._seen = 0
        self._answered.clear()
        hello = {"protocol": 1, "agent": self.id, "name": self.name, "slots": self.slots}
        await self._say(connection, "hello", **hello, held=[named(task) for task in self.held.values()])
        welcome = json.loads(await connection.recv())
        self.dropped += welcome["drop"]
        self.welcomed_s, self.is_in, self._connection = time.monotonic(), True, connection
        beating = asyncio.create_task(self._beat(connection, welcome["heartbeat_s"]))
        try:
            while True:
                self._take(json.loads(await connection.recv()))
        finally:
            beating.cancel()

    def _take(self, frame: Frame) -> None:
        if frame["type"] == "tasks":
            self._seen = frame["n"]
            for task in frame["tasks"]:
                self._herd.note(self, task)
                self.held[task["task"]] = task
        elif frame["type"] == "ack":
            for one in frame["tasks"]:
                self.held.pop(one["task"], None)

    async def _beat(self, connection: ClientConnection, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            held = [named(task) for task in self.held.values()]
            await self._say(connection, "heartbeat", held=held, seen=self._seen)

    async def answer(self) -> None:
        """The right results of all it holds, each once on a connection."""
        if self._connection is not None:
            new = [task for name, task in self.held.items() if name not in self._answered]
            self._answered.update(task["task"] for task in new)
            if new:
                results = [{**named(task), "value": compute(task)} for task in new]
                await self._say(self._connection, "results", results=results)

    async def _say(self, connection: ClientConnection, type: str, **fields: object) -> None:
        await connection.send(json.dumps({"type": type, **fields}))


class Herd:
    """All of them. `handed` counts how often each task was handed to somebody."""

    def __init__(self, url: str, secret: str, count: int, slots: int) -> None:
        self.url = url.replace("http", "ws", 1) + "/agents/connect"
        self.secret = secret
        self.members = [Member(self, number, slots) for number in range(count)]
        self.handed: dict[str, list[str]] = {}

    def note(self, member: Member, task: Frame) -> None:
        self.handed.setdefault(task["task"], []).append(member.name)

    def are_all_in(self, since_s: float = 0.0) -> bool:
        """Whether everybody is connected, and came in after that moment."""
        return all(member.is_in and member.welcomed_s > since_s for member in self.members)

    async def answer(self) -> None:
        for member in self.members:
            await member.answer()


@asynccontextmanager
async def herd(url: str, secret: str, count: int, slots: int) -> AsyncIterator[Herd]:
    """A herd that lives while the block runs."""
    made = Herd(url, secret, count, slots)
    living = [asyncio.create_task(member.live(), name=member.name) for member in made.members]
    try:
        yield made
    finally:
        for one in living:
            one.cancel()
        await asyncio.gather(*living, return_exceptions=True)
