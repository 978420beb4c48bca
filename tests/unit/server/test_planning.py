"""Text to plan, here or in a child process: the same plan, the same refusals."""

import asyncio
from collections.abc import Iterator

import pytest

from curta_server.errors import Problem
from curta_server.planning import Planned, Planning, Wanted
from curta_server.settings import Settings
from curta_wire.offload import Offload

DURATIONS = (1000, 1000, 2000, 2000)


@pytest.fixture
def offload() -> Iterator[Offload]:
    offload = Offload(1, 2)
    try:
        yield offload
    finally:
        offload.close()


def _planning(offload: Offload, *, inline: int) -> Planning:
    return Planning(
        Settings(text_bytes_max=4000, inline_text_bytes=inline, tasks_max=300, literal_digits_max=50), offload
    )


@pytest.fixture(params=[10_000, 0], ids=["here", "away"])
def planning(request: pytest.FixtureRequest, offload: Offload) -> Planning:
    return _planning(offload, inline=request.param)


async def test_a_plan_is_the_same_here_and_away(offload: Offload) -> None:
    text = " (1+2)*-(3+4)/(1+2)\n"
    here = await _planning(offload, inline=10_000).plan(text, True, DURATIONS)
    away = await _planning(offload, inline=0).plan(text, True, DURATIONS)
    assert here == away
    assert here.text == text.strip()
    assert len(here.plan) == 4
    assert here.durations_ms == DURATIONS


@pytest.mark.parametrize(
    ("text", "code", "position", "expected"),
    [
        ("", "invalid_expression", 0, ["number", "(", "-"]),
        ("  ", "invalid_expression", 0, ["number", "(", "-"]),
        ("\u2003 2 2", "invalid_expression", 4, ["operator", "end"]),
        (" 2 × (3", "invalid_expression", 7, ["operator", ")"]),
        (" 1e1001", "invalid_expression", 3, []),
        (" " + "1" * 51, "literal_too_long", 1, []),
    ],
)
async def test_a_refusal_says_where(
    planning: Planning, text: str, code: str, position: int, expected: list[str]
) -> None:
    with pytest.raises(Problem) as refused:
        await planning.plan(text, True, DURATIONS)
    assert refused.value.code == code
    assert refused.value.members == {"position": position, "expected": expected}
    with pytest.raises(Problem) as refused:
        await planning.summarize(text, True, DURATIONS)
    assert refused.value.members == {"position": position, "expected": expected}


async def test_limits_are_named(planning: Planning) -> None:
    with pytest.raises(Problem, match="300") as refused:
        await planning.plan("+".join(map(str, range(302))), True, DURATIONS)
    assert refused.value.code == "too_many_tasks"
    for text in ("1+" * 2000 + "1", "÷" * 2001):
        with pytest.raises(Problem, match="4000") as refused:
            await planning.plan(text, True, DURATIONS)
        assert refused.value.code == "too_long"
    # The limit counts bytes, and white space around the text does not.
    with pytest.raises(Problem) as refused:
        await planning.plan(" " * 5000 + "÷" * 2000, True, DURATIONS)
    assert (refused.value.code, refused.value.members["position"]) == ("invalid_expression", 5000)


async def test_a_bare_number_has_its_value_at_once(planning: Planning) -> None:
    planned = await planning.plan("-(1.50)", True, DURATIONS)
    assert len(planned.plan) == 0
    assert (planned.value, planned.result, planned.exact) == ("-3/2", "-1.5", None)
    assert (await planning.plan("1+1", True, DURATIONS)).value is None


async def test_many_are_planned_in_order_with_their_refusals(offload: Offload) -> None:
    planning = _planning(offload, inline=20)
    wanted = [
        Wanted("1+2", True),
        Wanted("1+", True),
        Wanted("+".join("123456789012"), True),
        Wanted("7", False),
    ]
    planned = await planning.plan_many(wanted, DURATIONS)
    first, refused, long, last = planned
    assert isinstance(first, Planned) and first.text == "1+2"
    assert isinstance(refused, Problem) and refused.code == "invalid_expression"
    assert isinstance(long, Planned) and len(long.plan) > 1
    assert isinstance(last, Planned) and last.value == "7" and not last.optimize


async def test_planning_many_gives_way_to_others(offload: Offload) -> None:
    planning = _planning(offload, inline=10_000)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    await asyncio.sleep(0)
    await planning.plan_many([Wanted("+".join(map(str, range(200))), True)] * 100, DURATIONS)
    other.cancel()
    assert turns > 3


async def test_too_many_long_texts_at_once_are_unavailable(offload: Offload) -> None:
    planning = _planning(offload, inline=0)
    outcomes = await asyncio.gather(
        *(planning.plan("1+2", True, DURATIONS) for _ in range(8)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    assert len(refused) == 5  # one runs, two wait
    assert {problem.code for problem in refused} == {"unavailable"}
    assert all(problem.headers["Retry-After"] for problem in refused)
    busy = [asyncio.create_task(planning.plan("1+2", True, DURATIONS)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Problem, match="planned"):
        await planning.plan_many([Wanted("1+2", True)], DURATIONS)
    await asyncio.gather(*busy)
    await planning.plan("1+2", True, DURATIONS)


async def test_a_dry_run_costs_what_the_plan_costs(planning: Planning) -> None:
    summary = await planning.summarize("1+2+3+4", True, DURATIONS)
    assert (summary.tasks, summary.sequential_ms, summary.critical_path_ms) == (3, 3000, 2000)
    assert (summary.critical_path_as_written_ms, summary.width) == (3000, 2)
