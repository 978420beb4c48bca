"""Rooms of `GET /live`: all browsers that look at the same window of a topic, served together.

A room asks its source again when something changed, compares, and encodes the difference once for everybody
in it. Its messages are numbered; the latest are kept, for who is a little behind, and who is further behind
takes a new snapshot: no browser has a queue of its own. Refreshes run in few tasks, and a room rests several
times as long as its last refresh took, so that many rooms become slower and do not take the orchestrator from
the agents. Made and run by `live`; the sources know the data (`sources`).
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

import msgspec
import structlog

from curta_server import metrics, store
from curta_server.changed import Changed, Touched
from curta_server.channel import frame_of
from curta_server.errors import Problem, unavailable
from curta_server.live_messages import Delta, Snapshot, Subscribe
from curta_server.slices import Slices
from curta_server.sources import Items, Maker, Source

log = structlog.get_logger()

REFRESHERS: Final = 2
"""Of the pool's connections and of the orchestrator's time no more than this is taken for browsers."""

REST_FACTOR: Final = 4.0
"""A room rests so many times as long as its last refresh took."""

SLOW_S: Final = 2.0
"""Behind what is told of changes: what was missed is found this late."""

SWEEP_S: Final = 0.5
AWAY_S: Final = 1.0
"""While the database is away it is tried so often."""

KEPT_MESSAGES: Final = 32
KEPT_BYTES: Final = 1024 * 1024
"""Of the latest messages of a room, for those who are a little behind."""

ROOMS_MAX: Final = 2_000
BYTES_MAX: Final = 512 * 1024 * 1024
"""All rooms together; beyond either, no new one is opened."""

WINDOWS: Final[Mapping[str, tuple[str, ...]]] = {
    "expressions": ("status", "q", "limit", "cursor"),
    "expression": ("root", "depth"),
    "agents": ("limit", "cursor"),
    "operations": (),
    "stats": (),
}
"""The fields of `subscribe` that make a topic's window."""

SAME_FOR_ALL: Final = frozenset({"operations", "stats"})
"""Topics that everybody sees alike."""

Key = tuple[str, str | None, tuple[object, ...]]


class Subscriber(Protocol):
    """One browser's interest in a room."""

    def push(self, seq: int, frame: bytes) -> None:
        """The room's next message, the first time its snapshot. Must not wait: who cannot take it now, asks
        the room later."""

    def ended(self, problem: Problem) -> None:
        """The room is no more."""


class Room:
    """What its source said last, and the messages that led there."""

    def __init__(self, key: Key, subscribe: Subscribe, source: Source) -> None:
        self.key = key
        self.topic = subscribe.topic
        self.source = source
        self.subscribers: dict[Subscriber, None] = {}
        self.seq = 0
        self.bytes = 0
        self.is_filled = False
        self.is_dirty = True
        self.is_scheduled = False
        self.began_s = self.next_s = 0.0
        self._items: Mapping[str, bytes] = {}
        self._next: str | None = None
        self._snapshot: bytes | None = None
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0

    def snapshot(self) -> bytes:
        """Everything, as the frame that any browser gets which asks now."""
        if self._snapshot is None:
            items = [msgspec.Raw(item) for item in self._items.values()]
            message = Snapshot(topic=self.topic, seq=self.seq, items=items, next=self._next)
            self._snapshot = frame_of(_encoder.encode(message))
        return self._snapshot

    def after(self, seq: int) -> bytes | None:
        """The frame of the message after this one; None where it is not kept any more."""
        at = len(self._kept) - (self.seq - seq)
        return self._kept[at] if at >= 0 else None

    def take(self, found: Items) -> bytes | None:
        """What the source says now; the frame of what changed, None where nothing did. The first time nobody
        knows anything yet: who is there takes the snapshot."""
        old, new = self._items, found.items
        if self._next != found.next:
            self._next, self._snapshot = found.next, None
        if self.is_filled:
            changed = [item for key, item in new.items() if old.get(key) != item]
            removed = [key for key in old if key not in new]
            if not changed and not removed:
                return None
        self._items, self._snapshot = new, None
        if not self.is_filled:
            self.is_filled = True
            self.bytes = _weight(new)
            return None
        self.bytes = _weight(new)
        self.seq += 1
        items = [msgspec.Raw(item) for item in changed]
        frame = frame_of(_encoder.encode(Delta(topic=self.topic, seq=self.seq, items=items, removed=removed)))
        self._kept.append(frame)
        self._kept_bytes += len(frame)
        while len(self._kept) > KEPT_MESSAGES or self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft())
        return frame


class Rooms:
    """All rooms of one orchestrator. `makers` are by the topic's first word."""

    def __init__(self, makers: Mapping[str, Maker], changed: Changed) -> None:
        self._makers = makers
        self._changed = changed
        self._rooms: dict[Key, Room] = {}
        self._due: asyncio.Queue[Room] = asyncio.Queue()  # each room once
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._rooms)

    # --- coming and going -------------------------------------------------------------------------

    def join(self, subscriber: Subscriber, subscribe: Subscribe, scope: str | None) -> Room:
        """The room for the window, with the subscriber in it; where it `is_filled`, its snapshot can be had
        at once, else it is pushed. Raises: Problem where the window is none, or there is no room for it."""
        word = subscribe.topic.partition("/")[0]
        maker = self._makers.get(word)
        if maker is None or ("/" in subscribe.topic) != (word == "expression"):
            raise Problem("not_found", "There is no such topic.")
        if word in SAME_FOR_ALL:
            scope = None
        window = (getattr(subscribe, name) for name in WINDOWS[word])
        key = (subscribe.topic, scope, tuple(tuple(one) if isinstance(one, list) else one for one in window))
        room = self._rooms.get(key)
        if room is None:
            if len(self._rooms) >= ROOMS_MAX or self._bytes > BYTES_MAX:
                raise Problem("too_many_requests", "So much is looked at that nothing more can be shown.")
            room = Room(key, subscribe, maker(subscribe, scope))
            if not self._rooms:
                self._changed.look(self._touched)
            self._rooms[key] = room
            metrics.live_rooms.set(len(self._rooms))
            self._stir(room)
        room.subscribers[subscriber] = None
        return room

    def leave(self, room: Room, subscriber: Subscriber) -> None:
        """The subscriber looks no more; the last one closes the room."""
        room.subscribers.pop(subscriber, None)
        if not room.subscribers:
            self._close(room)

    def _close(self, room: Room) -> None:
        if self._rooms.get(room.key) is room:
            del self._rooms[room.key]
            self._bytes -= room.bytes
            metrics.live_rooms.set(len(self._rooms))
            if not self._rooms:
                self._changed.look_away(self._touched)

    def _is_open(self, room: Room) -> bool:
        return self._rooms.get(room.key) is room

    # --- what changed -----------------------------------------------------------------------------

    def _touched(self, touched: Touched) -> None:
        owners = set(touched.expressions.values())
        for room in self._rooms.values():
            word, _, detail = room.topic.partition("/")
            if word == "expressions":
                scope = room.key[1]
                is_concerned = touched.everything or (
                    bool(owners) and (scope is None or None in owners or scope in owners)
                )
            elif word == "expression":
                is_concerned = touched.everything or detail.lower() in touched.expressions
            else:
                is_concerned = word == "operations" and touched.durations
            if is_concerned:
                self._stir(room)

    def _stir(self, room: Room) -> None:
        """Have it refreshed as soon as it may."""
        room.is_dirty = True
        if not room.is_scheduled:
            room.is_scheduled = True
            loop = asyncio.get_running_loop()
            if room.next_s <= loop.time():
                self._due.put_nowait(room)
            else:
                loop.call_at(room.next_s, self._due.put_nowait, room)

    # --- refreshes --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the rooms until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(REFRESHERS):
                tasks.create_task(self._refresh_all(), name="refresh rooms")
            tasks.create_task(self._sweep(), name="sweep rooms")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            before = asyncio.get_running_loop().time() - SLOW_S
            for room in self._rooms.values():
                if room.began_s < before:
                    self._stir(room)

    async def _refresh_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            room = await self._due.get()
            if not self._is_open(room):
                continue
            room.is_dirty = False
            room.began_s = loop.time()
            pace_s = room.source.pace_s
            try:
                await self._refresh(room)
            except Problem as problem:
                self._end(room, problem)
            except Exception as error:
                if store.is_outage(error):
                    pace_s = AWAY_S
                    room.is_dirty = True
                else:
                    log.error("defect", topic=room.topic, exc_info=error)
                    self._end(room, unavailable("This is a defect in the server; its log has the details."))
            now = loop.time()
            took_s = now - room.began_s
            metrics.live_refresh_seconds.observe(took_s)
            room.next_s = max(room.began_s + pace_s, now + REST_FACTOR * took_s)
            room.is_scheduled = False
            if self._is_open(room) and (room.is_dirty or room.source.always):
                self._stir(room)

    async def _refresh(self, room: Room) -> None:
        found = await room.source.items()
        if not self._is_open(room):
            return
        was_filled, before = room.is_filled, room.bytes
        frame = room.take(found)
        self._bytes += room.bytes - before
        if not was_filled:
            frame = room.snapshot()
        if frame is None:
            return
        seq, slices = room.seq, Slices()
        for subscriber in list(room.subscribers):
            if subscriber in room.subscribers:  # not gone meanwhile
                subscriber.push(seq, frame)
                await slices.turn()

    def _end(self, room: Room, problem: Problem) -> None:
        """The topic cannot be served (any more): all who look are told, and the room is closed."""
        subscribers: Iterable[Subscriber] = list(room.subscribers)
        room.subscribers.clear()
        self._close(room)
        for subscriber in subscribers:
            subscriber.ended(problem)


def _weight(items: Mapping[str, bytes]) -> int:
    return sum(len(item) for item in items.values()) + 200 * len(items)


_encoder: Final = msgspec.json.Encoder()
