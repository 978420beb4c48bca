"""Connections between agents and orchestrators: ordered within one, in any order between them.

Like TCP, a connection never loses a frame in its middle: it is delayed, it falls silent in one direction or
in both, or it breaks and takes with it what was under way. What an old connection still carries may arrive
after a new one's first words.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from curta_server.channel import PeerGone, frame_of
from curta_wire.codec import decode_from_server
from tests.simulation.loops import World
from tests.support.frames import text_of

if TYPE_CHECKING:
    from tests.simulation.agents import Agent
    from tests.simulation.orchestrators import Orchestrator

UNREAD_MAX = 40
"""Frames that fit into the buffers of a connection whose other end does not read."""


class Line:
    """One direction."""

    def __init__(self, world: World, deliver: Callable[[Any], None]) -> None:
        self._world = world
        self._deliver = deliver
        self._last_s = 0.0
        self._held: list[Any] | None = None
        self.held_s: float | None = None
        """Since when nothing gets through."""
        self.under_way = 0

    def send(self, frame: Any) -> None:
        world = self._world
        self._last_s = max(self._last_s, world.now + 0.0002 + 0.002 * world.random.random())
        self.under_way += 1
        world.at(self._last_s - world.now, self._arrive, frame)

    def _arrive(self, frame: Any) -> None:
        if self._held is not None:
            self._held.append(frame)
        else:
            self.under_way -= 1
            self._deliver(frame)

    @property
    def is_held(self) -> bool:
        return self._held is not None

    def hold(self) -> None:
        if self._held is None:
            self._held = []
            self.held_s = self._world.now

    def release(self) -> None:
        held, self._held = self._held or [], None
        self.held_s = None
        for frame in held:
            self.under_way -= 1
            self._deliver(frame)


class Closing:
    """A close frame on its way."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


class Channel:
    """One WebSocket; the orchestrator's end has the methods of `curta_server.channel.Channel`."""

    def __init__(self, world: World, agent: "Agent", orchestrator: "Orchestrator") -> None:
        self.world = world
        self.agent = agent
        self.orchestrator = orchestrator
        self.up = Line(world, self._to_server)
        self.down = Line(world, self._to_agent)
        self.is_broken = False
        self.heard_s = world.now
        """When the orchestrator heard anything last."""
        self.ended_s: float | None = None
        """When the orchestrator learnt that it is over, or ended it."""
        self.served_s = 0.0
        """When the orchestrator let it in."""
        self.is_closed_by_server = False
        self.said_bye = False
        self.was_full = False
        """What the orchestrator says had to wait: it may be out of date."""
        self.on_part: Callable[[], None] = lambda: None
        self._inbox: deque[Any] = deque()
        self._reader: asyncio.Future[Any] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._over: PeerGone | None = None

    @property
    def is_silent(self) -> bool:
        return self.up.is_held or self.down.is_held

    # --- the orchestrator's end -------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        while not self._inbox:
            if self._over is not None:
                raise self._over
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        frame: str = self._inbox.popleft()
        return frame

    async def send(self, text: str) -> None:
        frame = frame_of(text.encode())
        while self._over is None and not self.put(frame):
            with suppress(PeerGone):
                await self.writable()

    def put(self, frame: bytes) -> bool:
        if self._over is not None:
            return False
        if self.down.under_way > UNREAD_MAX:
            self.was_full = True
            return False
        if not self.is_broken:  # else it goes nowhere, and nobody knows yet
            said = decode_from_server(text_of(frame))
            self.orchestrator.promises.said(self, said)
            self.down.send(said)
        return True

    async def writable(self) -> None:
        while self.down.under_way > UNREAD_MAX and self._over is None:
            self._writer = asyncio.get_running_loop().create_future()
            try:
                await self._writer
            finally:
                self._writer = None
        if self._over is not None:
            raise self._over

    async def close(self, code: int, reason: str) -> None:
        if self.ended_s is None:
            self.ended_s = self.world.now
            self.is_closed_by_server = True
        if self._over is None and not self.is_broken:
            self.down.send(Closing(code, reason))

    def _to_server(self, frame: Any) -> None:
        if self.orchestrator.loop.is_dead or self._over is not None:
            return
        if isinstance(frame, PeerGone):
            self._end(frame)
            return
        self._inbox.append(frame)
        self.heard_s = self.world.now
        self._wake(self._reader)

    def _end(self, gone: PeerGone) -> None:
        if self._over is None:
            self._over = gone
            if self.ended_s is None:
                self.ended_s = self.world.now
            self._wake(self._reader)
            self._wake(self._writer)

    def _wake(self, future: "asyncio.Future[Any] | None") -> None:
        if future is not None and not self.orchestrator.loop.is_dead:
            self.orchestrator.loop.call_soon(_settle, future)

    # --- the agent's end --------------------------------------------------------------------------

    def say(self, text: str) -> None:
        if not self.is_broken:
            self.up.send(text)

    def leave(self, code: int = 1000) -> None:
        """The agent closes it."""
        if not self.is_broken:
            self.is_broken = True
            self.up.send(PeerGone(code, ""))

    def _to_agent(self, frame: Any) -> None:
        if not self.is_broken:
            self.agent.hear(self, frame)
        if self._writer is not None:
            self._wake(self._writer)

    # --- the network ------------------------------------------------------------------------------

    def cut(self) -> None:
        """Both ends learn of it, each at once; what was under way is lost."""
        if not self.is_broken:
            self.is_broken = True
            self.up.release()
            self._end(PeerGone(1006, "cut"))
            self.world.at(0.001, self.agent.lose, self)

    def hold(self, *, up: bool, down: bool) -> None:
        if up:
            self.up.hold()
        if down:
            self.down.hold()

    def release(self) -> None:
        self.up.release()
        self.down.release()


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
