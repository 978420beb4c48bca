"""Agents of our own that write down every attempt they are handed, and when they were there.

Their connections go straight to the orchestrators and break only when a fault breaks them on purpose, so that
one can say: this agent lived and was connected, and nobody else should have been handed its task. They follow
the protocol's page and share no code with the product's agent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.chaos.chronicle import Chronicle
from tests.support.foreign import ForeignAgent, Frame, compute

SLOTS = 4
BEAT_S = 1.0
AGAIN_S = 0.2
OPENS_S = 2.0
"""How long an orchestrator may take to let it in: one that is frozen is not waited for."""

Named = tuple[str, int]


class _Left(Exception):
    """The session is over because the witness goes elsewhere."""


@dataclass(slots=True)
class Hold:
    """One attempt in a witness's hands. Times are seconds since 1970, by the clock that PostgreSQL shares."""

    agent: str
    task: str
    attempt: int
    duration_s: float
    came_at: float
    went_at: float = float("inf")
    """When its result was sent, or the orchestrator took it away."""
    acked_at: float = float("inf")
    """When the orchestrator said that its result may be forgotten."""


@dataclass(slots=True)
class Visit:
    """One session of a witness, from the welcome to its end. `epoch` is 0 while no task has told it."""

    agent: str
    came_at: float
    went_at: float = float("inf")
    epoch: int = 0


class Witness:
    """One agent. `urls` are the orchestrators' own; `doors` says whose door a redirect names."""

    def __init__(
        self, number: int, urls: Sequence[str], doors: Mapping[str, str], secret: str, chronicle: Chronicle
    ) -> None:
        self.name = f"witness-{number}"
        self.holds: list[Hold] = []
        self.visits: list[Visit] = []
        self.longest_pause_s = 0.0
        """Between two beats: much more than BEAT_S means that this process itself was asleep."""
        self._urls = urls
        self._doors = doors
        self._agent = ForeignAgent(urls[0], secret, slots=SLOTS, name=self.name)
        self._chronicle = chronicle
        self._held: dict[Named, Hold] = {}
        """What it computes or has computed, until it is acknowledged."""
        self._computing: dict[Named, asyncio.Task[None]] = {}
        self._results: dict[Named, Frame] = {}
        self._said: set[Named] = set()
        """Results that were sent on this connection."""
        self._news = asyncio.Event()
        self._is_leaving = asyncio.Event()
        self._left_open: list[ForeignAgent] = []

    @property
    def id(self) -> str:
        return self._agent.id

    async def run(self) -> None:
        """Serve until cancelled; then nothing of it is left."""
        turn = 0
        try:
            while True:
                url = self._urls[turn % len(self._urls)]
                first = await self._enter(url)
                if first["type"] == "welcome":
                    # In a task of its own: on Python 3.11 a group whose child failed leaves its task marked
                    # as being cancelled, and a later timeout in it would let the cancellation through.
                    await asyncio.create_task(self._serve(first))
                elif first["type"] == "redirect":
                    turn = self._urls.index(self._doors[first["url"].rstrip("/")])
                else:
                    turn += 1
                if self._is_leaving.is_set():
                    self._is_leaving.clear()
                    self._left_open.append(self._agent)
                    self._agent = self._agent.twin()
                else:
                    await self._agent.cut()
                    await asyncio.sleep(AGAIN_S)
        finally:
            for task in self._computing.values():
                task.cancel()
            for agent in (self._agent, *self._left_open):
                await agent.cut()

    def break_connection(self) -> None:
        """Without a word; it comes back by itself."""
        if self._agent.is_connected:
            self._agent.connection.transport.abort()

    def leave_connection_open(self) -> None:
        """Come back on another connection while the orchestrator believes in the old one, as happens when a
        network changes; it is the orchestrator who closes the old one."""
        self._is_leaving.set()

    async def _enter(self, url: str) -> Frame:
        """Say hello: the first frame in return, or `{"type": "nothing"}`."""
        self._agent.url = url.replace("http", "ws", 1) + "/agents/connect"
        try:
            async with asyncio.timeout(OPENS_S):
                await self._agent.open()
                held = [_frame(name) for name in self._held]
                await self._agent.hello(held=held)
                return await self._agent.receive()
        except (OSError, TimeoutError, InvalidHandshake, InvalidMessage, ConnectionClosed, EOFError):
            return {"type": "nothing"}

    async def _serve(self, welcome: Frame) -> None:
        visit = Visit(self.id, time.time())
        self.visits.append(visit)
        for one in welcome["drop"]:
            self._take_away(_name(one))
        self._said.clear()
        self._news.set()
        try:
            async with asyncio.TaskGroup() as session:
                session.create_task(self._read(visit, welcome["lease_s"]))
                session.create_task(self._write())
                session.create_task(self._leave())
        except* (OSError, TimeoutError, ConnectionClosed, _Left):
            pass
        finally:
            visit.went_at = time.time()

    async def _read(self, visit: Visit, lease_s: float) -> None:
        while True:
            frame = await self._agent.receive(within_s=lease_s)
            match frame["type"]:
                case "tasks":
                    for task in frame["tasks"]:
                        visit.epoch = task["attempt"] >> 20
                        self._begin(task)
                case "ack":
                    for one in frame["tasks"]:
                        self._acked(_name(one))
                case "cancel":
                    for one in frame["tasks"]:
                        self._cancel(one)
                case "redirect":
                    raise _Left

    async def _write(self) -> None:
        last_beat = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(max(0.0, last_beat + BEAT_S - time.monotonic())):
                    await self._news.wait()
                    self._news.clear()
            except TimeoutError:
                pass
            unsaid = [name for name in self._results if name not in self._said]
            if unsaid:
                self._said.update(unsaid)
                await self._agent.send("results", results=[self._results[name] for name in unsaid])
                for name in unsaid:
                    self._went(name)
            if time.monotonic() >= last_beat + BEAT_S:
                self.longest_pause_s = max(self.longest_pause_s, time.monotonic() - last_beat)
                last_beat = time.monotonic()
                await self._agent.beat([_frame(name) for name in self._held])

    async def _leave(self) -> None:
        await self._is_leaving.wait()
        raise _Left

    # --- attempts ---------------------------------------------------------------------------------

    def _begin(self, task: Frame) -> None:
        name = _name(task)
        if name in self._held:
            self._chronicle.finding(f"{self.name} was handed {name} twice")
            return
        if len(self._computing) >= SLOTS:
            self._chronicle.finding(f"{self.name} was handed more tasks than it has free slots")
        hold = Hold(self.id, *name, task["duration_ms"] / 1000, time.time())
        self.holds.append(hold)
        self._held[name] = hold
        self._computing[name] = asyncio.create_task(self._compute(name, task))

    async def _compute(self, name: Named, task: Frame) -> None:
        await asyncio.sleep(task["duration_ms"] / 1000)
        try:
            outcome: Frame = {"value": compute(task)}
        except ZeroDivisionError:
            outcome = {"error": {"code": "division_by_zero", "message": "by zero"}}
        del self._computing[name]
        self._say(name, outcome)

    def _say(self, name: Named, outcome: Frame) -> None:
        self._results[name] = {**_frame(name), **outcome}
        self._said.discard(name)
        self._news.set()

    def _cancel(self, one: Frame) -> None:
        """Answered in any case: by the result where there is one."""
        name = _name(one)
        if name in self._results:
            self._said.discard(name)
            self._news.set()
        else:
            self._stop(name)
            self._went(name)
            self._say(name, {"error": {"code": "cancelled", "message": "as asked"}})

    def _acked(self, name: Named) -> None:
        if "value" in self._results.get(name, ()):
            self._held[name].acked_at = time.time()
        self._forget(name)

    def _take_away(self, name: Named) -> None:
        self._went(name)
        self._forget(name)

    def _forget(self, name: Named) -> None:
        self._stop(name)
        self._results.pop(name, None)
        self._said.discard(name)
        self._held.pop(name, None)

    def _stop(self, name: Named) -> None:
        if name in self._computing:
            self._computing.pop(name).cancel()

    def _went(self, name: Named) -> None:
        hold = self._held.get(name)
        if hold is not None and hold.went_at == float("inf"):
            hold.went_at = time.time()


def _name(frame: Frame) -> Named:
    return frame["task"], frame["attempt"]


def _frame(name: Named) -> Frame:
    return {"task": name[0], "attempt": name[1]}
