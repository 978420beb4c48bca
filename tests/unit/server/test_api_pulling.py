"""Tasks by HTTP: what an agent may say, and what is refused before the leader hears of it."""

from typing import Any

import pytest
from tests.support.rest import Rest

from curta_server.errors import Problem
from curta_wire.frames import Assignment

TASK = "01900000-0000-7000-8000-000000000000.3"
AGENT = "01900000-0000-7000-8000-00000000000a"
BY = "machine-agent"


async def test_tasks_are_taken_as_on_the_websocket(rest: Rest) -> None:
    rest.pull.ready = [Assignment(TASK, 1048577, "addition", ("1", "2" * 300), 1000)] * 3
    answer = await rest.ask("GET", f"/tasks?agent={AGENT.upper()}&slots=2&wait=1.5", by=BY)
    assert answer.status == 200
    assert answer.body is not None
    assert answer.body["lease_s"] == 60
    assert (
        answer.body["tasks"]
        == [
            {
                "task": TASK,
                "attempt": 1048577,
                "operation": "addition",
                "operands": ["1", "2" * 300],
                "duration_ms": 1000,
            }
        ]
        * 2
    )
    assert rest.pull.taken == [("machine", AGENT, 2, None, 1.5)]


async def test_nothing_to_do_is_204(rest: Rest) -> None:
    answer = await rest.ask("GET", "/tasks", by=BY)
    assert (answer.status, answer.data) == (204, b"")
    assert rest.pull.taken == [("machine", None, 1, None, 0.0)]


async def test_operations_are_separated_by_commas_or_repeated_and_unknown_ones_ignored(rest: Rest) -> None:
    await rest.ask("GET", "/tasks?operations=division,power&operations=addition", by=BY)
    await rest.ask("GET", "/tasks?operations=", by=BY)
    assert (await rest.ask("GET", "/tasks?operations=power", by=BY)).status == 204
    assert [taken[3] for taken in rest.pull.taken] == [["addition", "division"], None, []]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("agent=me", 400), ("agent=", 400), ("slots=0", 422), ("slots=x", 400), ("slots=1000000", 422),
        ("wait=51", 422), ("wait=x", 400), ("slots=1" + "0" * 5000, 422),
    ],
)  # fmt: skip
async def test_a_question_that_cannot_be_is_refused(rest: Rest, query: str, status: int) -> None:
    assert (await rest.ask("GET", f"/tasks?{query}", by=BY)).status == status
    assert not rest.pull.taken


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"attempt": 5, "value": "-1/3"}, (TASK, 5, "-1/3", None, "")),
        ({"attempt": 5, "value": "7", "task": "ignored"}, (TASK, 5, "7", None, "")),
        ({"attempt": 5, "error": {"code": "division_by_zero"}}, (TASK, 5, None, "division_by_zero", "")),
        ({"attempt": 5, "error": {"code": "c", "message": "m" * 2000}}, (TASK, 5, None, "c", "m" * 200)),
        ({"attempt": 5, "error": {"code": "c\0", "message": "\x1b[31m\n"}}, (TASK, 5, None, "c�", "�[31m�")),
    ],
)
async def test_a_result_is_handed_on(rest: Rest, sent: Any, told: Any) -> None:
    answer = await rest.ask("POST", f"/tasks/{TASK}/result", json=sent, by=BY)
    assert (answer.status, answer.body) == (200, {"task": TASK, "attempt": 5})
    assert rest.pull.results == [told]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 400), ({"attempt": 5}, 400), ({"value": "1"}, 400), ({"attempt": "5", "value": "1"}, 400),
        ({"attempt": 5, "value": "1", "error": {"code": "c"}}, 400), ({"attempt": 5, "value": 1}, 400),
        ({"attempt": 5, "value": "01"}, 400), ({"attempt": 5, "value": "2/4"}, 400),
        ({"attempt": 5, "value": "1\n"}, 400), ({"attempt": 5, "value": "-0"}, 400),
        ({"attempt": 5, "value": "1.5"}, 400), ({"attempt": 5, "value": "1" * 1001}, 422),
        ({"attempt": 5, "value": "1" * 2000}, 422), ({"attempt": -1, "value": "1"}, 422),
        ({"attempt": 2**53, "value": "1"}, 422), ({"attempt": 5, "error": {"code": ""}}, 422),
        ({"attempt": 5, "error": "c"}, 400), ({"attempt": 5, "error": {"message": "m"}}, 400),
    ],
)  # fmt: skip
async def test_a_result_that_cannot_be_is_refused(rest: Rest, sent: Any, status: int) -> None:
    answer = await rest.ask("POST", f"/tasks/{TASK}/result", json=sent, by=BY)
    assert (answer.status, answer.code) == (status, "malformed" if status == 400 else "unprocessable")
    assert not rest.pull.results


async def test_a_result_is_json(rest: Rest) -> None:
    answer = await rest.ask("POST", f"/tasks/{TASK}/result", data="attempt=5", by=BY)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


async def test_a_lease_is_renewed_with_or_without_its_attempt(rest: Rest) -> None:
    for sent in ({"attempt": 5}, {}):
        answer = await rest.ask("POST", f"/tasks/{TASK}/lease", json=sent, by=BY)
        assert (answer.status, answer.body) == (200, {"lease_s": 60})
    assert (await rest.ask("POST", f"/tasks/{TASK}/lease", by=BY)).status == 200
    assert rest.pull.renewed == [(TASK, 5), (TASK, None), (TASK, None)]


@pytest.mark.parametrize("code", ["not_yours", "not_found", "unavailable"])
async def test_what_the_leader_refuses_is_told(rest: Rest, code: str) -> None:
    rest.pull.refusal = Problem(code, "So it is.")
    answer = await rest.ask("POST", f"/tasks/{TASK}/result", json={"attempt": 5, "value": "1"}, by=BY)
    assert answer.code == code
    assert (await rest.ask("POST", f"/tasks/{TASK}/lease", by=BY)).code == code


@pytest.mark.parametrize("task", ["x", "01900000-0000-7000-8000-000000000000", f"{TASK}x", "%00.1"])
async def test_an_unknown_task_is_404(rest: Rest, task: str) -> None:
    for path in ("result", "lease"):
        answer = await rest.ask("POST", f"/tasks/{task}/{path}", json={"attempt": 5, "value": "1"}, by=BY)
        assert (answer.status, answer.code) == (404, "not_found")
