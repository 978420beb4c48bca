"""`POST /expressions`, its batch and the dry run: what is accepted, and what refused with which words."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from tests.support.rest import Rest
from werkzeug.datastructures import Headers

from curta_server.errors import unavailable
from curta_server.views import Progress


async def test_a_bare_text_becomes_an_expression(rest: Rest) -> None:
    answer = await rest.ask("POST", "/expressions", data="2+2*2")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.body
    assert body is not None
    assert answer.headers["Location"] == f"/expressions/{body['id']}"
    assert UUID(body.pop("id")).version == 7
    assert body == {
        "client_id": None,
        "owner": "anna",
        "expression": "2+2*2",
        "optimize": True,
        "status": "queued",
        "result": None,
        "exact": None,
        "error": None,
        "waiting_for": "others are first",
        "created_at": "2030-01-02T03:04:05.678901Z",
        "started_at": None,
        "finished_at": None,
        "tasks": {"total": 2, "done": 0, "running": 0},
        "eta_s": None,
        "truncated": [],
    }


@pytest.mark.parametrize(
    "type",
    [None, "application/x-www-form-urlencoded", "text/plain; charset=latin-1", "application/octet-stream"],
)
async def test_a_body_that_is_not_json_is_taken_literally(rest: Rest, type: str | None) -> None:
    for text in ("1+2", "\n 4÷2 · 3 \n", "2*3%", "1+2&x=3"):
        answer = await rest.ask("POST", "/expressions", data=text.encode(), type=type)
        if "%" in text or "&" in text:
            assert (answer.status, answer.code) == (400, "invalid_expression")
        else:
            assert answer.status == 200
            assert answer.body is not None
            assert answer.body["expression"] == text.strip()


async def test_json_is_the_other_form(rest: Rest) -> None:
    sent = {"expression": "1-2", "id": "my 1st", "optimize": False, "unknown": [1]}
    for type in ("application/json", "application/json; charset=utf-8", "application/vnd.x+json"):
        answer = await rest.ask("POST", "/expressions", json=sent, type=type)
        assert answer.status == 200
        assert answer.body is not None
        assert (answer.body["client_id"], answer.body["optimize"]) == ("my 1st", False)
    assert len(rest.table.rows) == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b'{"expression": "1+2"', "truncated"),
        (b'{"expression": "1+2"} x', "trailing"),
        (b'{"expression": "1+2",}', "is not JSON: trailing comma in object (byte 21)"),
        (b'"1+2"', "object"),
        (b"null", "object"),
        (b"{}", "expression"),
        (b'{"expression": 5}', "`expression`"),
        (b'{"expression": null}', "`expression`"),
        (b'{"expression": "1", "id": 5}', "`id`"),
        (b'{"expression": "1", "optimize": "no"}', "`optimize`"),
        (b'{"expression": "1", "optimize": null}', "`optimize`"),
        (b'{"expression": "1\xff"}', "UTF-8: invalid start byte at byte 17."),
        (b'{"expression": "1+2", "x": "\xff"}', "UTF-8: invalid start byte at byte 28."),
        (b'{"expression": "1+2", "\xc3": 1}', "UTF-8: invalid continuation byte at byte 23."),
        (b'{"expression": "1\\ud800"}', "JSON"),
        (b'{"expression": "1\\udc00 + 1"}', "JSON"),
        (b'{"expression": "\\ud800\\u0041"}', "JSON"),
        (b'{"expression": "1\xed\xa0\x80"}', "UTF-8"),
        (b'{"expression": "1", "x": ' + b"[" * 9000, "nested"),
    ],
)
async def test_malformed_json_is_400_and_says_what_is_wrong(rest: Rest, data: bytes, said: str) -> None:
    answer = await rest.ask("POST", "/expressions", data=data, type="application/json")
    assert (answer.status, answer.code) == (400, "malformed")
    assert answer.body is not None
    assert said in answer.body["detail"]
    assert not rest.table.rows


async def test_a_batch_that_is_not_utf8_is_malformed_as_a_whole(rest: Rest) -> None:
    data = b'{"expressions": [{"expression": "1+2"}, {"expression": "3+4", "x": "\xff"}]}'
    answer = await rest.ask("POST", "/expressions/batch", data=data, type="application/json")
    assert (answer.status, answer.code) == (400, "malformed")
    assert not rest.table.rows


@pytest.mark.parametrize("data", [b"1+\xff", b"\xed\xa0\x80", b"1+2\xc3"])
async def test_bytes_that_are_no_text_are_malformed(rest: Rest, data: bytes) -> None:
    answer = await rest.ask("POST", "/expressions", data=data)
    assert (answer.status, answer.code) == (400, "malformed")


@pytest.mark.parametrize("form", ["bare", "json"])
async def test_a_bad_expression_is_refused_with_its_position_in_what_was_sent(rest: Rest, form: str) -> None:
    text = " \n×1 2"
    answer = (
        await rest.ask("POST", "/expressions", data=text)
        if form == "bare"
        else await rest.ask("POST", "/expressions", json={"expression": text})
    )
    assert (answer.status, answer.code) == (400, "invalid_expression")
    assert answer.body is not None
    assert answer.body["position"] == 2
    assert answer.body["expected"] == ["number", "(", "-"]
    assert not rest.table.rows


@pytest.mark.parametrize("text", ["", " ", "2 2+3", "1\0+2", "2\x00", "1+2 \ufeff"])
async def test_what_is_no_expression_is_never_stored(rest: Rest, text: str) -> None:
    for answer in (
        await rest.ask("POST", "/expressions", data=text),
        await rest.ask("POST", "/expressions", json={"expression": text}),
    ):
        assert (answer.status, answer.code) == (400, "invalid_expression")
    assert not rest.table.rows


async def test_limits_are_named(rest: Rest) -> None:
    answer = await rest.ask("POST", "/expressions", data="+".join(str(i) for i in range(400)))
    assert (answer.status, answer.code) == (413, "too_many_tasks")
    assert answer.body is not None and "300" in answer.body["detail"]
    answer = await rest.ask("POST", "/expressions", data="1" * 51)
    assert (answer.status, answer.code) == (400, "literal_too_long")
    assert answer.body is not None and "50" in answer.body["detail"]
    answer = await rest.ask("POST", "/expressions", data="÷" * 2001)
    assert (answer.status, answer.code) == (413, "too_long")
    assert answer.body is not None and "4000" in answer.body["detail"]
    answer = await rest.ask("POST", "/expressions", data="1" * 10_001)
    assert (answer.status, answer.code) == (413, "too_long")
    assert answer.body is not None and "10000" in answer.body["detail"]


async def test_a_long_text_is_planned_in_a_child_process_just_the_same(rest: Rest) -> None:
    text = "+".join(str(i) for i in range(200))
    body = await rest.submit(f" {text}\n")
    assert body["tasks"]["total"] == 199
    assert body["expression"] == text[:200]
    assert body["truncated"] == ["expression"]
    answer = await rest.ask("POST", "/expressions", data=f"\n{text} 5")
    assert (answer.status, answer.code) == (400, "invalid_expression")
    assert answer.body is not None and answer.body["position"] == len(text) + 2


@pytest.mark.parametrize(
    ("text", "result", "exact"),
    [
        ("5", "5", None),
        ("-3.50", "-3.5", None),
        ("--007", "7", None),
        ("-0", "0", None),
        ("(-(2e3))", "-2000", None),
    ],
)
async def test_a_bare_number_is_done_at_once(rest: Rest, text: str, result: str, exact: str | None) -> None:
    body = await rest.submit(text)
    assert (body["status"], body["result"], body["exact"]) == ("done", result, exact)
    assert body["tasks"] == {"total": 0, "done": 0, "running": 0}
    assert body["finished_at"] == body["created_at"]
    assert body["waiting_for"] is None


# --- the client's id --------------------------------------------------------------------------------------


async def test_the_same_id_gives_the_same_expression(rest: Rest) -> None:
    first = await rest.submit("1+2", headers={"Idempotency-Key": "k"})
    again = await rest.ask("POST", "/expressions", json={"expression": " 1+2\n", "id": "k"})
    assert (again.status, again.body) == (200, first)
    other_user = await rest.submit("9-8", by="bert-user", headers={"Idempotency-Key": "k"})
    assert other_user["id"] != first["id"]


async def test_the_same_id_fifty_times_at_once_creates_one(rest: Rest) -> None:
    bodies = await asyncio.gather(*(rest.submit("1+2", headers={"Idempotency-Key": "k"}) for _ in range(50)))
    assert len({body["id"] for body in bodies}) == 1
    assert len(rest.table.rows) == 1


@pytest.mark.parametrize("change", [{"expression": "1+3"}, {"optimize": False}])
async def test_the_same_id_for_something_else_is_422(rest: Rest, change: dict[str, Any]) -> None:
    await rest.ask("POST", "/expressions", json={"expression": "1+2", "id": "k"})
    answer = await rest.ask("POST", "/expressions", json={"expression": "1+2", "id": "k"} | change)
    assert (answer.status, answer.code) == (422, "id_reused")


async def test_two_different_keys_are_malformed_and_the_same_one_twice_is_fine(rest: Rest) -> None:
    async def submit(*keys: str) -> int:
        headers = [("Authorization", "Bearer anna-user"), *(("Idempotency-Key", key) for key in keys)]
        response = await rest.client.post("/expressions", headers=Headers(headers), data="1+2")
        return int(response.status_code)

    assert await submit("a", "b") == 400
    assert not rest.table.rows
    assert await submit("a", "a") == 200


async def test_two_different_ids_are_400_and_two_equal_ones_are_one(rest: Rest) -> None:
    sent = {"expression": "1+2", "id": "a"}
    answer = await rest.ask("POST", "/expressions", json=sent, headers={"Idempotency-Key": "b"})
    assert (answer.status, answer.code) == (400, "malformed")
    answer = await rest.ask("POST", "/expressions", json=sent, headers={"Idempotency-Key": "a"})
    assert answer.status == 200


@pytest.mark.parametrize("id", ["", "x" * 256, "ä", "a\nb", "a\0", "\x7f"])
async def test_an_id_is_printable_and_not_too_long(rest: Rest, id: str) -> None:
    answer = await rest.ask("POST", "/expressions", json={"expression": "1+2", "id": id})
    assert (answer.status, answer.code) == (422, "unprocessable")
    assert not rest.table.rows


async def test_optimize_is_also_a_query_parameter(rest: Rest) -> None:
    answer = await rest.ask("POST", "/expressions?optimize=false", data="1+2+1+2")
    assert answer.body is not None and answer.body["optimize"] is False
    answer = await rest.ask("POST", "/expressions?optimize=false", json={"expression": "1+2"})
    assert answer.body is not None and answer.body["optimize"] is False
    answer = await rest.ask("POST", "/expressions?optimize=maybe", data="1+2")
    assert (answer.status, answer.code) == (400, "malformed")
    sent = {"expression": "1+2", "optimize": True}
    answer = await rest.ask("POST", "/expressions?optimize=false", json=sent)
    assert (answer.status, answer.code) == (400, "malformed")


# --- what the leader knows of it --------------------------------------------------------------------------


async def test_an_expression_that_the_leader_holds_shows_its_progress(rest: Rest) -> None:
    body = await rest.submit("1+2", headers={"Idempotency-Key": "k"})
    started_us = int(datetime(2030, 1, 2, 3, 4, 6, tzinfo=UTC).timestamp()) * 1_000_000 + 5
    rest.dispatcher.progresses[body["id"]] = Progress("running", 0, 1, 1.5, None, started_us)
    body = await rest.submit("1+2", headers={"Idempotency-Key": "k"})
    assert (body["status"], body["tasks"]["running"], body["eta_s"]) == ("running", 1, 1.5)
    assert body["started_at"] == "2030-01-02T03:04:06.000005Z"
    rest.dispatcher.progresses[body["id"]] = Progress("running", 0, 1, 1.5, None, 1)
    body = await rest.submit("1+2", headers={"Idempotency-Key": "k"})
    assert body["started_at"] == body["created_at"], "nothing starts before it was made"
    assert body["waiting_for"] is None


async def test_without_a_leader_it_is_said_that_there_is_none(rest: Rest) -> None:
    rest.dispatcher.leading = False
    body = await rest.submit("1+2")
    assert body["waiting_for"] == "no orchestrator leads at the moment"


async def test_an_outage_is_503_with_retry_after(rest: Rest) -> None:
    rest.table.failing = ConnectionRefusedError()
    answer = await rest.ask("POST", "/expressions", data="1+2")
    assert (answer.status, answer.code) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    rest.table.failing = unavailable("full", 3)
    answer = await rest.ask("POST", "/expressions", data="1+2")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "3")
    rest.table.failing = None
    assert (await rest.ask("POST", "/expressions", data="1+2")).status == 200


# --- batches ----------------------------------------------------------------------------------------------


async def test_a_batch_answers_in_order_and_stores_what_is_good(rest: Rest) -> None:
    items: list[Any] = [
        {"expression": "1+2"},
        {"expression": "1+"},
        {"expression": 5},
        "1+2",
        {"expression": "7", "id": "seven"},
        {"expression": "8", "id": "seven"},
        {"expression": "7", "id": "seven"},
        {"expression": "9", "id": "x" * 256},
        {"expression": "9-1", "optimize": False},
    ]
    answer = await rest.ask("POST", "/expressions/batch", json={"expressions": items})
    assert answer.status == 200
    assert answer.body is not None
    found = answer.body["items"]
    problems = [item["type"].rpartition("/")[2] if "title" in item else None for item in found]
    assert problems == [
        None, "invalid_expression", "malformed", "malformed", None, "id_reused", None, "unprocessable", None,
    ]  # fmt: skip
    assert found[4]["id"] == found[6]["id"]
    assert found[1]["position"] == 2
    assert found[8]["optimize"] is False
    assert rest.table.batches == [5]


async def test_an_empty_batch_is_no_error(rest: Rest) -> None:
    answer = await rest.ask("POST", "/expressions/batch", json={"expressions": []})
    assert (answer.status, answer.body) == (200, {"items": []})


async def test_a_batch_has_a_limit_and_is_json(rest: Rest) -> None:
    items = [{"expression": "1"}] * 21
    answer = await rest.ask("POST", "/expressions/batch", json={"expressions": items})
    assert (answer.status, answer.code) == (422, "unprocessable")
    assert answer.body is not None and "20" in answer.body["detail"]
    for data in (b"1+2", b"[]", b'{"expressions": {}}', b'{"expressions": null}', b"{}"):
        answer = await rest.ask("POST", "/expressions/batch", data=data, type="application/json")
        assert (answer.status, answer.code) == (400, "malformed")
    answer = await rest.ask("POST", "/expressions/batch", data=b"1+2")
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


# --- the dry run ------------------------------------------------------------------------------------------


async def test_a_dry_run_says_what_a_plan_costs_and_stores_nothing(rest: Rest) -> None:
    answer = await rest.ask("POST", "/plan", data="1+2+3+4")
    assert answer.status == 200
    assert answer.body == {
        "tasks": 3,
        "sequential_ms": 3000,
        "critical_path_ms": 2000,
        "critical_path_as_written_ms": 3000,
        "width": 2,
    }
    answer = await rest.ask("POST", "/plan", json={"expression": "1+2+3+4", "optimize": False})
    assert answer.body is not None and answer.body["critical_path_ms"] == 3000
    answer = await rest.ask("POST", "/plan", data="+".join(str(i) for i in range(200)))
    assert answer.body is not None and answer.body["tasks"] == 199
    answer = await rest.ask("POST", "/plan", data="1+")
    assert (answer.status, answer.code) == (400, "invalid_expression")
    assert not rest.table.rows
