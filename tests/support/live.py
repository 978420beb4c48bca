"""A browser's side of `GET /live`: `websockets`, JSON, and what docs/live.md says. It keeps what each topic
shows, and fails where a message is missing or comes twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

SUBPROTOCOL = "curta.live.v1"
KEYS = ("task", "id", "at", "name")
"""What an item is known by: the first of these that it has."""

Message = dict[str, Any]


class Shown:
    """What one topic shows. `snapshots` and `deltas` count the messages."""

    def __init__(self) -> None:
        self.items: dict[str, Message] = {}
        self.next: str | None = None
        self.seq = -1
        self.snapshots = self.deltas = 0

    def take(self, message: Message) -> None:
        if message["type"] == "snapshot":
            self.items.clear()
            self.next = message["next"]
            self.snapshots += 1
        else:
            assert message["seq"] == self.seq + 1, "a message is missing, or came twice"
            self.deltas += 1
            assert message["items"] or message["removed"], "a delta without a difference"
        for item in message["items"]:
            key = next(item[name] for name in KEYS if item.get(name) is not None)
            assert self.items.get(key) != item, "an item that did not change"
            self.items[key] = item
        for key in message.get("removed", ()):
            del self.items[key]
        self.seq = message["seq"]


class LiveClient:
    """One connection. Use as an asynchronous context; messages are taken while a test waits for something."""

    def __init__(self, url: str, secret: str = "", *, headers: Mapping[str, str] | None = None) -> None:
        self.url = url.replace("http", "ws", 1) + "/live"
        self.headers = dict(headers or {})
        if secret:
            self.headers["Authorization"] = f"Bearer {secret}"
        self.shown: dict[str, Shown] = {}
        self.errors: list[Message] = []
        self.beats = 0
        self._connection: ClientConnection | None = None

    async def __aenter__(self) -> Self:
        self._connection = await connect(
            self.url,
            additional_headers=self.headers,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            ping_interval=None,
            proxy=None,
            max_size=None,
            max_queue=2,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.transport.abort()

    @property
    def connection(self) -> ClientConnection:
        assert self._connection is not None
        return self._connection

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def subscribe(self, topic: str, **window: Any) -> Shown:
        """Subscribe, and wait for the snapshot."""
        shown = self.shown[topic] = Shown()
        await self.send(type="subscribe", topic=topic, **window)
        await self.until(lambda: shown.snapshots > 0)
        return shown

    async def take(self) -> Message:
        """The next message, also taken into what is shown. Raises: ConnectionClosed."""
        message: Message = json.loads(await self.connection.recv())
        match message["type"]:
            case "snapshot" | "delta":
                if message["topic"] in self.shown:
                    self.shown[message["topic"]].take(message)
            case "error":
                self.errors.append(message)
            case "beat":
                self.beats += 1
        return message

    async def until(self, condition: Callable[[], bool], *, within_s: float = 10.0) -> float:
        """Take messages until the condition holds; the seconds it took. Fails at the deadline."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    await self.take()
        except TimeoutError:
            raise AssertionError(f"not shown within {within_s:g} s: {self.shown}") from None
        return time.monotonic() - began
