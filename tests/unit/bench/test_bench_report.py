"""Rows, the tables they become, and the files they are kept in."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from bench import ROOT, report, results
from bench.report import BEGIN, END, Row
from rich.console import Console

TREE = Row(
    "tree, 10 agents × 200 slots",
    "tasks/s",
    [50_000, 60_000, 40_000],
    "ratio ≥ 0.5",
    [100_000, 100_000, 50_000],
    scenario="trees",
    note="a|b",
)
LATENCY = Row("2+2*2, p50", "ms", [9.0], "≤ 10 ms", more={"all": [1, 2]}, scenario="latency")


def test_a_ratio_is_the_median_of_the_pairs_ratios() -> None:
    assert TREE.ratio == 0.6
    assert TREE.ratios == (0.6, 0.5, 0.8)
    assert LATENCY.ratio is None


def test_pairs_must_be_complete() -> None:
    with pytest.raises(ValueError, match="shorter"):
        _ = replace(TREE, beside=[1.0]).ratios


def test_rates_are_better_when_higher_and_everything_else_when_lower() -> None:
    assert TREE.is_rate
    assert not LATENCY.is_rate
    assert not Row("memory", "bytes/task", [1.0]).is_rate


def test_the_terminal_shows_every_row() -> None:
    console = Console(file=StringIO(), width=200)
    (table,) = report.tables([TREE, LATENCY])
    console.print(table)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "50,000 (40,000–60,000) tasks/s" in said
    assert "9 ms" in said


def test_columns_of_a_scenario_stand_in_its_own_table() -> None:
    other = replace(LATENCY, scenario="peers", columns={"durable": "no", "versions": "x 1"})
    assert [len(table.columns) for table in report.tables([TREE, LATENCY, other])] == [6, 8]
    assert report.markdown([LATENCY, other], "").splitlines()[-3:] == [
        "| figure | Curta | wanted | durable | versions |",
        "| --- | --- | --- | --- | --- |",
        "| 2+2*2, p50 | 9 ms | ≤ 10 ms | no | x 1 |",
    ]


def test_what_was_left_out_is_said_in_the_tables_and_in_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    row = report.left_out("tree beside X", RuntimeError(f"`{ROOT}/bench/x`\nis not there"), "ratio ≥ 2")
    assert "!!! LEFT OUT: tree beside X: `bench/x` is not there" in capsys.readouterr().err
    assert report.markdown([row], "").endswith(
        "| tree beside X | LEFT OUT | ratio ≥ 2 | `bench/x` is not there |"
    )
    run = results.Results("2031-01-01T00:00:00+00:00", True, {}, [LATENCY, row])
    text = results.encode(run)
    assert json.loads(text)["left_out"] == ["tree beside X: `bench/x` is not there"]
    assert results.decode(text) == run


def test_a_reason_is_never_empty_nor_a_whole_log() -> None:
    assert report.left_out("a", TimeoutError()).note == "TimeoutError"
    assert len(report.left_out("a", "x" * 10_000).note) < 400


def test_the_page_gets_a_table_for_each_scenario_without_empty_columns() -> None:
    assert report.markdown([TREE, LATENCY], "Two cores.").splitlines() == [
        "Two cores.",
        "",
        "### Trees",
        "",
        "| figure | Curta | beside it | ratio | wanted | note |",
        "| --- | --- | --- | --- | --- | --- |",
        "| tree, 10 agents × 200 slots | 50,000 (40,000–60,000) tasks/s | "
        "100,000 (50,000–100,000) (ceiling) | 0.6 (0.5–0.8) | ratio ≥ 0.5 | a\\|b |",
        "",
        "### Latency",
        "",
        "| figure | Curta | wanted |",
        "| --- | --- | --- |",
        "| 2+2*2, p50 | 9 ms | ≤ 10 ms |",
    ]


def test_new_tables_take_the_place_of_the_old_ones_and_of_nothing_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = report.into(page, "new")
    assert once == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert report.into(once, "new") == once


@pytest.mark.parametrize("page", ["nothing", f"{BEGIN} alone", f"{END} {BEGIN}"])
def test_a_page_without_a_place_for_tables_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="no lines"):
        report.into(page, "new")


def test_a_run_is_read_back_as_it_was_saved() -> None:
    run = results.Results("2031-01-01T00:00:00+00:00", True, {"cores": 2}, [TREE, LATENCY])
    assert results.decode(results.encode(run)) == run


def test_what_a_later_release_adds_to_a_row_is_passed_over() -> None:
    run = results.Results("2031-01-01T00:00:00+00:00", False, {}, [LATENCY])
    text = results.encode(run).replace('"note"', '"unheard_of"')
    assert results.decode(text) == run
