"""An orchestrator that does as it is told, and agents in the test's own event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fake_orchestrator import DEADLINE_S, TOKEN, FakeOrchestrator, listening

from curta_agent import run_agent
from curta_agent.settings import AgentSettings


class RunningAgent:
    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(run_agent(settings, self.stop))

    async def exit_code(self) -> int:
        return await asyncio.wait_for(asyncio.shield(self.task), DEADLINE_S)


@pytest.fixture
async def orchestrator() -> AsyncIterator[FakeOrchestrator]:
    async with listening() as orchestrator:
        yield orchestrator


@pytest.fixture
async def peer() -> AsyncIterator[FakeOrchestrator]:
    async with listening() as orchestrator:
        yield orchestrator


@pytest.fixture
async def start(orchestrator: FakeOrchestrator) -> AsyncIterator[Callable[..., RunningAgent]]:
    agents: list[RunningAgent] = []

    def start(**settings: Any) -> RunningAgent:
        defaults = {"urls": (orchestrator.url,), "token": TOKEN, "slots": 4, "name": "tester"}
        agent = RunningAgent(AgentSettings(**(defaults | settings)))
        agents.append(agent)
        return agent

    yield start
    for agent in agents:
        agent.task.cancel()
    await asyncio.gather(*(agent.task for agent in agents), return_exceptions=True)
