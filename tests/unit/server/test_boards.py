"""What many who look on share: one look at the leader's agents and figures, wherever it is."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.support.fakes import FakeDispatcher

from curta_server import agent_board, stats_board
from curta_server.agent_board import NOBODY, AgentBoard
from curta_server.agent_pages import LIVE_PAGE_TASKS_MAX, LIVE_TASKS_MAX, Place
from curta_server.leadership import Leader
from curta_server.line import Unanswered
from curta_server.stats_board import StatsBoard
from curta_server.store import OrchestratorRow
from curta_server.views import AgentsView, AgentView, BusyAgent, Recent, RunView, Second

ID = "01926f3e-8d3c-7b1a-9c55-2f6f0b7f6a10"


def agent(name: str) -> AgentView:
    return AgentView(str(uuid4()), name, 4, ("addition",), "connected", 5, 0.25, 0)


def runs(count: int) -> list[RunView]:
    return [RunView(f"{ID}.{n}", ID, "anna", "addition", ("1", "2"), 5, 1000) for n in range(count)]


def second(at_s: int) -> Second:
    return Second(at_s * 1_000_000, 1.0, 1.0, 0, 0, 0, 0, 1, 0, None, None, 0)


class Elsewhere:
    """A leader that can be asked, or not."""

    def __init__(self) -> None:
        self.seen: AgentsView | None = None
        self.figures: Recent | None = None
        self.asked: list[Any] = []

    async def agents(self, after: Place | None, limit: int) -> AgentsView:
        self.asked.append((after, limit))
        await asyncio.sleep(0.01)
        if self.seen is None:
            raise Unanswered("nobody is there")
        return self.seen

    async def recent(self, epoch: int, after_us: int) -> Recent | None:
        self.asked.append((epoch, after_us))
        await asyncio.sleep(0.01)
        if self.figures is None:
            raise Unanswered("nobody is there")
        since_us = after_us if epoch == self.figures.epoch else 0
        return Recent(self.figures.epoch, [s for s in self.figures.seconds if s.at_us > since_us])


class Here(FakeDispatcher):
    def __init__(self) -> None:
        super().__init__()
        self.figures: Recent | None = None

    def recent(self, epoch: int = 0, after_us: int = 0) -> Recent | None:
        return self.figures


class Surroundings:
    """Who leads, and who is there."""

    def __init__(self) -> None:
        self.leader: Leader | None = None
        self.rows: list[OrchestratorRow] = []

    def orchestrators(self) -> list[OrchestratorRow]:
        return self.rows


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_board, "FRESH_S", 0.0)
    monkeypatch.setattr(stats_board, "FRESH_S", 0.0)


async def test_agents_come_by_name_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    here = FakeDispatcher()
    here.views = [agent(name) for name in "cabd"]
    board = AgentBoard(here, Elsewhere())
    first = await board.page(None, 3)
    assert [busy.agent.name for busy in first.agents] == ["a", "b", "c"] and first.is_more
    last = first.agents[-1].agent
    rest = await board.page((last.name, last.id), 3)
    assert [busy.agent.name for busy in rest.agents] == ["d"] and not rest.is_more


async def test_an_agent_shows_100_tasks_and_fewer_where_many_have_many() -> None:
    here = FakeDispatcher()
    here.views = [agent("a")]
    here.runs_of = {view.id: runs(500) for view in here.views}
    board = AgentBoard(here, Elsewhere())
    assert len((await board.page(None, 50)).agents[0].runs) == LIVE_TASKS_MAX
    here.views = [agent(f"{n:04}") for n in range(1_000)]
    here.runs_of = {view.id: runs(500) for view in here.views}
    busy = (await board.page(None, 1_000)).agents
    assert len(busy) == 1_000 and all(one.runs for one in busy)
    assert sum(len(one.runs) for one in busy) <= LIVE_PAGE_TASKS_MAX


async def test_all_who_look_at_once_cost_the_leader_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_board, "FRESH_S", 60.0)
    here, there = FakeDispatcher(), Elsewhere()
    here.leading = False
    there.seen = AgentsView([BusyAgent(agent("far"), runs(2))], False)
    board = AgentBoard(here, there)
    pages = await asyncio.gather(*(board.page(None, 50) for _ in range(100)))
    assert all(page is there.seen for page in pages)
    assert there.asked == [(None, 50)]


async def test_a_leader_that_is_silent_for_a_moment_does_not_empty_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, there = FakeDispatcher(), Elsewhere()
    here.leading = False
    there.seen = known = AgentsView([BusyAgent(agent("far"), [])], False)
    board = AgentBoard(here, there)
    assert await board.page(None, 50) is known
    there.seen = None
    assert await board.page(None, 50) is known
    monkeypatch.setattr(agent_board, "KEPT_S", 0.0)
    assert await board.page(None, 50) is NOBODY


async def test_windows_at_which_nobody_looks_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_board, "KEPT_S", 0.0)
    board = AgentBoard(FakeDispatcher(), Elsewhere())
    for number in range(100):
        await board.page((str(number), ID), 50)
    assert len(board._windows) == 1


async def test_a_follower_asks_for_what_is_new_and_begins_anew_with_each_term() -> None:
    here, there = Here(), Elsewhere()
    board = StatsBoard(here, there, Surroundings(), Surroundings())
    there.figures = Recent(3, [second(1), second(2)])
    assert await board.seconds() == [second(1), second(2)]
    there.figures = Recent(3, [second(1), second(2), second(3)])
    assert await board.seconds() == [second(1), second(2), second(3)]
    assert there.asked == [(0, 0), (3, 2_000_000)]
    there.figures = Recent(4, [second(9)])
    assert await board.seconds() == [second(9)]


async def test_figures_of_this_process_need_no_asking_and_those_of_nobody_are_gone_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, there = Here(), Elsewhere()
    board = StatsBoard(here, there, Surroundings(), Surroundings())
    here.figures = Recent(1, [second(1)])
    assert await board.seconds() == [second(1)] and not there.asked
    here.figures, there.figures = None, Recent(2, [second(5)])
    assert await board.seconds() == [second(5)]
    there.figures = None
    assert await board.seconds() == [second(5)]
    monkeypatch.setattr(stats_board, "KEPT_S", 0.0)
    assert await board.seconds() == []


def test_one_of_the_orchestrators_leads() -> None:
    around = Surroundings()
    around.rows = [OrchestratorRow(UUID(int=n), f"http://{n}", 1.234) for n in (1, 2)]
    board = StatsBoard(Here(), Elsewhere(), around, around)
    assert [one.leads for one in board.orchestrators()] == [False, False]
    around.leader = Leader(7, UUID(int=2), "http://2", "secret")
    assert [(one.url, one.leads, one.seen_s) for one in board.orchestrators()] == [
        ("http://1", False, 1.2),
        ("http://2", True, 1.2),
    ]
