"""Operands as they are written out."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from tests.support.stage import Stage

from curta_server.core.execution import RUNNING, Execution
from curta_server.core.expression import parse
from curta_server.core.plan import build
from curta_server.looking import LONG_DIGITS, Looking, operand
from curta_server.views import PassedOnTask, PassedOnView

DURATIONS = (1000, 1000, 2000, 2000)


class Leader(Looking):
    """Somebody who leads with the stage's scheduler."""

    leading = True

    def __init__(self, stage: Stage) -> None:
        self._term: Any = SimpleNamespace(scheduler=stage.scheduler)
        self.roster = cast("Any", SimpleNamespace(guest=lambda _: None))

    @property
    def term(self) -> Any:
        return self._term

    def us(self, monotonic_s: float) -> int:
        return int(monotonic_s * 1_000_000)


def test_a_long_value_gets_its_other_sign_once_for_all_users_and_loses_it_with_the_last() -> None:
    plan = build(parse("-(1+2)*5+-(1+2)*7"), DURATIONS)
    it = Execution("x", plan, DURATIONS)
    users = [task for task in range(len(plan)) if any(side[task] == 1 for side in (plan.left, plan.right))]
    assert len(users) == 2, "both products use the sum with a minus"
    it.advance(10)
    it.state[0] = RUNNING
    it.settle(0, "7" * LONG_DIGITS)
    written = operand(it, 1)
    assert written == "-" + "7" * LONG_DIGITS
    assert operand(it, 1) is written
    it.commit(0)
    for user in users:
        it.state[user] = RUNNING
        it.settle(user, "3")
        assert it.negated
        it.commit(user)
    assert not it.negated


def test_it_can_be_seen_what_became_of_a_lost_agents_tasks() -> None:
    stage = Stage()
    looking = Leader(stage)
    stage.join("a", slots=2)
    it = stage.submit("(1+2)*(3+4)")
    stage.wait(10.4)

    def fates() -> PassedOnView | None:
        found = next(agent.passed_on for agent in looking.agents() if agent.id == "a")
        assert found is not None
        counted = Counter(task.state for task in found.tasks)
        assert counted == Counter(waiting=found.waiting, running=found.running, done=found.done)
        return replace(found, tasks=())

    passed_on = next(agent.passed_on for agent in looking.agents() if agent.id == "a")
    assert passed_on is not None
    assert passed_on.tasks == tuple(
        PassedOnTask(f"{it.id}.{task}", it.id, it.user.name, "waiting") for task in range(2)
    )
    assert fates() == PassedOnView(total=2, waiting=2, running=0, done=0)
    stage.join("b")
    assert fates() == PassedOnView(total=2, waiting=1, running=1, done=0)
    stage.answer(stage.only("b"))
    assert fates() == PassedOnView(total=2, waiting=0, running=1, done=1)
    stage.cancel(it)
    assert fates() == PassedOnView(total=2, waiting=0, running=0, done=2)
    assert next(agent.passed_on for agent in looking.agents() if agent.id == "b") is None
