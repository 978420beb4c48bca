"""The pure parts of scenarios and of what stands beside them: profiles, repeated tasks, frames, drawings."""

from pathlib import Path

import pytest
from bench import machine, plots, texts
from bench.report import Row
from bench.scenarios import QUICK, RIGS, SCENARIOS
from bench.scenarios.profile import LOOP, NAMED_TUPLES, REST, modules
from bench.scenarios.recovery import Journalled, later
from bench.watchers import Messages, frame

from curta_server.core.expression import parse
from curta_server.core.plan import build


def test_every_scenario_has_a_rig_and_only_one() -> None:
    assert sorted(name for together in RIGS for name in together) == sorted(SCENARIOS)
    assert set(QUICK) <= set(SCENARIOS)


def test_a_tree_has_as_many_tasks_as_it_says_and_horners_scheme_is_one_chain() -> None:
    assert len(build(parse(texts.tree(100)), (0, 0, 0, 0))) == 100
    text, value = texts.horner(6)
    assert eval(text) == value
    assert len(build(parse(text), (0, 0, 0, 0))) == 6


def test_a_profile_gives_the_samples_to_the_modules_that_ran() -> None:
    stacks = "\n".join(
        (
            "main (curta_cli/main.py:1);run (asyncio/runners.py:118) 5",
            "main (curta_cli/main.py:1);take (curta_server/core/scheduler.py:12) 2",
            "take (/somewhere/server/curta_server/core/scheduler.py:40) 1",
            "run (/usr/lib/python3.11/asyncio/runners.py:118);_run (/x/site-packages/quart/app.py:9) 2",
        )
    )
    assert modules(stacks) == {LOOP: 0.5, "curta_server.core.scheduler": 0.3, "quart.app": 0.2}
    assert modules("f (a.py:1);<lambda> (<string>:1) 3") == {NAMED_TUPLES: 1.0}


def test_modules_that_are_hardly_seen_are_put_together() -> None:
    stacks = "\n".join(f"f (m{number}.py:1) 1" for number in range(20))
    found = modules(stacks)
    assert found[REST] == pytest.approx(0.25)
    assert sum(found.values()) == pytest.approx(1.0)


def test_no_profile_has_no_modules() -> None:
    assert modules("") == {}


def test_only_what_was_journalled_and_handed_out_in_a_later_term_is_computed_twice() -> None:
    journalled = [Journalled("one", 1, {1, 2}), Journalled("two", 2, {1})]
    first, second, third = 1 << 20, 2 << 20, 3 << 20
    record = [f"one.1 {first}", f"one.2 {second}", f"one.2 {second + 1}", f"one.3 {second}"]
    record += [f"two.1 {second}", f"other.1 {third}"]
    assert later("\n".join(record), journalled) == [(2, 1), (0, 0)]


def test_a_frame_is_cut_where_it_ends_and_waited_for_where_it_does_not() -> None:
    small, large = b"\x81\x02{}", b"\x81\x7e\x01\x00" + b"x" * 256
    huge = b"\x81\x7f" + (70_000).to_bytes(8, "big") + b"x" * 70_000
    assert frame(small + large, 0) == (b"{}", 4)
    assert frame(small + large, 4) == (b"x" * 256, 264)
    assert frame(huge, 0) == (b"x" * 70_000, 70_010)
    for whole in (small, large, huge):
        assert frame(whole[:-1], 0) is None
        assert frame(whole[:1], 0) is None
    with pytest.raises(ValueError, match="kind"):
        frame(b"\x88\x02xx", 0)


def test_a_message_tells_when_expressions_came_and_ended() -> None:
    message = (
        b'{"type":"delta","items":[{"id":"a","created_at":"1970-01-01T00:00:01Z","finished_at":null},'
        b'{"id":"b","created_at":"1970-01-01T00:00:02Z","finished_at":"1970-01-01T00:00:03Z"}]}'
    )
    kind, events = Messages().read(message)
    assert kind == "delta"
    assert events == [("a created_at", 1.0), ("b created_at", 2.0), ("b finished_at", 3.0)]
    assert Messages().read(b'{"type":"beat"}') == ("beat", [])


def test_a_machine_is_described_without_a_path() -> None:
    described = machine.describe()
    assert described["cores"] >= 1
    assert str(Path.home()) not in machine.sentence(described)
    assert machine.is_same(described, described)
    assert not machine.is_same(described, described | {"cores": 0})


def test_the_same_figures_are_drawn_with_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    used = {"server": 1.0, "agents": 2.0, "database": 3.0}
    more = {"growing": "tasks", "tasks": 1000, "agents": 10, "cpu_us_per_task": used, "work_bytes": 1e6}
    rows = [
        Row("tree, 10 agents × 200 slots", "tasks/s", [1.0, 2.0], beside=[3.0, 4.0], scenario="trees"),
        Row("2+2*2, p50", "ms", [9.0], more={"quantiles_ms": [1.0, 2.0, 30.0]}, scenario="latency"),
        Row("1,000 tasks", "tasks/s", [9.0], more=more | {"crowd_bytes": 1e6}, scenario="growth"),
    ]
    first, second = (plots.draw(rows, tmp_path / name) for name in ("a", "b"))
    assert [path.name for path in first] == ["trees.svg", "latency.svg", "growth.svg"]
    for one, other in zip(first, second, strict=True):
        drawn = one.read_text()
        assert drawn == other.read_text()
        assert str(tmp_path) not in drawn and "<dc:date>" not in drawn


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert plots.draw([Row("2+2*2, p99", "ms", [9.0])], tmp_path) == []
