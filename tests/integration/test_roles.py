"""Who may do what, asked of a running orchestrator: every route of the OpenAPI document, with every kind of
token and with none, against a table that was written from the contract and not from the code."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from curta_server.credentials import Credentials
from tests.integration.orchestrators import Orchestrator, orchestrator
from tests.support.client import Client
from tests.support.waiting import until

OPEN = "open"
MAY = {
    "POST /expressions": {"user", "admin"},
    "POST /expressions/batch": {"user", "admin"},
    "GET /expressions": {"user", "viewer", "admin"},
    "GET /expressions/{id}": {"user", "viewer", "admin"},
    "GET /expressions/{id}/plan": {"user", "viewer", "admin"},
    "GET /expressions/{id}/tasks": {"user", "viewer", "admin"},
    "DELETE /expressions/{id}": {"user", "admin"},
    "POST /plan": {"user", "admin"},
    "GET /operations": {"user", "viewer", "admin"},
    "PUT /operations/{name}": {"user", "admin"},
    "GET /agents": {"user", "viewer", "admin"},
    "POST /agents/{id}/drain": {"admin"},
    "DELETE /agents/{id}": {"admin"},
    "GET /tasks": {"agent"},
    "POST /tasks/{task}/result": {"agent"},
    "POST /tasks/{task}/lease": {"agent"},
    "GET /stats": {"user", "viewer", "admin"},
    "GET /tokens": {"admin"},
    "POST /tokens": {"admin"},
    "DELETE /tokens/{id}": {"admin"},
    "POST /session": {OPEN},
    "GET /session": {"user", "viewer", "admin", "agent"},
    "DELETE /session": {OPEN},
    "GET /healthz": {OPEN},
    "GET /readyz": {OPEN},
    "GET /leaderz": {OPEN},
    "GET /metrics": {OPEN},
}
PAGES = ("/", "/ui/", "/docs", "/openapi.json", "/problems/forbidden")
SOCKETS = {
    "/agents/connect": ("curta.agent.v1", {"agent"}),
    "/live": ("curta.live.v1", {"user", "viewer", "admin"}),
    "/peers/connect": ("curta.peer.v1", set[str]()),
}
"""No token at all lets its bearer in among the orchestrators."""
NOBODY = ("none", "garbage", "short", "revoked", "expired", "basic", "signed out", "a token as cookie")
ROLES = ("viewer", "user", "admin", "agent")
BROWSERS = ("viewer's browser", "user's browser", "admin's browser")
"""They send a session's cookie. An agent's there is none: it cannot sign in."""
SOME_ID = "01900000-0000-7000-8000-000000000000"


@dataclass
class Town:
    """An orchestrator and a caller of every kind, by what their requests carry."""

    server: Orchestrator
    callers: dict[str, dict[str, str]]
    http: httpx.AsyncClient

    async def ask(self, method: str, path: str, caller: str) -> httpx.Response:
        return await self.http.request(method, path, headers=self.callers[caller])


@pytest.fixture
async def town(database_url: str, engine: AsyncEngine) -> AsyncIterator[Town]:
    async with orchestrator(database_url) as server:
        credentials = Credentials(engine)
        secrets = {"garbage": "curta_" + "A" * 43, "short": "x"}
        for role in ROLES:
            _, secrets[role] = await credentials.create(role, role)
        gone, secrets["revoked"] = await credentials.create("gone", "admin")
        await credentials.revoke(gone.id)
        past = datetime.now(UTC) - timedelta(seconds=1)
        _, secrets["expired"] = await credentials.create("late", "admin", past)
        callers = {name: {"Authorization": f"Bearer {secret}"} for name, secret in secrets.items()}
        callers |= {"none": {}, "basic": {"Authorization": "Basic YWRtaW46YWRtaW4="}}
        for browser in BROWSERS:
            cookie = await sign_in(credentials, secrets[role_of(browser)])
            callers[browser] = {"Cookie": f"curta_session={cookie}", "Origin": server.url}
        cookie = await sign_in(credentials, secrets["admin"])
        await credentials.sign_out(cookie)
        callers["signed out"] = {"Cookie": f"curta_session={cookie}"}
        callers["a token as cookie"] = {"Cookie": f"curta_session={secrets['admin']}"}
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as http:
            yield Town(server, callers, http)


async def sign_in(credentials: Credentials, secret: str) -> str:
    """The cookie of a new session."""
    token = await credentials.verify(secret)
    assert token is not None
    return (await credentials.sign_in(token))[1]


def role_of(caller: str) -> str:
    return caller.removesuffix("'s browser")


def expected(method: str, path: str, documented: set[str], caller: str) -> set[int] | str:
    """The statuses that a caller may get; "served" stands for all but refusals and defects."""
    asked = "GET" if method == "HEAD" else method
    # What is no batch is taken for an id.
    rights = MAY.get(f"{asked} {path}") or MAY.get(f"{asked} {path.replace('/batch', '/{id}')}")
    if any(OPEN in MAY[f"{known} {path}"] for known in documented) and (rights is None or OPEN in rights):
        return "served" if rights or method == "OPTIONS" else {405}
    if caller in NOBODY:
        return {401}
    if method == "OPTIONS":
        return {200}
    if rights is None:
        return {405}
    if role_of(caller) not in rights:
        return {403}
    # To take tasks is no looking at them.
    return {405} if (method, path) == ("HEAD", "/tasks") else "served"


async def test_every_route_serves_those_who_may_and_nobody_else(town: Town) -> None:
    document = (await town.http.get("/openapi.json")).json()
    routes = {path: {method.upper() for method in found} for path, found in document["paths"].items()}
    assert {f"{method} {path}" for path, methods in routes.items() for method in methods} == set(MAY)
    wrong = []
    for path, documented in routes.items():
        target = re.sub(r"\{\w+\}", SOME_ID, path)
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            for caller in (*ROLES, *NOBODY, *BROWSERS):
                if (method, path) == ("DELETE", "/session"):
                    continue  # who signs out is nobody from then on
                answer = await town.ask(method, target, caller)
                status, right = answer.status_code, expected(method, path, documented, caller)
                if right == "served":
                    is_right = status < 500 and status not in (401, 403, 405)
                else:
                    is_right = status in right
                if status == 401:
                    is_right = is_right and answer.headers["WWW-Authenticate"].startswith("Bearer")
                if status >= 400 and method != "HEAD":
                    is_right = is_right and answer.headers["Content-Type"] == "application/problem+json"
                if not is_right:
                    wrong.append((method, path, caller, status, right))
    assert not wrong
    assert "revoked" in NOBODY and set(town.callers) == {*ROLES, *NOBODY, *BROWSERS}
    for caller in town.callers:
        assert (await town.ask("DELETE", "/session", caller)).status_code == 204, caller
    for browser in BROWSERS:
        assert (await town.ask("GET", "/operations", browser)).status_code == 401, browser


async def test_pages_are_open_and_tell_no_secrets(town: Town) -> None:
    for path in PAGES:
        for caller in ("none", "garbage", "agent"):
            answer = await town.ask("GET", path, caller)
            assert answer.status_code in (200, 302) or path == "/ui/", path
            assert "curta_A" not in answer.text
    for caller in (*ROLES, *NOBODY):
        assert (await town.ask("GET", "/nothing", caller)).status_code == 404


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_websocket_lets_in_those_who_may_and_nobody_else(town: Town, path: str) -> None:
    subprotocol, rights = SOCKETS[path]
    url = town.server.url.replace("http", "ws", 1) + path
    for caller in (*ROLES, *NOBODY, *BROWSERS):
        opening = connect(
            url,
            additional_headers=town.callers[caller],
            subprotocols=[subprotocol],  # type: ignore[list-item]
            compression=None,
        )
        if role_of(caller) in rights:
            async with opening as socket:
                assert socket.subprotocol == subprotocol
            continue
        with pytest.raises(InvalidStatus) as refused:
            async with opening:
                pass
        status = refused.value.response.status_code
        assert status == (401 if caller in NOBODY or not rights else 403), (path, caller)
    for caller in (*ROLES, *NOBODY):
        assert (await town.ask("GET", path, caller)).status_code >= 400


# --- one's own --------------------------------------------------------------------------------------------


@dataclass
class Village:
    server: Orchestrator
    anna: Client
    bert: Client
    viewer: Client


@pytest.fixture
async def village(database_url: str, engine: AsyncEngine) -> AsyncIterator[Village]:
    async with orchestrator(database_url) as server:
        secrets = [
            (await Credentials(engine).create(name, role))[1]
            for name, role in (("anna", "user"), ("bert", "user"), ("guest", "viewer"))
        ]
        async with (
            server.client(secrets[0]) as a,
            server.client(secrets[1]) as b,
            server.client(secrets[2]) as v,
        ):
            yield Village(server, a, b, v)


async def ids(client: Client, **parameters: Any) -> list[str]:
    page = await client.ask("GET", "/expressions", params=parameters)
    return [item["id"] for item in page["items"]]


async def test_somebody_elses_expression_is_like_one_that_never_was(village: Village) -> None:
    anna, bert = village.anna, village.bert
    id = (await anna.submit("(1+2)*(3+4)"))["id"]
    never = id[:-4] + ("0000" if not id.endswith("0000") else "1111")
    for method, path in (
        ("GET", "/expressions/{}"),
        ("GET", "/expressions/{}?wait=20"),
        ("GET", "/expressions/{}?full=false"),
        ("GET", "/expressions/{}/tasks"),
        ("GET", "/expressions/{0}/tasks?root={0}.0"),
        ("DELETE", "/expressions/{}"),
    ):
        theirs, nobodys = [
            await bert.problem(method, path.format(asked), status=404) for asked in (id, never)
        ]
        assert theirs == nobodys
        assert "anna" not in str(theirs)
    assert (await anna.show(id))["status"] in ("queued", "running")
    await village.viewer.show(id)
    await village.viewer.tasks(id)
    await village.viewer.problem("DELETE", f"/expressions/{id}", status=403)
    # A task of one's own does not open another's plan.
    own = (await bert.submit("(5+6)*(7+8)"))["id"]
    await bert.problem("GET", f"/expressions/{own}/tasks?root={id}.0", status=404)
    assert (await village.server.admin.ask("DELETE", f"/expressions/{id}"))["owner"] == "anna"


async def test_lists_searches_and_cursors_find_ones_own_only(village: Village) -> None:
    anna, bert = village.anna, village.bert
    mine = [(await anna.submit(f"{n}+1001"))["id"] for n in range(4)]
    theirs = [(await bert.submit(f"{n}+1001"))["id"] for n in range(4)]
    assert await ids(anna) == mine[::-1] and await ids(bert) == theirs[::-1]
    assert await ids(anna, q="1001") == mine[::-1]
    assert await ids(anna, q="%") == [] and await ids(anna, q="bert") == []
    assert await ids(anna, status="queued", q="1001") == mine[::-1]
    page = await bert.ask("GET", "/expressions", params={"limit": 1})
    assert await ids(anna, cursor=page["next"]) == mine[::-1]
    everybody = await ids(village.viewer)
    assert everybody == [*theirs[::-1], *mine[::-1]]
    page = await village.viewer.ask("GET", "/expressions", params={"limit": 3})
    assert await ids(anna, cursor=page["next"]) == mine[::-1]
    assert await ids(anna, owner="bert") == mine[::-1]


async def test_a_client_id_is_each_users_own(village: Village) -> None:
    anna, bert = village.anna, village.bert
    first = await anna.submit("1+2", id="order-17")
    second = await bert.submit("3+4", id="order-17")
    assert first["id"] != second["id"] and second["expression"] == "3+4"
    again = await bert.submit("3+4", id="order-17")
    assert (again["id"], again["owner"]) == (second["id"], "bert")
    answer = await bert.ask(
        "POST", "/expressions/batch", json={"expressions": [{"expression": "1+2", "id": "order-17"}]}
    )
    assert answer["items"][0]["type"] == "/problems/id_reused"
    assert first["id"] not in str(answer)


async def test_of_others_tasks_at_the_agents_only_the_operation_is_seen(village: Village) -> None:
    anna, bert, viewer = village.anna, village.bert, village.viewer
    async with village.server.agent(slots=1, name="m") as agent:
        await agent.join()
        id = (await anna.submit("12345678+1"))["id"]
        (task,) = await agent.tasks(1)

        async def seen(client: Client) -> dict[str, Any]:
            found: dict[str, Any] = (await client.agents())["m"]["tasks"][0]
            return found

        for client in (anna, viewer, village.server.admin):
            found = await seen(client)
            assert (found["task"], found["expression_id"]) == (task["task"], id)
            assert found["operands"] == ["12345678", "1"]
        hidden = await seen(bert)
        assert hidden.pop("operation") == "addition"
        assert hidden.pop("truncated") == []
        assert not any(value is not None for value in hidden.values())
        await agent.answer(task)
        assert (await anna.final(id))["result"] == "12345679"


async def test_an_attempt_is_its_agents_alone(village: Village, engine: AsyncEngine) -> None:
    credentials = Credentials(engine)
    (_, one), (_, other) = await credentials.create("m1", "agent"), await credentials.create("m2", "agent")
    id = (await village.anna.submit("1+2"))["id"]
    async with village.server.client(one) as holder, village.server.client(other) as thief:
        taken: list[dict[str, Any]] = []

        async def take() -> bool:
            answer = await holder.http.get("/tasks", params={"wait": 5})
            taken.extend(answer.json()["tasks"] if answer.status_code == 200 else [])
            return bool(taken)

        await until(take)
        (task,) = taken
        body = {"attempt": task["attempt"], "value": "17"}
        path = f"/tasks/{task['task']}"
        await thief.problem("POST", f"{path}/result", status=409, json=body)
        await thief.problem("POST", f"{path}/lease", status=409, json={"attempt": task["attempt"]})
        await holder.ask("POST", f"{path}/result", json={**body, "value": "3"})
    assert (await village.anna.final(id))["result"] == "3"
