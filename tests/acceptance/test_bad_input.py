"""Bad input over REST gets the right answer, and nothing of it is stored."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.client import Client
from tests.support.postgres import PostgresServer
from tests.support.processes import Cluster

TEXT_BYTES = 100_000
TASKS = 1_000
OPEN = {"/healthz", "/readyz", "/leaderz", "/metrics", "/openapi.json", "/docs"}
ANYONE = {("post", "/session"): 415, ("delete", "/session"): 204}
"""What is said to those who sign in with nothing, or out without being in."""


@pytest.fixture(scope="module")
def cluster(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    limits = {"CURTA_TEXT_BYTES_MAX": str(TEXT_BYTES), "CURTA_TASKS_MAX": str(TASKS)}
    cluster = Cluster(postgres, tmp_path_factory.mktemp("cluster"), limits)
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
async def user(cluster: Cluster, admin: Client) -> AsyncIterator[Client]:
    """A user with nothing submitted."""
    _, secret = await admin.make_token(f"user {uuid4()}", "user")
    async with Client(cluster.url, secret) as client:
        yield client


async def stored(client: Client) -> int:
    items = (await client.ask("GET", "/expressions", params={"limit": 1000}))["items"]
    return len(items)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("   ", 0),
        ("2 2 + 3", 2),
        ("2(3)", 1),
        ("2**3", 2),
        ("2^3", 1),
        ("2%3", 1),
        ("x + 1", 0),
        ("(1+2", 4),
        ("1+2)", 3),
        ("()", 1),
        ("1 +", 3),
        ("2++3", 2),
        ("+2", 0),
        ("2,5", 1),
        ("1 – 2", 2),
        ("4:2", 1),
        ("1e1001", 2),
        ("١+٢", 0),
    ],
)
async def test_an_invalid_expression_is_refused_with_its_position_and_not_stored(
    user: Client, text: str, position: int
) -> None:
    problem = await user.problem("POST", "/expressions", status=400, json={"expression": text})
    assert problem["type"] == "/problems/invalid_expression"
    assert isinstance(problem["expected"], list)
    assert problem["position"] == position, problem
    assert await stored(user) == 0


async def test_hints_name_what_was_probably_meant(user: Client) -> None:
    for text in ("2,5", "1 – 2", "1 — 2", "4:2"):
        problem = await user.problem("POST", "/expressions", status=400, json={"expression": text})
        assert "'" in problem["detail"] or "`" in problem["detail"], problem


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"2+2"', 400),
        (b"{}", 400),
        (b'{"expression": 5}', 400),
        (b'{"expression": "1+1", "optimize": "yes"}', 400),
        (b'{"expression": "1+1", "id": 7}', 400),
        (b'{"expression": "\xff"}', 400),
        (b'{"expression": "1+1\\u0000"}', 400),
        (b'{"expression": "\\ud800"}', 400),
        (b"[" * 200_000, 400),
    ],
)
async def test_broken_json_and_wrong_types_are_refused(user: Client, body: bytes, status: int) -> None:
    await user.problem(
        "POST", "/expressions", status=status, content=body, headers={"Content-Type": "application/json"}
    )
    assert await stored(user) == 0


async def test_the_bare_text_as_the_whole_body_is_taken_literally(user: Client) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    shown = await user.ask("POST", "/expressions", content=" 2+2*2\n", headers=form)
    assert shown["expression"] == "2+2*2"
    problem = await user.problem("POST", "/expressions", status=400, content=b"\xff\xfe")
    assert "UTF-8" in problem["detail"]


@pytest.mark.parametrize("id", ["", "x" * 256, "tab\there", "ünïcode"])
async def test_an_id_that_is_not_1_to_255_printable_ascii_characters_is_refused(
    user: Client, id: str
) -> None:
    response = await user.http.post("/expressions", json={"expression": "1+1", "id": id})
    assert response.status_code in (400, 422), response.text
    assert await stored(user) == 0


async def test_two_different_ids_for_one_expression_are_refused(user: Client) -> None:
    await user.problem(
        "POST",
        "/expressions",
        status=400,
        json={"expression": "1+1", "id": "a"},
        headers={"Idempotency-Key": "b"},
    )
    assert await stored(user) == 0


async def test_fifty_requests_with_one_id_at_once_are_one_expression(user: Client) -> None:
    answers = await asyncio.gather(*(user.submit("1+2+3", id="mine") for _ in range(50)))
    assert len({answer["id"] for answer in answers}) == 1
    assert await stored(user) == 1
    spaced = await user.submit("  1+2+3 ", id="mine")
    assert spaced["id"] == answers[0]["id"]
    for other in ({"expression": "1+2+4"}, {"expression": "1+2+3", "optimize": False}):
        problem = await user.problem("POST", "/expressions", status=422, json={**other, "id": "mine"})
        assert problem["type"] == "/problems/id_reused"
    assert await stored(user) == 1


async def test_one_id_belongs_to_each_user_on_their_own(user: Client, admin: Client) -> None:
    theirs = await user.submit("1+2", id="the same")
    ours = await admin.submit("3+4", id="the same")
    assert theirs["id"] != ours["id"]
    await user.problem("GET", f"/expressions/{ours['id']}", status=404)
    await user.problem("DELETE", f"/expressions/{ours['id']}", status=404)


async def test_what_is_too_large_is_refused_and_the_limit_is_named(user: Client) -> None:
    long = await user.problem("POST", "/expressions", status=413, content="1" + "+1" * TEXT_BYTES)
    assert long["type"] == "/problems/too_long" and str(TEXT_BYTES) in long["detail"].replace(",", "")
    text = "+".join(str(number) for number in range(TASKS + 2))
    many = await user.problem("POST", "/expressions", status=413, content=text)
    assert many["type"] == "/problems/too_many_tasks" and str(TASKS) in many["detail"].replace(",", "")
    literal = await user.problem("POST", "/expressions", status=400, content="1" * 10_001 + "+1")
    assert literal["type"] == "/problems/literal_too_long" and "10000" in literal["detail"].replace(",", "")
    body = await user.problem(
        "POST",
        "/expressions/batch",
        status=413,
        content=b" " * (64 * 1024 * 1024 + 1),
        headers={"Content-Type": "application/json"},
    )
    assert body["type"] == "/problems/too_long"
    batch = await user.http.post("/expressions/batch", json={"expressions": [{"expression": "1"}] * 10_001})
    assert batch.status_code in (400, 413, 422) and "10000" in batch.json()["detail"].replace(",", "")
    assert await stored(user) == 0


async def test_deep_nesting_is_no_problem(user: Client) -> None:
    depth = TEXT_BYTES // 2 - 10
    shown = await user.submit("(" * depth + "7" + ")" * depth)
    assert (shown["status"], shown["result"]) == ("done", "7")
    await user.problem("POST", "/expressions", status=400, content="(" * depth)
    signs = await user.submit("-" * 1001 + "7")
    assert signs["result"] == "-7"


async def test_a_batch_refuses_what_is_bad_and_takes_the_rest(user: Client) -> None:
    answer = await user.ask(
        "POST",
        "/expressions/batch",
        json={"expressions": [{"expression": "1+2"}, {"expression": "1+"}, {"expression": "3", "id": "x"}]},
    )
    first, second, third = answer["items"]
    assert first["status"] == "queued" and third["result"] == "3"
    assert second["title"] and second["position"] == 2
    assert await stored(user) == 2


@pytest.mark.parametrize(
    "path",
    [
        "/expressions/01890000-0000-7000-8000-000000000000",
        "/expressions/not-an-id",
        "/expressions/01890000-0000-7000-8000-000000000000/tasks",
        "/nothing",
    ],
)
async def test_what_is_not_there_is_a_404(user: Client, path: str) -> None:
    await user.problem("GET", path, status=404)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"duration_ms": -1}, 422),
        ({"duration_ms": 604_800_001}, 422),
        ({"duration_ms": 1.5}, 400),
        ({"duration_ms": "1000"}, 400),
        ({"duration_ms": True}, 400),
        ({}, 400),
        ([], 400),
    ],
)
async def test_a_duration_out_of_range_is_refused(user: Client, body: Any, status: int) -> None:
    await user.problem("PUT", "/operations/addition", status=status, json=body)
    items = (await user.ask("GET", "/operations"))["items"]
    assert [item["duration_ms"] for item in items] == [1000, 1000, 2000, 2000]


async def test_an_operation_that_is_not_there_is_a_404(user: Client) -> None:
    await user.problem("PUT", "/operations/power", status=404, json={"duration_ms": 5})


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "status=lost", "cursor=%00", "cursor=abc"]
)
async def test_a_bad_query_is_refused(user: Client, query: str) -> None:
    response = await user.http.get(f"/expressions?{query}")
    assert response.status_code in (400, 422), response.text
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("wait", ["-1", "51", "x", "nan", "inf"])
async def test_a_bad_wait_is_refused(user: Client, wait: str) -> None:
    shown = await user.submit("5")
    response = await user.http.get(f"/expressions/{shown['id']}?wait={wait}")
    assert response.status_code in (400, 422), response.text


async def test_wrong_methods_and_media_types_are_named(user: Client) -> None:
    response = await user.http.patch("/expressions")
    assert response.status_code == 405
    assert set(response.headers["allow"].replace(" ", "").split(",")) >= {"GET", "POST"}
    assert response.json()["type"] == "/problems/method_not_allowed"
    await user.problem(
        "PUT",
        "/operations/addition",
        status=415,
        content="duration_ms=5",
        headers={"Content-Type": "text/plain"},
    )


async def test_roles_bound_what_a_token_may_do(cluster: Cluster, user: Client, admin: Client) -> None:
    await user.problem("GET", "/tokens", status=403)
    await user.problem("POST", "/tokens", status=403, json={"name": "me", "role": "admin"})
    await user.problem("GET", "/tasks", status=403)
    _, secret = await admin.make_token("looker", "viewer")
    async with Client(cluster.url, secret) as viewer:
        await viewer.problem("POST", "/expressions", status=403, content="1+1")
        await viewer.problem("PUT", "/operations/addition", status=403, json={"duration_ms": 5})
        await viewer.problem("GET", "/tokens", status=403)
        assert "items" in await viewer.ask("GET", "/expressions")
        assert "items" in await viewer.ask("GET", "/agents")


async def test_the_last_admin_token_cannot_be_revoked(admin: Client) -> None:
    items = (await admin.ask("GET", "/tokens"))["items"]
    (only,) = [token for token in items if token["role"] == "admin"]
    problem = await admin.problem("DELETE", f"/tokens/{only['id']}", status=409)
    assert problem["type"] == "/problems/last_admin"


async def test_no_route_but_the_open_ones_answers_without_a_token(cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.url) as client:
        document = (await client.get("/openapi.json")).json()
        asked = 0
        for path, item in document["paths"].items():
            for method in item.keys() & {"get", "post", "put", "delete", "patch"}:
                filled = path.replace("{name}", "addition").replace(
                    "{id}", "01890000-0000-7000-8000-000000000000"
                )
                filled = filled.replace("{task}", "01890000-0000-7000-8000-000000000000.1")
                response = await client.request(method, filled)
                if path in OPEN:
                    assert response.status_code == 200, (method, path)
                    continue
                if (method, path) in ANYONE:
                    assert response.status_code == ANYONE[method, path], (method, path)
                    continue
                asked += 1
                assert response.status_code == 401, (method, path, response.status_code)
                assert response.headers["www-authenticate"].startswith("Bearer")
                assert response.json()["type"] == "/problems/unauthorized"
                wrong = await client.request(method, filled, headers={"Authorization": "Bearer wrong"})
                assert wrong.status_code == 401, (method, path, wrong.status_code)
        assert asked >= 18


def test_the_page_for_people_loads_nothing_from_elsewhere(cluster: Cluster) -> None:
    page = httpx.get(f"{cluster.url}/docs").text
    for opening in ('src="', "src='", 'href="http', "url(", "@import"):
        for part in page.split(opening)[1:]:
            assert not part.startswith(("http", "//")) and opening != 'href="http', part[:80]
