"""Frames as large as the protocol allows, full of what nobody knows: no turn of the scheduler may hold the
event loop for 50 ms. Counted in calls: 400,000 of them take about 45 ms."""

import uuid
from collections.abc import Iterable, Iterator, Sequence

import pytest
from tests.support.work import calls

from curta_server.core.events import (
    Absent,
    Answer,
    Answered,
    Beaten,
    Cancelled,
    Event,
    Joined,
    Left,
    Loaded,
    Named,
    Removed,
    Ticked,
)
from curta_server.core.execution import Execution
from curta_server.core.expression import parse
from curta_server.core.plan import build
from curta_server.core.scheduler import Rules, Scheduler
from curta_server.hearing import RESULTS_PER_EVENT
from curta_server.inbox import Inbox
from curta_server.settings import Settings

CALLS_MAX = 400_000
DURATIONS = (0, 0, 0, 0)
EPOCH = 3
EARLIER, NOW = 1 << 20 | 1, EPOCH << 20 | 1
NAMES = 50_000
"""So many fit into one frame."""
SLOTS = Settings().slots_max
TASKS = build(parse("+".join(map(str, range(1, 2 * SLOTS + 3)))), DURATIONS)


def turns(scheduler: Scheduler, *events: Event, now: float = 0.0) -> list[int]:
    """The calls of each turn until everything is dealt with."""
    inbox = Inbox()
    for event in events:
        inbox.post(event)
    found = []
    again = True
    while inbox or again:
        taken = inbox.take()

        def turn(taken: Sequence[Event] = taken) -> None:
            nonlocal again
            again = scheduler.handle(taken, now).again

        found.append(calls(turn))
    return found


def idle() -> Scheduler:
    scheduler = Scheduler(EPOCH, Rules(), DURATIONS)
    scheduler.handle([Joined("a", 1, SLOTS, 15, ())], 0.0)
    return scheduler


def busy() -> Scheduler:
    """Agent `a` has all its slots full, and as many tasks are ready."""
    scheduler = idle()
    turns(scheduler, Loaded(Execution("x", TASKS, DURATIONS), "ann"))
    assert len(scheduler.crew.agents["a"].runs) == SLOTS
    return scheduler


def unknown(attempt: int) -> list[Named]:
    return [Named(f"{uuid.uuid4()}.0", attempt) for _ in range(NAMES)]


def beat(names: Iterable[Named], seen: int = 10**9) -> Beaten:
    return Beaten("a", 1, dict.fromkeys(names), seen)


def answers(names: Sequence[Named], **fields: str | None) -> Iterator[Answered]:
    made = [Answer(*one, **{"value": "1", **fields}) for one in names]  # type: ignore[arg-type]
    for at in range(0, len(made), RESULTS_PER_EVENT):
        yield Answered("a", 1, made[at : at + RESULTS_PER_EVENT])


def held(scheduler: Scheduler) -> list[Named]:
    return [Named(run.name, run.attempt) for run in scheduler.crew.agents["a"].runs.values()]


@pytest.mark.parametrize("attempt", [EARLIER, NOW])
def test_beats_full_of_unknown_names(attempt: int) -> None:
    scheduler, names = idle(), unknown(attempt)
    for _ in range(3):
        assert max(turns(scheduler, beat(names))) <= CALLS_MAX
    assert max(turns(scheduler, beat([]))) <= CALLS_MAX
    expressions = [Absent(name.task.partition(".")[0]) for name in names]
    assert max(turns(scheduler, *expressions)) <= CALLS_MAX


def test_beats_full_of_unknown_tasks_of_one_expression() -> None:
    scheduler = idle()
    names = [Named(f"x.{task}", EARLIER) for task in range(NAMES)]
    assert max(turns(scheduler, beat(names))) <= CALLS_MAX
    # The last one decides them all: an agent that claims so much has no more than BUDGET undecided.
    assert max(turns(scheduler, Loaded(Execution("x", TASKS, DURATIONS), "ann"))) <= CALLS_MAX


@pytest.mark.parametrize("attempt", [EARLIER, NOW])
def test_a_hello_full_of_unknown_names_and_another_one(attempt: int) -> None:
    scheduler, names = idle(), unknown(attempt)
    for session in (2, 3, 4):
        hello = Joined("a", session, SLOTS, 15, dict.fromkeys(names))
        assert max(turns(scheduler, hello)) <= CALLS_MAX
    assert max(turns(scheduler, Left("a", 4, bye=True))) <= CALLS_MAX


@pytest.mark.parametrize("attempt", [EARLIER, NOW])
def test_results_that_nobody_asked_for(attempt: int) -> None:
    scheduler, names = idle(), unknown(attempt)
    assert max(turns(scheduler, *answers(names))) <= CALLS_MAX
    expressions = [Absent(name.task.partition(".")[0]) for name in names]
    assert max(turns(scheduler, *expressions)) <= CALLS_MAX


def test_as_many_tasks_as_one_agent_can_hold_come_go_and_fail() -> None:
    assert max(turns(idle(), Loaded(Execution("x", TASKS, DURATIONS), "ann"))) <= CALLS_MAX
    for name in (
        "a beat with half",
        "a beat with none",
        "a new hello",
        "removal",
        "bye",
        "cancel",
        "failure",
    ):
        scheduler = busy()
        mine = held(scheduler)
        events: dict[str, list[Event]] = {
            "a beat with half": [beat(mine[::2])],
            "a beat with none": [beat([])],
            "a new hello": [Joined("a", 2, SLOTS, 15, ())],
            "removal": [Joined("b", 2, SLOTS, 15, ()), Removed("a")],
            "bye": [Joined("b", 2, SLOTS, 15, ()), Left("a", 1, bye=True)],
            "cancel": [Cancelled("x")],
            "failure": list(answers(mine, value=None, error="broken")),
        }
        assert max(turns(scheduler, *events[name])) <= CALLS_MAX, name


def test_a_herd_that_is_lost_at_once() -> None:
    scheduler = Scheduler(EPOCH, Rules(), DURATIONS)
    herd = [Joined(f"a{n}", n + 1, 4, 15, ()) for n in range(4_000)]
    plan = build(parse("+".join(map(str, range(8 * len(herd) + 1)))), DURATIONS)
    turns(scheduler, *herd, Loaded(Execution("x", plan, DURATIONS), "ann"))
    assert sum(len(agent.runs) for agent in scheduler.crew.agents.values()) == 4 * len(herd)
    turns(scheduler, *(Left(agent.agent, agent.session) for agent in herd))
    ticks = 0
    while any(agent.runs for agent in scheduler.crew.agents.values()):
        assert max(turns(scheduler, Ticked(), now=6.0 + ticks / 5)) <= CALLS_MAX
        ticks += 1
    assert ticks * 0.2 <= 1.0, "and soon, all the same"
