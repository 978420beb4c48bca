"""What scheduling costs, counted in calls, not in seconds."""

import random
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from curta_server.core.events import Answer, Answered, Beaten, Event, Joined, Loaded, Named, Stored, Ticked
from curta_server.core.execution import Execution
from curta_server.core.expression import parse
from curta_server.core.plan import Plan, build
from curta_server.core.scheduler import Rules, Scheduler

DURATIONS = (0, 0, 0, 0)


def wide(operands: int) -> Plan:
    return build(parse("+".join(map(str, range(1, operands + 2)))), DURATIONS)


def chain(operands: int) -> Plan:
    text = "1" + "".join(f"+{n}-{n + 1}" for n in range(operands // 2))
    return build(parse(text), DURATIONS, optimize=False)


def whole_run(plan: Plan, agents: int, slots: int) -> Callable[[], int]:
    """Hand out, beat, answer in any order, commit in batches, until it is done; gives the tasks handed
    out."""

    def run() -> int:
        scheduler = Scheduler(1, Rules(), DURATIONS)
        names = [f"a{n}" for n in range(agents)]
        order = random.Random(1)
        commands = scheduler.handle([Joined(name, 1, slots, 15) for name in names], 0.0)
        commands = scheduler.handle([Loaded(Execution("x", plan, DURATIONS), "ann")], 0.0)
        handed, now = 0, 0.0
        while True:
            hands = {name: list(runs) for name, runs in commands.pushes.items()}
            while commands.again:
                commands = scheduler.handle((), now)
                for name, runs in commands.pushes.items():
                    hands.setdefault(name, []).extend(runs)
            handed += sum(map(len, hands.values()))
            now += 0.01
            events: list[Event] = []
            for name, runs in hands.items():
                order.shuffle(runs)
                held = [Named(run.name, run.attempt) for run in runs]
                answers = [Answer(*one, "1") for one in held]
                events += [Beaten(name, 1, held, 10**9), Answered(name, 1, answers)]
            commands = scheduler.handle(events, now)
            ended = [final.expression for final in commands.finals]
            stored = scheduler.handle([Stored(commands.journal, ended), Ticked()], now)
            assert not stored.pushes
            if ended:
                assert not scheduler.executions
                return handed

    return run


def calls(run: Callable[[], int], tasks: int) -> int:
    """How many functions (ours and Python's own, heaps included) are called."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    sys.setprofile(profile)
    try:
        handed = run()
    finally:
        sys.setprofile(None)
    assert handed == tasks, "each task once"
    return count


@pytest.mark.parametrize(("shape", "sizes"), [(wide, (10_000, 20_000)), (chain, (1_000, 2_000))])
@pytest.mark.parametrize(("agents", "slots"), [(4, 100), (200, 2)])
def test_twice_the_tasks_cost_about_twice_as_much(
    shape: Callable[[int], Plan], sizes: tuple[int, int], agents: int, slots: int
) -> None:
    half, whole = (shape(size) for size in sizes)
    small = calls(whole_run(half, agents, slots), len(half))
    large = calls(whole_run(whole, agents, slots), len(whole))
    assert large <= 2.5 * small * len(whole) / (2 * len(half))


def test_a_task_costs_the_same_however_many_idle_agents_there_are() -> None:
    plan = chain(300)
    few, many = (calls(whole_run(plan, agents, 1), len(plan)) for agents in (50, 500))
    assert many < 3 * few, "but for the ticks, which look at every agent"


@pytest.mark.parametrize("divides", [15, 7])
def test_a_failed_task_costs_the_same_however_many_agents_there_are(divides: int) -> None:
    """Those that divide, or not, besides one that failed all: each task looks for another agent."""
    text = "+".join(f"{n}/{n + 1}" for n in range(1, 301))

    def failing(agents: int) -> Callable[[], int]:
        scheduler = Scheduler(1, Rules(), DURATIONS)
        plan = build(parse(text), DURATIONS, optimize=False)
        scheduler.handle([Joined("bad", 1, 300, 15)], 0.0)
        pushed = scheduler.handle([Loaded(Execution("x", plan, DURATIONS), "ann")], 0.0).pushes["bad"]
        scheduler.handle([Joined(f"a{n}", 1, 10, divides) for n in range(agents)], 0.0)
        answers = [Answer(run.name, run.attempt, None, "oom", "no memory") for run in pushed]

        def run() -> int:
            given = scheduler.handle([Answered("bad", 1, answers)], 0.1).pushes
            return sum(map(len, given.values()))

        return run

    few, many = (calls(failing(agents), 300) for agents in (30, 600))
    assert many < 2 * few
