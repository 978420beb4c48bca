"""The leader's memory as the routes see it: here, there, or nowhere."""

from uuid import uuid4

import pytest
from tests.support.fakes import FakeDispatcher, FakeLeadership, FakeNotices, FakeThere

from curta_server.leadership import Leader
from curta_server.leading import NO_ANSWER, NO_LEADER, Leading, Memory
from curta_server.views import Progress, TaskState

RUNNING = Progress("running", 1, 2, 0.5, None, 7)


class World:
    def __init__(self) -> None:
        self.here, self.there = FakeDispatcher(), FakeThere()
        self.leadership, self.notices = FakeLeadership(), FakeNotices()
        self.leading = Leading(self.here, self.there, self.leadership, self.notices)

    def follow(self, leader: FakeDispatcher | None) -> None:
        """Another one leads, which can be asked or not."""
        self.here.leading = False
        self.leadership.other = Leader(2, uuid4(), "http://leader")
        self.there.known = leader


@pytest.fixture
def world() -> World:
    return World()


def knowing() -> FakeDispatcher:
    found = FakeDispatcher()
    found.progresses = {"a": RUNNING}
    found.states = {"a": {3: TaskState("running", 1)}}
    return found


async def test_a_leader_looks_into_its_own_memory(world: World) -> None:
    world.here.progresses = {"a": RUNNING}
    world.here.states = {"a": {3: TaskState("ready")}}
    assert await world.leading.memory(["a", "b"]) == Memory({"a": RUNNING}, is_here=True)
    assert await world.leading.task_states("a", [3, 4]) == {3: TaskState("ready")}
    assert await world.leading.task_states("b", [3]) == {}
    assert world.there.asked == 0 and world.leading.elsewhere is None


async def test_a_follower_asks_the_leader(world: World) -> None:
    world.follow(knowing())
    assert await world.leading.memory(["a", "b"]) == Memory({"a": RUNNING})
    assert await world.leading.task_states("a", [3]) == {3: TaskState("running", 1)}
    assert world.leading.elsewhere == world.leadership.other


async def test_where_the_leader_cannot_be_asked_the_table_has_to_do(world: World) -> None:
    world.follow(None)
    assert await world.leading.memory(["a"]) == Memory(away=NO_ANSWER)
    assert await world.leading.task_states("a", [3]) == {}


async def test_where_nobody_leads_nobody_is_asked(world: World) -> None:
    world.here.leading = False
    assert await world.leading.memory(["a"]) == Memory(away=NO_LEADER)
    assert world.there.asked == 0


async def test_what_changes_in_the_table_is_told_to_everybody(world: World) -> None:
    world.leading.cancelled("a")
    world.leading.set_duration("division", 5)
    assert (world.here.was_cancelled, world.here.durations) == (["a"], {"division": 5})
    assert world.notices.sent == [("cancelled", "a"), ("operations", "division")]
