"""Attempts that take too long are found in rounds, which may take several ticks."""

from itertools import pairwise

import pytest
from tests.support.stage import Stage

from curta_server.core import overdue
from curta_server.core.events import Ticked

AGENTS = [f"a{number}" for number in range(6)]
LIMIT_S = 2 * 1.0 + 30.0
"""Of an addition with the stage's rules."""


def busy() -> Stage:
    """Each agent has a task and slots free."""
    stage = Stage()
    for agent in AGENTS:
        stage.join(agent, slots=6)
    for number in range(len(AGENTS)):
        stage.submit(f"{number + 1}+{number + 2}", f"user{number}")
    assert all(len(stage.held(agent)) == 1 for agent in AGENTS)
    return stage


def twins(stage: Stage) -> int:
    return sum(len(execution.twins) for execution in stage.scheduler.executions.values())


def test_a_second_attempt_comes_with_the_next_round_after_the_limit() -> None:
    stage = busy()
    stage.wait(LIMIT_S - 0.2, beating=AGENTS)
    assert twins(stage) == 0
    stage.wait(0.2 + overdue.ROUND_EVERY_S + 0.2, beating=AGENTS)
    assert twins(stage) == len(AGENTS)
    stage.wait(10.0, beating=AGENTS)
    assert twins(stage) == len(AGENTS), "no third one"


def test_a_tick_looks_at_no_more_than_its_budget_and_the_round_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overdue, "LOOK_BUDGET", 4)  # an agent with an attempt costs two
    stage = busy()
    stage.wait(LIMIT_S - 0.2, beating=AGENTS)
    found = [twins(stage)]
    while found[-1] < len(AGENTS):
        assert len(found) < 20, "the round does not come to its end"
        stage.wait(0.2, beating=AGENTS)
        found.append(twins(stage))
    steps = [after - before for before, after in pairwise(found)]
    assert max(steps) == 2


def test_an_agent_that_goes_in_the_middle_of_a_round_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overdue, "LOOK_BUDGET", 1)
    stage = busy()
    stage.wait(0.4, beating=AGENTS)
    for agent in AGENTS[3:]:
        stage.leave(agent, bye=True)
    stage.do(Ticked())
    stage.wait(LIMIT_S + 4.0, beating=AGENTS[:3])
    assert twins(stage) == len(AGENTS)
