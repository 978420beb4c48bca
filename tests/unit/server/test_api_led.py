"""Routes of the leader, asked at an orchestrator that does not lead."""

from uuid import UUID, uuid4

import pytest
from tests.support.fakes import NOW, FakeDispatcher
from tests.support.rest import Rest

from curta_server import store
from curta_server.api import expression_views
from curta_server.forwarding import Answer
from curta_server.leadership import Leader
from curta_server.views import Progress, TaskState

AGENT = "01926f3e-8d3c-7b1a-9c55-2f6f0b7f6a10"
TASK = f"{AGENT}.0"
LED = [
    ("GET", "/agents", "root-admin"),
    ("POST", f"/agents/{AGENT}/drain", "root-admin"),
    ("DELETE", f"/agents/{AGENT}", "root-admin"),
    ("GET", "/tasks", "machine-agent"),
    ("POST", f"/tasks/{TASK}/result", "machine-agent"),
    ("POST", f"/tasks/{TASK}/lease", "machine-agent"),
]


@pytest.fixture
def follower(rest: Rest) -> Rest:
    rest.dispatcher.leading = False
    rest.leadership.other = Leader(2, uuid4(), "http://leader")
    return rest


@pytest.mark.parametrize(("method", "path", "by"), LED)
async def test_what_only_the_leader_knows_is_passed_on_as_it_came(
    follower: Rest, method: str, path: str, by: str
) -> None:
    follower.forwarding.answer = Answer(
        418, {"content-type": "text/x", "retry-after": "9", "www-authenticate": "x"}, b"tea"
    )
    answer = await follower.ask(
        method, f"{path}?wait=7.5&x=%C3%A4", by=by, data=b"\x00body", type="a/b", headers={"X-Own": "1"}
    )
    assert (answer.status, answer.data, answer.headers["Content-Type"]) == (418, b"tea", "text/x")
    assert (answer.headers["Retry-After"], answer.headers["WWW-Authenticate"]) == ("9", "x")
    assert answer.headers["Cache-Control"] == "no-store"
    (request,) = follower.forwarding.requests
    assert (request.method, request.body, request.wait_s) == (method, b"\x00body", 7.5)
    assert request.target == f"{path}?wait=7.5&x=%C3%A4"
    sent = dict(request.headers)
    assert (sent[b"x-own"], sent[b"content-type"]) == (b"1", b"a/b")
    assert sent[b"authorization"] == f"Bearer {by}".encode()
    assert not follower.dispatcher.drained and not follower.pull.taken and not follower.pull.renewed


@pytest.mark.parametrize(("method", "path", "by"), LED)
async def test_what_was_passed_on_once_is_not_passed_on_again(
    follower: Rest, method: str, path: str, by: str
) -> None:
    answer = await follower.ask(method, path, by=by, headers={"curta-forwarded": "1"})
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "1")
    assert not follower.forwarding.requests


@pytest.mark.parametrize(("method", "path", "by"), LED)
async def test_nobody_leading_is_a_503_that_says_when_to_come_back(
    follower: Rest, method: str, path: str, by: str
) -> None:
    answer = await follower.ask(method, path, by=by)
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "1")


@pytest.mark.parametrize(("method", "path", "by"), LED)
async def test_who_may_not_is_refused_before_anything_is_passed_on(
    follower: Rest, method: str, path: str, by: str
) -> None:
    other = "machine-agent" if by == "root-admin" else "anna-user"
    assert (await follower.ask(method, path, by=other)).status == 403
    assert (await follower.ask(method, path, by=None)).status == 401
    assert not follower.forwarding.requests


@pytest.mark.parametrize("wish", ["x", "51", "-1"])
async def test_what_is_wrong_with_a_wish_is_for_the_leader_to_say(follower: Rest, wish: str) -> None:
    follower.forwarding.answer = Answer(400, {}, b"")
    assert (await follower.ask("GET", f"/tasks?wait={wish}", by="machine-agent")).status == 400
    assert follower.forwarding.requests[0].wait_s == 0


async def test_a_leader_answers_itself_also_what_was_passed_on_to_it(rest: Rest) -> None:
    answer = await rest.ask("GET", "/agents", by="root-admin", headers={"Curta-Forwarded": "1"})
    assert answer.status == 200 and not rest.forwarding.requests


# --- what is shown of expressions


async def test_a_follower_shows_what_the_leader_knows(follower: Rest) -> None:
    leader = follower.there.known = FakeDispatcher()
    id = (await follower.submit("1+2"))["id"]
    assert follower.there.asked == 0, "it was stored just now: nobody has it in memory"
    leader.progresses[id] = Progress("running", 0, 1, 2.5, None, 1_893_553_445_000_000)
    leader.states[id] = {0: TaskState("running", 5, AGENT, "rack", 1_893_553_445_000_000)}
    for path in (f"/expressions/{id}", "/expressions"):
        answer = await follower.ask("GET", path)
        assert answer.body is not None
        shown = answer.body["items"][0] if path == "/expressions" else answer.body
        assert (shown["status"], shown["eta_s"], shown["waiting_for"]) == ("running", 2.5, None)
        assert shown["tasks"] == {"total": 1, "done": 0, "running": 1} and shown["started_at"]
    tasks = await follower.ask("GET", f"/expressions/{id}/tasks")
    assert tasks.body is not None
    (task,) = tasks.body["items"]
    assert (task["state"], task["attempt"], task["agent"]["name"]) == ("running", 5, "rack")


async def test_a_new_expression_at_a_follower_waits_for_nothing_yet(follower: Rest) -> None:
    follower.there.known = FakeDispatcher()
    assert (await follower.submit("1+2"))["waiting_for"] is None
    follower.leadership.other = None
    assert (await follower.submit("5+6"))["waiting_for"] == "no orchestrator leads at the moment"


async def test_the_table_is_shown_where_the_leader_cannot_be_asked(follower: Rest) -> None:
    id = (await follower.submit("1+2"))["id"]
    shown = (await follower.ask("GET", f"/expressions/{id}")).body
    assert shown is not None
    assert (shown["status"], shown["waiting_for"]) == ("queued", "the leader cannot be asked at the moment")
    follower.table.change(id, status="running", epoch=3)
    listed = (await follower.ask("GET", "/expressions")).body
    assert listed is not None and listed["items"][0]["status"] == "running"
    tasks = (await follower.ask("GET", f"/expressions/{id}/tasks")).body
    assert tasks is not None and tasks["items"][0]["state"] == "ready"


async def test_progress_does_not_go_back_while_the_leader_cannot_be_asked(follower: Rest) -> None:
    sent = [await follower.submit("(1+2)*(3+4)", headers={"Idempotency-Key": key}) for key in ("a", "b")]
    for number, one in enumerate(sent):
        follower.table.change(one["id"], status="running", epoch=3)
        rows = [store.JournalRow(task, "3", UUID(AGENT), "rack", 7, NOW, NOW) for task in range(number + 1)]
        follower.table.journal[UUID(one["id"])] = rows
    listed = (await follower.ask("GET", "/expressions")).body
    assert listed is not None
    assert [item["tasks"]["done"] for item in listed["items"]] == [2, 1]
    for number, one in enumerate(sent):
        shown = (await follower.ask("GET", f"/expressions/{one['id']}")).body
        assert shown is not None and shown["tasks"] == {"total": 3, "done": number + 1, "running": 0}
    again = await follower.submit("(1+2)*(3+4)", headers={"Idempotency-Key": "b"})
    assert (again["id"], again["tasks"]["done"]) == (sent[1]["id"], 2)


async def test_of_very_large_ones_only_the_first_is_counted(
    follower: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expression_views, "COUNTED_MAX", 2)
    for text in ("1+2+3+4", "5+6+7+8"):
        id = (await follower.submit(text))["id"]
        follower.table.change(id, status="running", epoch=3)
        follower.table.journal[UUID(id)] = [store.JournalRow(0, "3", UUID(AGENT), "rack", 7, NOW, NOW)]
    listed = (await follower.ask("GET", "/expressions")).body
    assert listed is not None
    assert [item["tasks"]["done"] for item in listed["items"]] == [1, 0]


async def test_what_is_final_needs_no_leader(follower: Rest) -> None:
    answer = await follower.ask("POST", "/expressions", data="42")
    assert answer.body is not None and answer.body["status"] == "done"
    asked = follower.there.asked
    shown = await follower.ask("GET", f"/expressions/{answer.body['id']}")
    assert shown.body is not None and shown.body["waiting_for"] is None
    assert follower.there.asked == asked


async def test_cancelling_at_a_follower_tells_everybody(follower: Rest) -> None:
    id = (await follower.submit("1+2"))["id"]
    assert (await follower.ask("DELETE", f"/expressions/{id}")).status == 200
    assert ("cancelled", id) in follower.notices.sent
