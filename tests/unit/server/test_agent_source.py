"""What one room says of the agents: whole pages, and `last_seen_s` no more often than it is worth it."""

from uuid import uuid4

import msgspec
import pytest
from tests.support.fakes import FakeDispatcher

from curta_server import agent_board, agent_source
from curta_server.agent_board import AgentBoard
from curta_server.agent_source import AgentSource
from curta_server.errors import Problem
from curta_server.line import Unanswered
from curta_server.live_messages import Subscribe
from curta_server.views import AgentsView, AgentView, PassedOnTask, PassedOnView, RunView

ID = "01926f3e-8d3c-7b1a-9c55-2f6f0b7f6a10"
PASSED_ON = tuple(PassedOnTask(f"{ID}.{n}", ID, owner, "waiting") for n, owner in enumerate("xxy"))


class Nowhere:
    async def agents(self, after: tuple[str, str] | None, limit: int) -> AgentsView:
        raise Unanswered("nobody is there")


@pytest.fixture
def leader(monkeypatch: pytest.MonkeyPatch) -> FakeDispatcher:
    monkeypatch.setattr(agent_board, "FRESH_S", 0.0)
    return FakeDispatcher()


def source(leader: FakeDispatcher, scope: str | None = None, **window: object) -> AgentSource:
    subscribe = msgspec.convert({"type": "subscribe", "topic": "agents", **window}, Subscribe)
    return AgentSource(AgentBoard(leader, Nowhere()), subscribe, scope)


def view(name: str, seen_s: float = 0.5, **fields: object) -> AgentView:
    return AgentView(
        id=str(fields.get("id") or uuid4()),
        name=name,
        slots=4,
        operations=("addition",),
        status=str(fields.get("status", "connected")),
        connected_at_us=5,
        last_seen_s=seen_s,
        running=0,
        passed_on=PassedOnView(3, 1, 1, 1, PASSED_ON) if fields.get("status") == "lost" else None,
    )


async def test_an_agent_that_only_grew_older_is_told_of_once_a_second(
    leader: FakeDispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = source(leader)
    leader.views = [view("a", 0.5, id=ID)]
    first = (await room.items()).items
    leader.views = [view("a", 0.75, id=ID)]
    assert (await room.items()).items == first
    leader.views = [view("b", 0.75, id=ID)]
    other = (await room.items()).items
    assert msgspec.json.decode(other[ID])["last_seen_s"] == 0.75, "it changed, and is told of at once"
    monkeypatch.setattr(agent_source, "SEEN_S", 0.0)
    leader.views = [view("b", 1.0, id=ID)]
    assert msgspec.json.decode((await room.items()).items[ID])["last_seen_s"] == 1.0


async def test_a_user_sees_of_others_only_the_operation(leader: FakeDispatcher) -> None:
    leader.views = [view("a", id=ID)]
    leader.runs_of = {
        ID: [RunView(f"{ID}.{n}", ID, owner, "division", ("1", "2"), 5, 7) for n, owner in enumerate("xy")]
    }
    for scope, names in ((None, [f"{ID}.0", f"{ID}.1"]), ("x", [f"{ID}.0", None]), ("z", [None, None])):
        agent = msgspec.json.decode((await source(leader, scope).items()).items[ID])
        assert [task["task"] for task in agent["tasks"]] == names
        assert [task["operation"] for task in agent["tasks"]] == ["division"] * 2


async def test_a_lost_agent_says_what_became_of_the_tasks_one_may_see(leader: FakeDispatcher) -> None:
    leader.views = [view("a", id=ID, status="lost")]
    for scope, seen in ((None, [0, 1, 2]), ("x", [0, 1]), ("z", [])):
        agent = msgspec.json.decode((await source(leader, scope).items()).items[ID])
        tasks = agent["passed_on"].pop("tasks")
        assert agent["passed_on"] == {"total": 3, "waiting": 1, "running": 1, "done": 1}
        assert tasks == [{"task": f"{ID}.{n}", "expression_id": ID, "state": "waiting"} for n in seen]


async def test_pages_follow_each_other_and_wrong_cursors_are_refused(leader: FakeDispatcher) -> None:
    leader.views = [view(name) for name in "cab"]
    first = await source(leader, limit=2).items()
    assert [msgspec.json.decode(item)["name"] for item in first.items.values()] == ["a", "b"]
    rest = await source(leader, limit=2, cursor=first.next).items()
    assert [msgspec.json.decode(item)["name"] for item in rest.items.values()] == ["c"]
    assert rest.next is None
    with pytest.raises(Problem):
        source(leader, cursor="nonsense")


async def test_where_nobody_leads_there_is_nobody(
    leader: FakeDispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader.leading = False
    assert not (await source(leader).items()).items
