"""`curta submit`: what it sends, what it prints, how it ends."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from tests.unit.cli.conftest import Orchestrator, Outcome, expression

from curta_cli import submit

Curta = Callable[..., Outcome]
BATCH = "POST /expressions/batch"
ID = "01937b4e-8f1c-7c3a-9a54-2f8c1f0e6d11"


def sent(orchestrator: Orchestrator) -> list[str]:
    return [item["expression"] for body in orchestrator.bodies() for item in body["expressions"]]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-2+3"],
        ["--", "-2+3"],
        ["--json", "-2+3"],
        ["-2+3", "--as-written"],
    ],
)
def test_an_expression_may_begin_with_a_minus(
    orchestrator: Orchestrator, curta: Curta, arguments: list[str]
) -> None:
    orchestrator.on(BATCH, {"items": [expression()]})
    assert curta("submit", *arguments).code == 0
    assert sent(orchestrator) == ["-2+3"]


@pytest.mark.parametrize("text", ["--5", "-(1+2)", "-.5", "−2", "- 2 - -3"])
def test_however_it_begins_it_is_sent_as_it_stands(
    orchestrator: Orchestrator, curta: Curta, text: str
) -> None:
    orchestrator.on(BATCH, {"items": [expression()]})
    curta("submit", text)
    assert sent(orchestrator) == [text]


def test_a_misspelt_flag_is_not_taken_for_an_expression(orchestrator: Orchestrator, curta: Curta) -> None:
    outcome = curta("submit", "--wiat", "2+2")
    assert outcome.code == 2
    assert "--wiat" in outcome.err
    assert not orchestrator.requests


def test_without_wait_it_prints_the_id(orchestrator: Orchestrator, curta: Curta) -> None:
    orchestrator.on(BATCH, {"items": [expression(status="queued", result=None)]})
    outcome = curta("submit", "2 + 2 * 2")
    assert (outcome.code, outcome.out, outcome.err) == (0, ID + "\n", "")


def test_with_wait_it_prints_the_result_alone(orchestrator: Orchestrator, curta: Curta) -> None:
    orchestrator.on(BATCH, {"items": [expression(status="queued", result=None)]})
    orchestrator.on(f"GET /expressions/{ID}", expression(status="running", result=None), expression())
    outcome = curta("submit", "--wait", "2 + 2 * 2")
    assert (outcome.code, outcome.out, outcome.err) == (0, "6\n", "")


def test_a_long_result_is_fetched_in_full(orchestrator: Orchestrator, curta: Curta) -> None:
    cut = expression(result="1" * 200, truncated=["result"])
    orchestrator.on(BATCH, {"items": [cut]})
    orchestrator.on(f"GET /expressions/{ID}", expression(result="1" * 500))
    assert curta("submit", "--wait", "1").out == "1" * 500 + "\n"


def test_a_failed_expression_is_told_on_standard_error_and_ends_with_1(
    orchestrator: Orchestrator, curta: Curta
) -> None:
    error = {"code": "division_by_zero", "message": "4 / 0 has no value", "task": None}
    orchestrator.on(BATCH, {"items": [expression(status="failed", result=None, error=error)]})
    outcome = curta("submit", "--wait", "4/0")
    assert (outcome.code, outcome.out) == (1, "")
    assert "4 / 0 has no value" in outcome.err


def test_a_refused_expression_is_told_with_its_position_and_ends_with_2(
    orchestrator: Orchestrator, curta: Curta
) -> None:
    problem = {
        "title": "The expression is not valid",
        "status": 400,
        "detail": "an operator is missing",
        "position": 2,
    }
    orchestrator.on(BATCH, {"items": [problem]})
    outcome = curta("submit", "2 2 + 3")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines() == ["Refused: an operator is missing", "  2 2 + 3", "    ^"]


def test_several_results_come_in_order_with_an_empty_line_for_each_without(
    orchestrator: Orchestrator, curta: Curta
) -> None:
    items = [expression(result="1"), {"title": "no", "status": 400}, expression(result="3")]
    orchestrator.on(BATCH, {"items": items})
    outcome = curta("submit", "--wait", "1", "x", "3")
    assert (outcome.code, outcome.out) == (2, "1\n\n3\n")


def test_json_prints_one_object_a_line(orchestrator: Orchestrator, curta: Curta) -> None:
    items = [expression(result="1"), {"title": "no", "status": 400}]
    orchestrator.on(BATCH, {"items": items})
    outcome = curta("submit", "--json", "1", "x")
    assert [json.loads(line) for line in outcome.out.splitlines()] == items


def test_a_lost_answer_is_asked_for_again_with_the_same_id(orchestrator: Orchestrator, curta: Curta) -> None:
    orchestrator.on(
        BATCH,
        httpx.ReadError("connection reset"),
        httpx.Response(503, json={"title": "away", "status": 503}, headers={"Retry-After": "1"}),
        {"items": [expression()]},
    )
    assert curta("submit", "2+2").code == 0
    ids = [body["expressions"][0]["id"] for body in orchestrator.bodies()]
    assert len(ids) == 3
    assert len(set(ids)) == 1


def test_each_expression_gets_an_id_of_its_own(orchestrator: Orchestrator, curta: Curta) -> None:
    orchestrator.on(BATCH, {"items": [expression(), expression()]})
    curta("submit", "2+2", "2+2")
    (body,) = orchestrator.bodies()
    first, second = body["expressions"]
    assert first["id"] != second["id"]


def test_the_users_id_and_as_written_are_passed_on(orchestrator: Orchestrator, curta: Curta) -> None:
    orchestrator.on(BATCH, {"items": [expression()]})
    curta("submit", "--id", "mine", "--as-written", "2+2")
    assert orchestrator.bodies() == [
        {"expressions": [{"expression": "2+2", "id": "mine", "optimize": False}]}
    ]


def test_an_id_for_several_expressions_is_wrong_usage(orchestrator: Orchestrator, curta: Curta) -> None:
    assert curta("submit", "--id", "mine", "1", "2").code == 2


def test_nothing_to_submit_is_wrong_usage(orchestrator: Orchestrator, curta: Curta) -> None:
    assert curta("submit").code == 2


def test_a_file_holds_one_expression_a_line(orchestrator: Orchestrator, curta: Curta, tmp_path: Path) -> None:
    (tmp_path / "sums").write_bytes("\ufeff1+1\r\n\n  2\u20282 \n3".encode())
    orchestrator.on(BATCH, {"items": [expression()] * 3})
    curta("submit", "--file", str(tmp_path / "sums"))
    assert sent(orchestrator) == ["1+1", "2\u20282", "3"]


def test_a_dash_is_standard_input(
    orchestrator: Orchestrator, curta: Curta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1+1\n-2\n")))
    orchestrator.on(BATCH, {"items": [expression()] * 2})
    curta("submit", "--file", "-")
    assert sent(orchestrator) == ["1+1", "-2"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe1"])
def test_an_unreadable_file_is_wrong_usage(
    orchestrator: Orchestrator, curta: Curta, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "sums").write_bytes(content)
    assert curta("submit", "--file", str(tmp_path / "sums")).code == 2


def test_many_expressions_go_in_several_requests(
    orchestrator: Orchestrator, curta: Curta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "BATCH_EXPRESSIONS", 2)
    orchestrator.on(BATCH, {"items": [expression()] * 2}, {"items": [expression()]})
    outcome = curta("submit", "1", "2", "3")
    assert outcome.out == (ID + "\n") * 3
    assert [len(body["expressions"]) for body in orchestrator.bodies()] == [2, 1]


def test_a_wrong_token_ends_with_2(orchestrator: Orchestrator, curta: Curta) -> None:
    orchestrator.on(BATCH, httpx.Response(401, json={"title": "A token is needed", "status": 401}))
    outcome = curta("submit", "2+2")
    assert outcome.code == 2
    assert "A token is needed" in outcome.err


def test_an_unreachable_orchestrator_ends_with_3(
    orchestrator: Orchestrator, curta: Curta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curta_cli.rest.ABSENT_S", 0.0)
    orchestrator.on(BATCH, httpx.ConnectError("connection refused"))
    outcome = curta("submit", "2+2")
    assert outcome.code == 3
    assert "cannot be reached" in outcome.err


def test_an_answer_that_is_not_ours_ends_with_3(orchestrator: Orchestrator, curta: Curta) -> None:
    orchestrator.on(BATCH, httpx.Response(200, text="<html>"))
    assert curta("submit", "2+2").code == 3
