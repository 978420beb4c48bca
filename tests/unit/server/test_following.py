"""The follower's side of the live connection: leaders that answer, fall silent, talk nonsense, and go."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from tests.support.waiting import until
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from curta_server import following, line, store
from curta_server.changed import Touched
from curta_server.feed import Feed
from curta_server.following import Following, websocket_url
from curta_server.leadership import Leader
from curta_server.line import Unanswered
from curta_server.peer_frames import SUBPROTOCOL
from curta_server.views import Progress

ID = "01926f3e-8d3c-7b1a-9c55-2f6f0b7f6a10"
PROGRESS = {
    "status": "running", "done": 1, "running": 2, "eta_s": None, "waiting_for": None, "started_at_us": 7,
}  # fmt: skip

Script = Callable[[ServerConnection], Awaitable[None]]


class Election:
    """Who leads, as a test says."""

    def __init__(self) -> None:
        self.leader: Leader | None = None
        self.other: Leader | None = None
        self._changed = asyncio.Event()

    def choose(self, leader: Leader | None, *, itself: bool = False) -> None:
        self.leader, self.other = leader, None if itself else leader
        self._changed.set()
        self._changed = asyncio.Event()

    async def other_than(self, leader: Leader | None) -> Leader | None:
        while self.leader == leader:
            await self._changed.wait()
        return self.leader


class Table:
    """The ends that are in the table; `asked` counts."""

    def __init__(self) -> None:
        self.finals: dict[UUID, str] = {}
        self.asked = 0
        self.is_away = False

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[None]:
        if self.is_away:
            raise ConnectionRefusedError
        yield

    async def final_statuses(self, _: object, ids: Iterable[UUID]) -> dict[UUID, str]:
        self.asked += 1
        return {id: self.finals[id] for id in ids if id in self.finals}


class World:
    def __init__(self) -> None:
        self.election, self.table, self.feed = Election(), Table(), Feed()
        self.following = Following(
            self.election, self.feed, cast("Any", self.table), ssl.create_default_context()
        )


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World()
    monkeypatch.setattr(store, "final_statuses", made.table.final_statuses)
    async with running(made):
        yield made


@asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    task = asyncio.create_task(world.following.run())
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@asynccontextmanager
async def leader(script: Script, epoch: int = 1) -> AsyncIterator[Leader]:
    """Somebody who leads, and treats each follower's connection as told."""

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.path == "/peers/connect"
        assert connection.request.headers["Authorization"] == "Bearer the secret"
        await script(connection)

    async with serve(
        handle, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)], compression=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield Leader(epoch, uuid4(), f"http://127.0.0.1:{port}", "the secret")


async def asks(connection: ServerConnection) -> AsyncIterator[dict[str, Any]]:
    async for data in connection:
        frame = json.loads(data)
        if frame["type"] != "beat":
            yield frame


async def answer_all(connection: ServerConnection) -> None:
    async for frame in asks(connection):
        found = {id: PROGRESS for id in frame["expressions"]} if frame["type"] == "progress" else {}
        await connection.send(json.dumps({"type": frame["type"], "n": frame["n"], "found": found}))


async def keep_silent(connection: ServerConnection) -> None:
    async for _ in connection:
        pass


async def test_asks_are_answered_in_whatever_order(world: World) -> None:
    async def answer_in_reverse(connection: ServerConnection) -> None:
        frames = []
        async for frame in asks(connection):
            frames.append(frame)
            if len(frames) == 3:
                for one in reversed(frames):
                    found = {one["expressions"][0]: PROGRESS}
                    await connection.send(json.dumps({"type": "progress", "n": one["n"], "found": found}))

    async with leader(answer_in_reverse) as one:
        world.election.choose(one)
        await until(lambda: world.following.is_connected)
        found = await asyncio.gather(*(world.following.progress([name]) for name in "abc"))
    expected = Progress("running", 1, 2, None, None, 7)
    assert found == [{"a": expected}, {"b": expected}, {"c": expected}]


async def test_many_expressions_are_several_asks(world: World) -> None:
    async with leader(answer_all) as one:
        world.election.choose(one)
        await until(lambda: world.following.is_connected)
        names = [str(number) for number in range(following.EXPRESSIONS_MAX + 1)]
        assert list(await world.following.progress(names)) == names
        assert await world.following.task_states(ID, [1]) == {}


async def test_nobody_is_asked_without_a_connection(world: World) -> None:
    for _ in range(2):
        with pytest.raises(Unanswered):
            await world.following.progress([ID])
        world.election.choose(Leader(1, uuid4(), "http://127.0.0.1:1", "the secret"))


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://localhost", "http://[::1", "http://localhost:99999", "http://x\0y"]
)
async def test_a_leader_whose_url_is_none_is_no_reason_to_die(world: World, url: str) -> None:
    world.election.choose(Leader(1, uuid4(), url, "the secret"))
    with pytest.raises(Unanswered):
        await world.following.progress([ID])
    async with leader(answer_all, 2) as next_one:
        world.election.choose(next_one)
        await until(lambda: world.following.is_connected)
        assert await world.following.progress([ID])


async def test_an_ask_in_vain_costs_one_wait_and_the_next_ones_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "ASK_S", 0.2)
    speak = asyncio.Event()

    async def answer_late(connection: ServerConnection) -> None:
        await speak.wait()
        await connection.send('{"type": "beat"}')
        await answer_all(connection)

    async with leader(answer_late) as one:
        world.election.choose(one)
        await until(lambda: world.following.is_connected)
        began = time.monotonic()
        with pytest.raises(Unanswered):
            await world.following.progress([ID])
        assert 0.15 < time.monotonic() - began < 1
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(Unanswered):
                await world.following.progress([ID])
        assert time.monotonic() - began < 0.15
        speak.set()

        async def is_answered() -> bool:
            try:
                return bool(await world.following.progress([ID]))
            except Unanswered:
                return False

        await until(is_answered)


async def test_too_many_asks_at_a_time_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "ASKS_MAX", 2)
    monkeypatch.setattr(line, "ASK_S", 0.1)
    async with leader(keep_silent) as one:
        world.election.choose(one)
        await until(lambda: world.following.is_connected)
        found = await asyncio.gather(
            *(world.following.progress([ID]) for _ in range(3)), return_exceptions=True
        )
        assert [str(one) for one in found] == [
            "the leader does not answer in time",
            "the leader does not answer in time",
            "the leader does not answer",
        ]


async def test_a_connection_that_breaks_answers_nobody_and_is_made_again(world: World) -> None:
    connections = 0

    async def hang_up_once(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        if connections > 1:
            await answer_all(connection)
        async for _ in asks(connection):
            connection.transport.abort()

    async with leader(hang_up_once) as one:
        world.election.choose(one)
        await until(lambda: world.following.is_connected)
        with pytest.raises(Unanswered, match="broke"):
            await world.following.progress([ID])
        await until(lambda: connections == 2 and world.following.is_connected)
        assert await world.following.progress([ID])


@pytest.mark.parametrize("nonsense", ["{}", "no json", b"\xff"])
async def test_a_leader_that_talks_nonsense_is_left_and_tried_again(
    world: World, nonsense: str | bytes
) -> None:
    connections = 0

    async def talk(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await connection.send(nonsense if connections == 1 else '{"type": "of another release"}')
        await answer_all(connection)

    async with leader(talk) as one:
        world.election.choose(one)
        await until(lambda: connections == 2 and world.following.is_connected)
        assert await world.following.progress([ID])


async def test_a_leader_that_is_not_heard_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "SILENCE_S", 0.2)
    connections = 0

    async def say_nothing(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await keep_silent(connection)

    async with leader(say_nothing) as one:
        world.election.choose(one)
        await until(lambda: connections >= 3)


async def test_beats_go_out_while_nothing_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "BEAT_S", 0.02)
    heard: list[str] = []

    async def listen(connection: ServerConnection) -> None:
        while True:
            heard.append(str(await connection.recv()))

    async with leader(listen) as one:
        world.election.choose(one)
        await until(lambda: len(heard) > 3)
    assert set(heard) == {'{"type":"beat"}'}


async def test_ends_wake_whoever_waits(world: World) -> None:
    async def tell(connection: ServerConnection) -> None:
        await connection.send(json.dumps({"type": "finals", "expressions": ["other", ID]}))
        await keep_silent(connection)

    with world.feed.watch(ID) as watch:
        async with leader(tell) as one:
            world.election.choose(one)
            async with asyncio.timeout(5):
                await watch.wait(60)


async def test_another_leader_is_followed_as_soon_as_it_is_known(world: World) -> None:
    reached: list[ServerConnection] = []

    async def note(connection: ServerConnection) -> None:
        reached.append(connection)
        await keep_silent(connection)

    async with leader(answer_all) as first, leader(note, 2) as second:
        world.election.choose(first)
        await until(lambda: world.following.is_connected)
        world.election.choose(None)
        await asyncio.sleep(0)
        assert await world.following.progress([ID]), "nobody known is not somebody else"
        world.election.choose(second)
        await until(lambda: bool(reached), within_s=2)
        await until(lambda: world.following.is_connected)
        world.election.choose(Leader(3, uuid4(), "itself"), itself=True)
        await until(lambda: not world.following.is_connected, within_s=2)


async def test_while_nobody_tells_the_table_is_looked_up_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "POLL_S", 0.02)
    world = World()
    monkeypatch.setattr(store, "final_statuses", world.table.final_statuses)
    with world.feed.watch(ID) as watch:
        async with running(world):
            await until(lambda: world.table.asked > 3)
            world.table.is_away = True
            world.table.finals[UUID(ID)] = "done"
            asked = world.table.asked
            await watch.wait(0.1)
            assert world.table.asked == asked
            world.table.is_away = False
            async with asyncio.timeout(5):
                await watch.wait(60)


async def test_every_gap_ends_with_one_look_into_the_table(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "POLL_S", 60.0)
    with world.feed.watch(ID) as watch:
        async with leader(keep_silent) as one:
            world.election.choose(one)
            await until(lambda: world.following.is_connected and world.table.asked > 0)
            world.table.finals[UUID(ID)] = "done"
        # The leader went away; nobody said that the expression ended.
        async with asyncio.timeout(5):
            await watch.wait(60)


async def test_who_leads_looks_once_for_what_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_S", 60.0)
    world = World()
    monkeypatch.setattr(store, "final_statuses", world.table.final_statuses)
    with world.feed.watch(ID) as watch:
        async with running(world):
            await until(lambda: world.table.asked > 0)
            world.table.finals[UUID(ID)] = "failed"
            world.election.choose(Leader(3, uuid4(), "itself"), itself=True)
            async with asyncio.timeout(5):
                await watch.wait(60)
            asked = world.table.asked
            await watch.wait(0.05)
            assert world.table.asked == asked


def test_the_connection_is_where_the_leader_says() -> None:
    assert websocket_url("http://10.0.0.7:8080") == "ws://10.0.0.7:8080/peers/connect"
    assert websocket_url("https://[::1]/curta/") == "wss://[::1]/curta/peers/connect"


async def test_a_leader_of_an_earlier_release_is_asked_new_things_now_and_then_and_old_ones_as_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "ASK_S", 0.2)
    asked: list[str] = []

    async def know_progress_only(connection: ServerConnection) -> None:
        async for frame in asks(connection):
            asked.append(frame["type"])
            if frame["type"] == "progress":
                await connection.send(json.dumps({"type": "progress", "n": frame["n"], "found": {}}))

    async with leader(know_progress_only) as one:
        world.election.choose(one)
        await until(lambda: world.following.is_connected)
        for _ in range(20):
            with pytest.raises(Unanswered):
                await world.following.agents(None, 50)
        assert await world.following.progress([ID]) == {}
        for _ in range(20):
            with pytest.raises(Unanswered):
                await world.following.started()
        assert await world.following.progress([ID]) == {}
        with pytest.raises(Unanswered):
            await world.following.recent(0, 0)
        assert asked == ["agents", "progress", "started", "progress", "stats"]


async def test_the_leader_is_told_whether_somebody_looks_and_what_it_says_is_passed_on(world: World) -> None:
    said: list[bool] = []
    heard: list[Touched] = []

    async def change(connection: ServerConnection) -> None:
        async for frame in asks(connection):
            said.append(frame["on"])
            if frame["on"]:
                await connection.send(json.dumps({"type": "changed", "expressions": [["anna", ID]]}))
                await connection.send(json.dumps({"type": "changed", "all": True}))

    async with leader(change) as one:
        world.election.choose(one)
        await until(lambda: world.following.is_connected)
        world.feed.changed.look(heard.append)
        await until(lambda: any(touched.everything for touched in heard))
        assert any(touched.expressions == {ID: "anna"} for touched in heard)
        world.feed.changed.look_away(heard.append)
        await until(lambda: said == [True, False])
        world.feed.changed.look(heard.append)
        await until(lambda: said == [True, False, True])
    async with leader(change, 2) as next_one:
        world.election.choose(next_one)  # who comes in between looks on already
        await until(lambda: said == [True, False, True, True])
        assert len(world.feed.changed._watchers) == 1, "of the connections before nothing is left"
