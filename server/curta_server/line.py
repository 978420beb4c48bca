"""One connection from a follower to the leader: numbered asks go out, answers and ends come in.

Made by `following` for as long as the connection lasts; what comes of an end is the feed's. It is full when
too many asks are without an answer, and then refuses: the table has to do.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection

from curta_server.feed import Feed
from curta_server.peer_frames import (
    BEAT_S,
    SILENCE_S,
    AgentsFound,
    AskAgents,
    AskStarted,
    AskStats,
    Beat,
    Changed,
    Finals,
    FollowerFrame,
    ProgressFound,
    StartedFound,
    StatsFound,
    TasksFound,
    Watch,
    decode_from_leader,
    encode,
)

ASK_S: Final = 1.0
"""Who looks at an expression waits for the leader no longer than this."""
ASKS_MAX: Final = 1_000
"""Without an answer yet, at a time; beyond, the table has to do."""
NEWER: Final = (AskAgents, AskStarted, AskStats)
"""Asks that a leader of an earlier release ignores …"""
IGNORED_S: Final = 5.0
"""… and is then not asked again for so long."""


class Unanswered(Exception):
    """The leader cannot be asked, or has not answered in time."""


class LineEnded(Exception):
    """A connection to the leader is over; the message says why."""


class Line:
    """One connection to the leader: asks go out, answers and ends come in."""

    def __init__(self, connection: ClientConnection, feed: Feed) -> None:
        self._connection = connection
        self._feed = feed
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._asks: dict[int, FollowerFrame] = {}
        """Not sent yet."""
        self._wake = asyncio.Event()
        self._is_doubted = False
        """An ask was not answered in time, and nothing was heard since."""
        self._ignored_s: dict[type[FollowerFrame], float] = {}
        """When a newer ask was not answered."""
        self._watch: Watch | None = None
        """Not said yet."""

    async def ask(self, ask: Callable[[int], FollowerFrame]) -> Any:
        """What the leader answers. Raises: Unanswered, after ASK_S at most; at once where others have waited
        so long in vain."""
        if self._is_doubted or len(self._answers) >= ASKS_MAX:
            raise Unanswered("the leader does not answer")
        n = next(self._numbers)
        frame = ask(n)
        kind = type(frame)
        if time.monotonic() - self._ignored_s.get(kind, -IGNORED_S) < IGNORED_S:
            raise Unanswered("the leader does not answer this")
        self._asks[n] = frame
        self._answers[n] = asyncio.get_running_loop().create_future()
        self._wake.set()
        try:
            async with asyncio.timeout(ASK_S):
                return await self._answers[n]
        except TimeoutError:
            if kind in NEWER:
                self._ignored_s[kind] = time.monotonic()
            else:
                self._is_doubted = True
            raise Unanswered("the leader does not answer in time") from None
        finally:
            del self._answers[n]
            self._asks.pop(n, None)

    def watch(self, on: bool) -> None:
        """Have the leader tell what changes, or no more. Never waits."""
        self._watch = Watch(on)
        self._wake.set()

    async def read(self) -> None:
        """Take what the leader says. Raises: LineEnded, ConnectionClosed, Malformed."""
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    data = await self._connection.recv()
            except TimeoutError:
                raise LineEnded(f"nothing was heard for {SILENCE_S:g} s") from None
            self._is_doubted = False
            match decode_from_leader(data):
                case (
                    ProgressFound(n, found)
                    | StartedFound(n, found)
                    | TasksFound(n, found)
                    | AgentsFound(n, found)
                    | StatsFound(n, found)
                ):
                    answer = self._answers.get(n)
                    if answer is not None and not answer.done():
                        answer.set_result(found)
                case Finals(expressions):
                    for expression in expressions:
                        self._feed.publish_final(expression)
                case Changed(expressions, is_any):
                    for owner, expression in expressions:
                        self._feed.changed.touch(owner, expression)
                    if is_any:
                        self._feed.changed.touch_everything()

    async def write(self) -> None:
        """Send asks, and beats where there are none. Raises: LineEnded, ConnectionClosed."""
        while True:
            try:
                async with asyncio.timeout(BEAT_S):
                    await self._wake.wait()
            except TimeoutError:
                await self._send(Beat())
            self._wake.clear()
            if self._watch is not None:
                watch, self._watch = self._watch, None
                await self._send(watch)
            while self._asks:
                await self._send(self._asks.pop(next(iter(self._asks))))

    async def _send(self, frame: FollowerFrame) -> None:
        try:
            async with asyncio.timeout(SILENCE_S):
                await self._connection.send(encode(frame))
        except TimeoutError:
            raise LineEnded("the leader does not read") from None

    def give_up(self) -> None:
        """Nobody answers any more."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Unanswered("the connection to the leader broke"))
