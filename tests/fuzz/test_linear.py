"""An input twice as long takes at most 2.5 times the work: counted where Python works, and where C does, by
CPU time over a range so wide that a quadratic step could not hide."""

import os
from collections.abc import Callable
from contextlib import suppress

import pytest
from tests.fuzz.hostile_texts import EXPRESSIONS, REFUSED, Family
from tests.support.work import cpu_s, work

from curta_server import slices
from curta_server.api import plan_walk
from curta_server.core.events import Answer, Answered, Beaten, Joined, Loaded, Named, Stored
from curta_server.core.execution import Execution
from curta_server.core.expression import ExpressionError, Tree, parse
from curta_server.core.plan import Plan, build, summarize
from curta_server.core.scheduler import Rules, Scheduler
from curta_server.values import fault_of
from curta_wire import codec, numbers
from curta_wire.codec import ProtocolError

TWICE = 2.5
N = 400
"""Small: counting takes about a microsecond for each instruction."""

SCALE = 16 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 1
"""Moving memory is so quick that a quadratic step of this kind shows in long texts only."""
LONG, LONGER = 4_000, 64_000
"""Sixteen times as long: linear work takes 16 times as long, quadratic work 256 times."""
LONGER_MAX = 80
FLOOR_S = 0.002
"""Less than this is not measured: the clock's own grain would decide."""

EQUAL, DEAR_DIVISION, DEAR_PRODUCT = (0, 0, 0, 0), (5, 5, 10, 1000), (1000, 1, 1000, 1)


def assert_linear(run: Callable[[int], Callable[[], object]], n: int = N) -> None:
    """`run(n)` prepares a call on an input of size n, which is not counted."""
    run(n)()  # whatever is done once
    once, twice = work(run(n)), work(run(2 * n))
    assert twice <= TWICE * once + 200, f"{once} for {n}, {twice} for {2 * n}"


def assert_linear_in_c(run: Callable[[int], Callable[[], object]], n: int = LONG) -> None:
    n *= SCALE
    short, long = cpu_s(run(n)), cpu_s(run(n * LONGER // LONG), 2)
    assert long <= LONGER_MAX * max(short, FLOOR_S), f"{short:.4f} s for {n}, {long:.4f} s for 16 times that"


def read(text: str) -> Tree | None:
    try:
        return parse(text)
    except ExpressionError:
        return None


def tree_of(family: Family, n: int) -> Tree:
    tree = read(family(n))
    assert tree is not None
    return tree


@pytest.mark.parametrize("name", EXPRESSIONS | REFUSED)
def test_reading_a_text_is_linear(name: str) -> None:
    family = (EXPRESSIONS | REFUSED)[name]

    def run(n: int) -> Callable[[], object]:
        text = family(n)
        assert (read(text) is not None) == (name in EXPRESSIONS)
        return lambda: read(text)

    assert_linear(run)
    assert_linear_in_c(run)


@pytest.mark.parametrize("durations", [EQUAL, DEAR_DIVISION, DEAR_PRODUCT])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_planning_is_linear(name: str, durations: tuple[int, int, int, int]) -> None:
    def run(n: int) -> Callable[[], object]:
        tree = tree_of(EXPRESSIONS[name], n)
        return lambda: summarize(tree, build(tree, durations), durations)

    # Heaps and sorting: n log n, which is 2.2 times for twice as much at this size.
    assert_linear(run, N // 2)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_planning_a_long_text_is_linear_in_c_as_well(name: str) -> None:
    def run(n: int) -> Callable[[], object]:
        tree = tree_of(EXPRESSIONS[name], n)
        return lambda: build(tree, EQUAL).encode()

    assert_linear_in_c(run, LONG // 8)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_storing_a_plan_and_looking_into_it_is_linear(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_S", float("inf"))  # the coroutine never waits, and ends with one step

    def run(n: int) -> Callable[[], object]:
        plan = build(tree_of(EXPRESSIONS[name], n), EQUAL, optimize=False)

        def look() -> None:
            again = Plan.decode(plan.encode(), plan.text)
            for depth in (0, 3, None) if len(plan) else ():
                shown = plan_walk.shown(again, len(plan) - 1, depth)
                part = plan_walk.excerpt(again, shown)
                assert plan_walk.asked_rows(part) >= set(shown)
                plan_walk.fold(part, {}, {}, status="running", failed=None)
                with suppress(StopIteration):
                    plan_walk.counts_below(again, shown).send(None)

        return look

    assert_linear(run, N // 2)


def computed(plan: Plan, agents: int, slots: int) -> None:
    """A whole expression: handed out, in the beats, answered, stored, until it is done."""
    scheduler = Scheduler(1, Rules(), EQUAL)
    names = [f"a{n}" for n in range(agents)]
    commands = scheduler.handle([Joined(name, 1, slots, 15, ()) for name in names], 0.0)
    commands = scheduler.handle([Loaded(Execution("x", plan, EQUAL), "ann")], 0.0)
    done = 0
    while scheduler.executions:
        hands = commands.pushes
        while commands.again:
            commands = scheduler.handle((), 0.0)
            for name, runs in commands.pushes.items():
                hands.setdefault(name, []).extend(runs)
        assert hands, "it goes on"
        events: list[Beaten | Answered] = []
        for name, runs in hands.items():
            held = [Named(run.name, run.attempt) for run in runs]
            done += len(held)
            events.append(Beaten(name, 1, dict.fromkeys(held), 10**9))
            events.append(Answered(name, 1, [Answer(*one, "1") for one in held]))
        commands = scheduler.handle(events, 0.0)
        ended = [final.expression for final in commands.finals]
        scheduler.handle([Stored(commands.journal, ended)], 0.0)
    assert done == len(plan)


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        "a sum", "a quotient", "all in turn", "left, mixed", "right, mixed", "doubled", "a star",
        "pairs of chains", "powers of ten",
    ],
)  # fmt: skip
def test_computing_a_whole_expression_is_linear(name: str, optimize: bool) -> None:
    def run(n: int) -> Callable[[], object]:
        plan = build(tree_of(EXPRESSIONS[name], n), EQUAL, optimize=optimize)
        return lambda: computed(plan, 4, 8)

    assert_linear(run, 128)


# --- what is C's work alone -------------------------------------------------------------------------------

NUMBERS: dict[str, Family] = {
    "digits": lambda n: "9" * n,
    "minus and digits": lambda n: "-" + "9" * n,
    "zeros": lambda n: "0" * n,
    "a fraction": lambda n: "1" * (n // 2) + "/" + "3" * (n // 2),
    "signs": lambda n: "-" * n,
    "slashes": lambda n: "1/" * (n // 2),
    "digits and a slip": lambda n: "1" * n + "x",
    "other digits": lambda n: "١" * n,
    "points": lambda n: "1" * (n // 2) + "." + "1" * (n // 2),
    "places": lambda n: "." + "0" * (n - 1) + "1",
    "an exponent": lambda n: "1e" + "0" * n + "1",
    "white space": lambda n: " " * n,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_looking_at_a_number_is_linear_or_nearly(name: str) -> None:
    def run(n: int) -> Callable[[], object]:
        text = NUMBERS[name](n)

        def look() -> None:
            numbers.is_number(text)
            numbers.digits(text)
            fault_of(text, 1_000_000)
            for function in (numbers.from_literal, numbers.decimal, numbers.parse):
                with suppress(numbers.NumberError):
                    function(text)

        return look

    # GMP multiplies and divides in less than n^1.5: 64 times the work for 16 times the digits.
    assert_linear_in_c(run, 20_000 // SCALE)


FRAMES: dict[str, Family] = {
    "results": lambda n: (
        '{"type":"results","results":['
        + ",".join(f'{{"task":"t.{i}","attempt":{i},"value":"1"}}' for i in range(n))
        + "]}"
    ),
    "a bad result at the end": lambda n: (
        '{"type":"results","results":['
        + '{"task":"t","attempt":1,"value":"1"},' * n
        + '{"task":"t","attempt":1}]}'
    ),
    "held": lambda n: (
        '{"type":"heartbeat","seen":1,"held":[' + ",".join(['{"task":"t","attempt":1}'] * (n + 1)) + "]}"
    ),
    "open arrays": lambda n: '{"type":"later","x":' + "[" * n,
    "nested": lambda n: '{"type":"later","x":' + "[" * n + "]" * n + "}",
    "nested objects": lambda n: '{"x":' * n + "1" + "}" * n,
    "equal keys": lambda n: "{" + '"type":"bye",' * n + '"type":"bye"}',
    "unknown keys": lambda n: "{" + "".join(f'"k{i}":0,' for i in range(n)) + '"type":"bye"}',
    "a long integer": lambda n: '{"type":"heartbeat","held":[],"seen":' + "9" * n + "}",
    "a long unknown integer": lambda n: '{"type":"bye","x":' + "9" * n + "}",
    "a long fraction": lambda n: '{"type":"redirect","url":"u","retry_after_s":0.' + "3" * n + "}",
    "a long exponent": lambda n: '{"type":"redirect","url":"u","retry_after_s":1e' + "9" * n + "}",
    "escapes": lambda n: '{"type":"bye","x":"' + "\\u00e9" * n + '"}',
    "halves of surrogates": lambda n: '{"type":"bye","version":"' + "\\ud800" * n + '"}',
    "backslashes": lambda n: '{"type":"bye","x":"' + "\\" * n,
    "no ASCII": lambda n: '{"type":"bye","x":"' + "é" * n + '"}',
    "white space": lambda n: " " * n + '{"type":"bye"}',
    "a type too long": lambda n: '{"type":"' + "x" * n + '"}',
}


@pytest.mark.parametrize("name", FRAMES)
def test_reading_a_frame_is_linear(name: str) -> None:
    def run(n: int) -> Callable[[], object]:
        text = FRAMES[name](n)

        def look() -> None:
            for decode in (codec.decode_from_agent, codec.decode_from_server):
                with suppress(ProtocolError):
                    decode(text)

        return look

    assert_linear(run)
    assert_linear_in_c(run, 2_000)
