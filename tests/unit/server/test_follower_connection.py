"""The leader's side of the live connection: followers that ask, are slow, fall silent, or talk nonsense."""

import asyncio
from typing import Any, cast

import pytest
from tests.support.fakes import FakeDispatcher
from tests.support.waiting import until

from curta_server import followers
from curta_server.changed import Changed as Hub
from curta_server.channel import PeerGone
from curta_server.core.plan import Plan
from curta_server.followers import Follower, FollowerEnded
from curta_server.peer_frames import (
    AskProgress,
    AskTasks,
    Beat,
    Changed,
    Finals,
    Malformed,
    ProgressFound,
    TasksFound,
    Watch,
    decode_from_leader,
    encode,
)
from curta_server.views import Progress, TaskState

ID = "01926f3e-8d3c-7b1a-9c55-2f6f0b7f6a10"


class Line:
    """A channel whose other end is the test."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[str] = asyncio.Queue()
        self.sent: list[Any] = []
        self.reads = asyncio.Event()
        self.reads.set()

    async def receive(self) -> str:
        data = await self.incoming.get()
        if data == "gone":
            raise PeerGone(1006, "")
        return data

    async def send(self, text: str) -> None:
        await self.reads.wait()
        self.sent.append(decode_from_leader(text))

    async def close(self, code: int, reason: str) -> None: ...


class World:
    def __init__(self) -> None:
        self.line, self.dispatcher, self.changed = Line(), FakeDispatcher(), Hub()
        self.follower = Follower(self.line, cast("Any", self.dispatcher), self.changed)

    async def reading(self, *frames: str) -> None:
        """Read these, and then the end."""
        for frame in (*frames, "gone"):
            self.line.incoming.put_nowait(frame)
        with pytest.raises(PeerGone):
            await self.follower.read()


@pytest.fixture
def world() -> World:
    return World()


async def test_what_is_in_memory_is_said_and_the_rest_left_out(world: World) -> None:
    progress = Progress("running", 1, 1, None, None, None)
    world.dispatcher.progresses = {"a": progress}
    world.dispatcher.states = {"a": {0: TaskState("ready")}}
    world.dispatcher.plans = {"a": cast("Plan", [0])}
    await world.reading(
        encode(AskProgress(1, ["a", "b"])),
        encode(AskTasks(2, "a", [0, 1, 999])),
        encode(AskTasks(3, "b", [0])),
        '{"type": "of another release", "n": 4}',
        encode(Beat()),
    )
    assert world.line.sent == [
        ProgressFound(1, {"a": progress}),
        TasksFound(2, {0: TaskState("ready")}),
        TasksFound(3, None),
    ]


async def test_tasks_that_no_plan_has_are_not_looked_up(world: World) -> None:
    asked: list[list[int]] = []
    world.dispatcher.plans = {"a": cast("Plan", [0, 0])}
    world.dispatcher.task_states = lambda _, tasks: asked.append(list(tasks)) or {}  # type: ignore[assignment, func-returns-value]
    await world.reading(encode(AskTasks(2, "a", [0, 1, 2])))
    assert asked == [[0, 1]]


async def test_nonsense_ends_the_connection(world: World) -> None:
    world.line.incoming.put_nowait('{"type": "progress"}')
    with pytest.raises(Malformed):
        await world.follower.read()


async def test_who_is_not_heard_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "SILENCE_S", 0.02)
    with pytest.raises(FollowerEnded, match="nothing was heard"):
        await world.follower.read()


async def test_who_does_not_read_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "SILENCE_S", 0.02)
    world.line.reads.clear()
    world.follower.note_final(ID)
    with pytest.raises(FollowerEnded, match="does not read"):
        await world.follower.write()


async def test_ends_go_out_together_and_beats_where_there_are_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "BEAT_S", 0.02)
    monkeypatch.setattr(followers, "FINALS_MAX", 2)
    for name in "abc":
        world.follower.note_final(name)
    writing = asyncio.create_task(world.follower.write())
    await until(lambda: Beat() in world.line.sent)
    assert world.line.sent[:3] == [Finals(["a", "b"]), Finals(["c"]), Beat()]
    writing.cancel()


async def test_who_is_too_far_behind_is_given_up_and_fills_no_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "WAITING_FINALS_MAX", 10)
    for _ in range(100):
        world.follower.note_final(ID)
    assert len(world.follower._finals) == 11
    with pytest.raises(FollowerEnded, match="too slow"):
        await world.follower.write()


async def test_changes_are_told_while_the_follower_watches(world: World) -> None:
    telling = asyncio.create_task(world.follower.tell_changes())
    assert not world.changed.is_looked_at
    await world.reading(encode(Watch(True)), encode(Watch(True)))
    assert world.changed.is_looked_at
    world.changed.touch("anna", "a")
    world.changed.touch(None, "")
    await until(lambda: world.line.sent == [Changed([("anna", "a"), (None, "")])])
    await world.reading(encode(Watch(False)))
    assert not world.changed.is_looked_at
    await world.reading(encode(Watch(True)))
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    assert not world.changed.is_looked_at, "who is gone looks no more"


async def test_changes_gather_while_the_follower_is_slow_and_are_all_beyond_a_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "CHANGED_EVERY_S", 0.0)
    monkeypatch.setattr(followers, "CHANGED_MAX", 10)
    await world.reading(encode(Watch(True)))
    world.line.reads.clear()
    telling = asyncio.create_task(world.follower.tell_changes())
    world.changed.touch("anna", "first")
    await until(lambda: not world.follower._has_changes.is_set() and not world.changed._expressions)
    for number in range(100):
        world.changed.touch("anna", str(number))
    await until(lambda: world.follower._is_any_touched)
    assert not world.follower._touched
    world.line.reads.set()
    await until(lambda: len(world.line.sent) == 2)
    assert world.line.sent == [Changed([("anna", "first")]), Changed(all=True)]
    telling.cancel()
