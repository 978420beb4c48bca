"""Looking at expressions: pages, waiting, cutting, cancelling, and whose they are."""

import asyncio
from typing import Any

import pytest
from tests.support.fakes import NOW
from tests.support.rest import Rest
from tests.support.waiting import until

from curta_server.api import reading
from curta_server.views import Progress


async def _page(rest: Rest, query: str = "", by: str = "anna-user") -> tuple[list[str], str | None]:
    answer = await rest.ask("GET", f"/expressions?{query}", by=by)
    assert answer.status == 200, answer.data
    assert answer.body is not None
    return [item["expression"] for item in answer.body["items"]], answer.body["next"]


async def test_pages_go_from_the_newest_to_the_oldest(rest: Rest) -> None:
    for i in range(5):
        await rest.submit(f"{i}+1")
    first, cursor = await _page(rest, "limit=2")
    second, following = await _page(rest, f"limit=2&cursor={cursor}")
    third, end = await _page(rest, f"limit=2&cursor={following}")
    assert [first, second, third] == [["4+1", "3+1"], ["2+1", "1+1"], ["0+1"]]
    assert end is None
    assert await _page(rest, "limit=5") == (["4+1", "3+1", "2+1", "1+1", "0+1"], None)


async def test_a_list_is_narrowed_by_status_and_text(rest: Rest) -> None:
    for text in ("1e3+1", "22+1", "7"):
        await rest.submit(text)
    assert (await _page(rest, "status=done"))[0] == ["7"]
    assert (await _page(rest, "status=done&status=queued&status=done"))[0] == ["7", "22+1", "1e3+1"]
    assert (await _page(rest, "q=1E3"))[0] == ["1e3+1"]
    assert (await _page(rest, "status=failed"))[0] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=0", 422), ("limit=1001", 422), ("limit=-1", 422), ("limit=ten", 400), ("limit=", 400),
        ("limit=1.5", 400), ("limit=99999999999999999999", 422), ("limit=-" + "9" * 5000, 422),
        ("status=lost", 422), ("status=", 422),
        ("cursor=", 400), ("cursor=AAAA", 400), ("cursor=%00", 400), ("cursor=%C3%A4", 400), ("q=%00", 422),
        ("q=" + "x" * 201, 422), ("limit=%D9%A3", 400),
    ],
)  # fmt: skip
async def test_a_parameter_that_cannot_be_is_refused(rest: Rest, query: str, status: int) -> None:
    answer = await rest.ask("GET", f"/expressions?{query}")
    assert (answer.status, answer.code) == (status, "malformed" if status == 400 else "unprocessable")


async def test_a_filter_by_status_agrees_with_the_status_that_is_shown(rest: Rest) -> None:
    """Though rows say only a moment later that their expressions run."""
    ids = [(await rest.submit(f"{n}+1"))["id"] for n in range(5)]
    for n in (1, 2, 3):
        rest.dispatcher.progresses[ids[n]] = Progress("running", 0, 1, None, None, None)
    # The last one starts between the question who did and the look at it.
    rest.dispatcher.just_started = [ids[1], ids[2]]
    assert await _page(rest, "status=running") == (["2+1", "1+1"], None)
    assert await _page(rest, "status=queued") == (["4+1", "0+1"], None)
    assert await _page(rest, "status=queued&limit=2") == (["4+1", "0+1"], None), "the page is full"
    assert (await _page(rest, "status=queued&status=running"))[0] == ["4+1", "3+1", "2+1", "1+1", "0+1"]
    first, cursor = await _page(rest, "status=queued&limit=1")
    assert first == ["4+1"] and cursor is not None
    assert await _page(rest, f"status=queued&limit=1&cursor={cursor}") == (["0+1"], None)


async def test_what_ended_meanwhile_is_not_listed_as_running(rest: Rest) -> None:
    id = (await rest.submit("1+2"))["id"]
    rest.dispatcher.just_started = [id]
    assert await _page(rest, "status=running") == ([], None), "it has left the leader's memory"


async def test_a_tampered_cursor_is_noticed(rest: Rest) -> None:
    for i in range(3):
        await rest.submit(f"{i}+1")
    cursor = (await _page(rest, "limit=1"))[1]
    assert cursor is not None
    for at in range(len(cursor)):
        tampered = cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :]
        answer = await rest.ask("GET", f"/expressions?cursor={tampered}")
        assert (answer.status, answer.code) == (400, "malformed")
    for foreign in (cursor + "=", cursor + "A", reading.make_cursor(b"short")):
        assert (await rest.ask("GET", f"/expressions?cursor={foreign}")).status == 400


async def test_users_see_their_own_and_viewers_and_admins_everybodys(rest: Rest) -> None:
    own = await rest.submit("1+2")
    await rest.submit("3+4", by="bert-user")
    assert (await _page(rest))[0] == ["1+2"]
    assert (await _page(rest, by="guest-viewer"))[0] == ["3+4", "1+2"]
    assert (await _page(rest, by="root-admin"))[0] == ["3+4", "1+2"]
    for path in (f"/expressions/{own['id']}", f"/expressions/{own['id']}/tasks"):
        assert (await rest.ask("GET", path)).status == 200
        assert (await rest.ask("GET", path, by="guest-viewer")).status == 200
        answer = await rest.ask("GET", path, by="bert-user")
        assert (answer.status, answer.code) == (404, "not_found")
    answer = await rest.ask("DELETE", f"/expressions/{own['id']}", by="bert-user")
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize(
    "id", ["x", "01900000-0000-7000-8000-000000000000", "0190000000007000800000000000000", "%00", "{}"]
)
async def test_an_unknown_id_is_404(rest: Rest, id: str) -> None:
    for method, path in (("GET", ""), ("GET", "/tasks"), ("DELETE", ""), ("GET", "?wait=5")):
        answer = await rest.ask(method, f"/expressions/{id}{path}")
        assert (answer.status, answer.code) == (404, "not_found")


async def test_an_id_is_read_in_either_case(rest: Rest) -> None:
    body = await rest.submit("1+2")
    assert (await rest.ask("GET", f"/expressions/{body['id'].upper()}")).body == body


async def test_only_a_look_at_one_shows_everything(rest: Rest) -> None:
    text = "+".join(str(i) for i in range(150))
    id = (await rest.submit(text))["id"]
    rest.table.change(
        id, status="failed", finished_at=NOW, result="7" * 300, exact="1/" + "3" * 300,
        error_code="agents_failed", error_message="m" * 300, error_task=f"{id}.3",
    )  # fmt: skip
    full: dict[str, Any] = (await rest.ask("GET", f"/expressions/{id}")).body or {}
    assert (full["expression"], full["truncated"]) == (text, [])
    assert (full["result"], full["exact"]) == ("7" * 300, "1/" + "3" * 300)
    assert full["error"] == {"code": "agents_failed", "message": "m" * 300, "task": f"{id}.3"}
    cut: dict[str, Any] = (await rest.ask("GET", f"/expressions/{id}?full=false")).body or {}
    assert cut["truncated"] == ["expression", "result", "exact", "error.message"]
    assert (cut["expression"], cut["result"]) == (text[:200], "7" * 200)
    listed: Any = (await rest.ask("GET", "/expressions")).body
    assert listed["items"] == [cut]
    assert (await rest.ask("GET", f"/expressions/{id}?full=1")).status == 400


async def test_what_has_200_characters_is_not_cut(rest: Rest) -> None:
    body = await rest.submit("1+" + " " * 197 + "1")
    assert body["truncated"] == []


# --- waiting ----------------------------------------------------------------------------------------------


async def test_waiting_ends_with_the_expression(rest: Rest) -> None:
    id = (await rest.submit("1+2"))["id"]
    waiting = asyncio.create_task(rest.ask("GET", f"/expressions/{id}?wait=50"))
    await until(lambda: bool(rest.feed._watches))
    async with asyncio.timeout(5):
        rest.table.change(id, status="done", finished_at=NOW, result="3", tasks_done=1)
        rest.feed.publish_final(id)
        answer = await waiting
    assert answer.body is not None
    assert (answer.body["status"], answer.body["result"], answer.body["tasks"]["done"]) == ("done", "3", 1)


async def test_waiting_gives_what_there_is_at_its_end(rest: Rest) -> None:
    id = (await rest.submit("1+2"))["id"]
    rest.dispatcher.progresses[id] = Progress("queued", 0, 0, None, "no agent is connected", None)
    answer = await rest.ask("GET", f"/expressions/{id}?wait=0.01")
    assert answer.body is not None
    assert (answer.body["status"], answer.body["waiting_for"]) == ("queued", "no agent is connected")
    assert not rest.feed._watches


async def test_what_is_final_is_not_waited_for(rest: Rest) -> None:
    id = (await rest.submit("5"))["id"]
    async with asyncio.timeout(5):
        answer = await rest.ask("GET", f"/expressions/{id}?wait=50")
    assert answer.body is not None and answer.body["status"] == "done"


@pytest.mark.parametrize(
    ("wait", "status"),
    [
        ("-1", 422),
        ("50.5", 422),
        ("1e9", 422),
        ("1e400", 422),
        ("9" * 5000, 422),
        ("long", 400),
        ("nan", 400),
        ("inf", 400),
        ("1_0", 400),
        (".", 400),
    ],
)
async def test_a_wait_is_bounded(rest: Rest, wait: str, status: int) -> None:
    id = (await rest.submit("1+2"))["id"]
    assert (await rest.ask("GET", f"/expressions/{id}?wait={wait}")).status == status


# --- cancelling -------------------------------------------------------------------------------------------


async def test_cancelling_tells_the_leader_and_those_who_wait(rest: Rest) -> None:
    id = (await rest.submit("1+2"))["id"]
    waiting = asyncio.create_task(rest.ask("GET", f"/expressions/{id}?wait=50"))
    await until(lambda: bool(rest.feed._watches))
    async with asyncio.timeout(5):
        for _ in range(2):
            answer = await rest.ask("DELETE", f"/expressions/{id}")
            assert answer.status == 200
            assert answer.body is not None and answer.body["status"] == "cancelled"
        assert ((await waiting).body or {})["status"] == "cancelled"
    assert rest.dispatcher.was_cancelled == [id]


async def test_admins_cancel_everybodys_and_viewers_nothing(rest: Rest) -> None:
    id = (await rest.submit("1+2"))["id"]
    assert (await rest.ask("DELETE", f"/expressions/{id}", by="guest-viewer")).status == 403
    assert (await rest.ask("DELETE", f"/expressions/{id}", by="root-admin")).status == 200


@pytest.mark.parametrize("status", ["done", "failed"])
async def test_what_is_over_cannot_be_cancelled(rest: Rest, status: str) -> None:
    id = (await rest.submit("1+2"))["id"]
    rest.table.change(id, status=status, finished_at=NOW)
    answer = await rest.ask("DELETE", f"/expressions/{id}")
    assert (answer.status, answer.code) == (409, "conflict")


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["//expressions", "///expressions", "//healthz", "//", "/expressions/"])
async def test_a_slash_too_many_is_another_name(rest: Rest, path: str) -> None:
    for by in ("anna-user", None):
        answer = await rest.ask("GET", path, by=by)
        assert (answer.status, answer.code) == (404, "not_found")
