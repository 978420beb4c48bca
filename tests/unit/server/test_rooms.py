"""Rooms of `GET /live`, and the browsers in them: who is told what, and at what cost."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.support.waiting import until

from curta_server import rooms
from curta_server.changed import Changed
from curta_server.channel import PeerGone
from curta_server.errors import Problem
from curta_server.live_messages import Subscribe
from curta_server.rooms import KEPT_MESSAGES, Room, Rooms
from curta_server.sources import Items
from curta_server.viewers import SUBSCRIPTIONS_MAX, Viewer

TOPIC = "operations"


class Data:
    """A source whose items a test sets."""

    pace_s = 0.0
    always = False

    def __init__(self) -> None:
        self.found: Mapping[str, bytes] = {"a": b"1"}
        self.asked = 0
        self.raises: BaseException | None = None
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def items(self) -> Items:
        self.asked += 1
        await self.goes_on.wait()
        if self.raises is not None:
            raise self.raises
        return Items(self.found)


class Browser:
    """The other end of a viewer. `is_reading` says whether it takes what it gets."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[str | bytes] = asyncio.Queue()
        self.got: list[dict[str, Any]] = []
        self.reading = asyncio.Event()
        self.reading.set()

    async def receive(self) -> str | bytes:
        data = await self.incoming.get()
        if data == "gone":
            raise PeerGone(1006, "")
        return data

    def put(self, frame: bytes) -> bool:
        if not self.reading.is_set():
            return False
        head = 2 if frame[1] < 126 else 4 if frame[1] == 126 else 10
        self.got.append(msgspec.json.decode(frame[head:]))
        return True

    async def writable(self) -> None:
        await self.reading.wait()

    def say(self, type: str, topic: str = TOPIC, **window: object) -> None:
        self.incoming.put_nowait(msgspec.json.encode({"type": type, "topic": topic, **window}).decode())

    def seqs(self) -> list[tuple[str, int]]:
        return [(message["type"], message["seq"]) for message in self.got]


class World:
    """Rooms that run, over one source for every topic."""

    def __init__(self) -> None:
        self.data = Data()
        self.changed = Changed()
        self.rooms = Rooms(dict.fromkeys((TOPIC, "stats", "expression"), lambda *_: self.data), self.changed)

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[Browser]:
        browser: Any = Browser()
        viewer = Viewer(browser, self.rooms, None)
        tasks = [asyncio.create_task(viewer.read()), asyncio.create_task(viewer.write())]
        try:
            yield browser
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            viewer.leave()

    async def change(self, **items: bytes) -> None:
        """Something is another, and the room has seen it."""
        asked = self.data.asked
        self.data.found = {**self.data.found, **items}
        self.changed.touch_durations()
        await until(lambda: self.data.asked > asked)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    running = asyncio.create_task(world.rooms.run())
    yield world
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_snapshot_comes_first_then_what_changed_in_order(world: World) -> None:
    async with world.browser() as browser:
        browser.say("subscribe")
        await until(lambda: browser.seqs() == [("snapshot", 0)])
        await world.change(b=b"2")
        await until(lambda: browser.seqs()[1:] == [("delta", 1)])
        assert (browser.got[1]["items"], browser.got[1]["removed"]) == ([2], [])
        world.data.found = {"b": b"3"}
        world.changed.touch_durations()
        await until(lambda: len(browser.got) == 3)
        assert (browser.got[2]["items"], browser.got[2]["removed"]) == ([3], ["a"])


async def test_all_who_look_at_the_same_share_a_room_which_closes_after_the_last(world: World) -> None:
    async with world.browser() as one:
        one.say("subscribe")
        await until(lambda: len(one.got) == 1)
        async with world.browser() as other:
            other.say("subscribe")
            await until(lambda: len(other.got) == 1)
            assert (len(world.rooms), world.data.asked) == (1, 1), "the second costs nothing"
        assert len(world.rooms) == 1
        one.say("unsubscribe")
        await until(lambda: len(world.rooms) == 0)


async def test_who_does_not_read_is_brought_up_to_date_and_holds_nobody_up(world: World) -> None:
    async with world.browser() as slow, world.browser() as quick:
        for browser in (slow, quick):
            browser.say("subscribe")
        await until(lambda: bool(slow.got and quick.got))
        slow.reading.clear()
        for number in range(3):
            await world.change(b=b"%d" % number)
        await until(lambda: len(quick.got) == 4)
        assert len(slow.got) == 1
        slow.reading.set()
        await until(lambda: len(slow.got) == 4)
        assert slow.seqs() == quick.seqs(), "a little behind: the messages that were kept"
        slow.reading.clear()
        for number in range(KEPT_MESSAGES + 1):
            await world.change(b=b"%d" % (number + 10))
        await until(lambda: quick.seqs()[-1] == ("delta", KEPT_MESSAGES + 4))
        slow.reading.set()
        await until(lambda: slow.seqs()[-1] == ("snapshot", KEPT_MESSAGES + 4))
        assert len(slow.got) == 5, "too far behind: one snapshot stands for all"


async def test_a_room_that_cannot_be_served_tells_everybody_and_is_no_more(world: World) -> None:
    async with world.browser() as browser:
        browser.say("subscribe")
        await until(lambda: bool(browser.got))
        world.data.raises = Problem("not_found", "It is gone.")
        world.changed.touch_durations()
        await until(lambda: len(browser.got) == 2)
        assert (browser.got[1]["type"], browser.got[1]["code"]) == ("error", "not_found")
        assert len(world.rooms) == 0


async def test_while_the_database_is_away_a_room_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "AWAY_S", 0.01)
    world.data.raises = ConnectionRefusedError()
    async with world.browser() as browser:
        browser.say("subscribe")
        await until(lambda: world.data.asked > 2)
        assert not browser.got
        world.data.raises = None
        await until(lambda: browser.seqs() == [("snapshot", 0)])


async def test_a_connection_has_so_many_subscriptions_and_nonsense_is_answered(world: World) -> None:
    async with world.browser() as browser:
        browser.say("subscribe", "nothing")
        await until(lambda: [one.get("code") for one in browser.got] == ["not_found"])
        browser.say("subscribe", TOPIC, depth="deep")
        await until(lambda: browser.got[-1].get("code") == "unprocessable")
        browser.say("of a later release")
        browser.say("subscribe", "stats")
        await until(lambda: browser.got[-1]["type"] == "snapshot")
    async with world.browser() as browser:
        for number in range(SUBSCRIPTIONS_MAX + 1):
            browser.say("subscribe", f"expression/{number}")
        await until(lambda: len(browser.got) == SUBSCRIPTIONS_MAX + 1)
        refused = [message for message in browser.got if message["type"] == "error"]
        assert [message["code"] for message in refused] == ["too_many_requests"]
        assert len(world.rooms) == SUBSCRIPTIONS_MAX


async def test_who_leaves_while_its_snapshot_is_made_is_not_told(world: World) -> None:
    world.data.goes_on.clear()
    async with world.browser() as browser:
        browser.say("subscribe")
        await until(lambda: world.data.asked == 1)
        browser.say("unsubscribe")
        await until(lambda: len(world.rooms) == 0)
        world.data.goes_on.set()
        async with world.browser() as other:
            other.say("subscribe")
            await until(lambda: bool(other.got))
    assert not browser.got


def test_a_room_keeps_the_latest_messages_only() -> None:
    room = Room((TOPIC, None, ()), Subscribe(topic=TOPIC), Data())
    assert room.take(Items({"a": b"0"})) is None, "the first time there is the snapshot"
    frames = [room.take(Items({"a": b"%d" % number})) for number in range(1, KEPT_MESSAGES + 3)]
    assert room.take(Items({"a": b"%d" % (KEPT_MESSAGES + 2)})) is None, "nothing changed"
    assert room.seq == len(frames)
    assert room.after(room.seq - 1) == frames[-1]
    assert room.after(room.seq - KEPT_MESSAGES) == frames[-KEPT_MESSAGES]
    assert room.after(room.seq - KEPT_MESSAGES - 1) is None
