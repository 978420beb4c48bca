"""Operations, agents and tokens."""

from typing import Any
from uuid import uuid4

import pytest
from tests.support.rest import Rest

from curta_server.api import agents
from curta_server.views import AgentView, RunView

# --- operations -------------------------------------------------------------------------------------------


async def test_operations_are_listed_in_their_order(rest: Rest) -> None:
    answer = await rest.ask("GET", "/operations")
    assert answer.body == {
        "items": [
            {"name": "addition", "symbol": "+", "duration_ms": 1000},
            {"name": "subtraction", "symbol": "-", "duration_ms": 1000},
            {"name": "multiplication", "symbol": "*", "duration_ms": 2000},
            {"name": "division", "symbol": "/", "duration_ms": 2000},
        ]
    }


async def test_a_duration_is_changed_for_the_leader_and_for_plans(rest: Rest) -> None:
    assert ((await rest.ask("POST", "/plan", data="1+2")).body or {})["sequential_ms"] == 1000
    answer = await rest.ask("PUT", "/operations/addition", json={"duration_ms": 5, "name": "ignored"})
    assert (answer.status, answer.body) == (200, {"name": "addition", "symbol": "+", "duration_ms": 5})
    assert rest.dispatcher.durations == {"addition": 5}
    assert ((await rest.ask("POST", "/plan", data="1+2")).body or {})["sequential_ms"] == 5


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"duration_ms": -1}, 422),
        ({"duration_ms": 604_800_001}, 422),
        ({"duration_ms": 10**30}, 422),
        ({"duration_ms": 1.5}, 400),
        ({"duration_ms": "5"}, 400),
        ({"duration_ms": None}, 400),
        ({"duration_ms": True}, 400),
        ({}, 400),
        (5, 400),
        ({"duration_ms": 0}, 200),
        ({"duration_ms": 604_800_000}, 200),
    ],
)
async def test_a_duration_has_bounds(rest: Rest, sent: Any, status: int) -> None:
    assert (await rest.ask("PUT", "/operations/division", json=sent)).status == status


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1e400"])
async def test_a_duration_of_any_number_of_digits_is_out_of_range_and_not_malformed(
    rest: Rest, number: str
) -> None:
    data = '{"duration_ms": ' + number + "}"
    answer = await rest.ask("PUT", "/operations/division", data=data, type="application/json")
    assert (answer.status, answer.code) == (422, "unprocessable")


async def test_an_unknown_operation_is_404_and_another_type_415(rest: Rest) -> None:
    for name in ("power", "Addition", "%00"):
        answer = await rest.ask("PUT", f"/operations/{name}", json={"duration_ms": 5})
        assert (answer.status, answer.code) == (404, "not_found")
    answer = await rest.ask("PUT", "/operations/addition", data='{"duration_ms": 5}')
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


# --- agents -----------------------------------------------------------------------------------------------


def _agent(name: str, running: int = 0) -> AgentView:
    return AgentView(
        str(uuid4()), name, 4, ("addition", "division"), "connected", 1_900_000_000_000_000, 0.25, running
    )


def _show(rest: Rest, *agents: tuple[str, list[RunView]]) -> None:
    """Have the leader know these agents with these tasks in their hands."""
    rest.dispatcher.views = [_agent(name, len(runs)) for name, runs in agents]
    rest.dispatcher.runs_of = {
        view.id: runs for view, (_, runs) in zip(rest.dispatcher.views, agents, strict=True)
    }


def _run(owner: str) -> RunView:
    id = str(uuid4())
    return RunView(f"{id}.0", id, owner, "addition", ("1", "2" * 300), 1_900_000_000_000_000, 1000)


async def test_agents_show_what_they_compute_and_hide_what_is_somebody_elses(rest: Rest) -> None:
    own, foreign = _run("anna"), _run("bert")
    _show(rest, ("box", [own, foreign]))
    answer = await rest.ask("GET", "/agents")
    assert answer.body is not None
    (agent,) = answer.body["items"]
    assert agent["tasks"] == [
        {
            "task": own.task,
            "expression_id": own.expression_id,
            "operation": "addition",
            "operands": ["1", "2" * 200],
            "started_at": "2030-03-17T17:46:40Z",
            "duration_ms": 1000,
            "truncated": ["operands"],
        },
        {
            "task": None,
            "expression_id": None,
            "operation": "addition",
            "operands": None,
            "started_at": None,
            "duration_ms": None,
            "truncated": [],
        },
    ]
    assert (agent["slots"], agent["operations"], agent["status"]) == (
        4,
        ["addition", "division"],
        "connected",
    )
    assert (agent["last_seen_s"], agent["running"]) == (0.25, 2)
    for by in ("root-admin", "guest-viewer"):
        answer = await rest.ask("GET", "/agents", by=by)
        assert answer.body is not None
        assert answer.body["items"][0]["tasks"][1]["task"] == foreign.task


async def test_pages_of_agents_go_by_name(rest: Rest) -> None:
    rest.dispatcher.views = [_agent(name) for name in ("b", "a", "ä", "a", "")]
    seen: list[str] = []
    query = "limit=2"
    while True:
        answer = await rest.ask("GET", f"/agents?{query}")
        assert answer.body is not None
        seen += [agent["name"] for agent in answer.body["items"]]
        if answer.body["next"] is None:
            break
        query = f"limit=2&cursor={answer.body['next']}"
    assert seen == ["", "a", "a", "b", "ä"]
    assert (await rest.ask("GET", "/agents?cursor=AAAA")).status == 400


async def test_a_page_of_busy_agents_ends_early(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "PAGE_TASKS_MAX", 3)
    monkeypatch.setattr(agents, "AGENT_TASKS_MAX", 2)
    _show(rest, *((name, [_run("anna") for _ in range(5)]) for name in "abc"))
    answer = await rest.ask("GET", "/agents")
    assert answer.body is not None
    assert [(agent["name"], len(agent["tasks"]), agent["running"]) for agent in answer.body["items"]] == [
        ("a", 2, 5), ("b", 2, 5),
    ]  # fmt: skip
    answer = await rest.ask("GET", f"/agents?cursor={answer.body['next']}")
    assert answer.body is not None
    assert ([agent["name"] for agent in answer.body["items"]], answer.body["next"]) == (["c"], None)


async def test_an_admin_drains_and_removes_agents(rest: Rest) -> None:
    agent = _agent("box")
    rest.dispatcher.views = [agent]
    answer = await rest.ask("POST", f"/agents/{agent.id.upper()}/drain", by="root-admin")
    assert (answer.status, answer.body) == (200, {"id": agent.id, "status": "draining"})
    answer = await rest.ask("DELETE", f"/agents/{agent.id}", by="root-admin")
    assert (answer.status, answer.body) == (200, {"id": agent.id, "status": "removed"})
    assert (rest.dispatcher.drained, rest.dispatcher.removed) == ([agent.id], [agent.id])
    for unknown in (str(uuid4()), "box"):
        answer = await rest.ask("DELETE", f"/agents/{unknown}", by="root-admin")
        assert (answer.status, answer.code) == (404, "not_found")


async def test_without_a_leader_agents_are_not_known(rest: Rest) -> None:
    rest.dispatcher.leading = False
    for method, path in (("GET", ""), ("POST", f"/{uuid4()}/drain"), ("DELETE", f"/{uuid4()}")):
        answer = await rest.ask(method, f"/agents{path}", by="root-admin")
        assert (answer.status, answer.code) == (503, "unavailable")
        assert answer.headers["Retry-After"]


# --- tokens -----------------------------------------------------------------------------------------------


async def test_a_token_is_made_listed_and_revoked(rest: Rest) -> None:
    sent = {"name": " carla ", "role": "user", "expires_at": "2100-01-01T00:00:00+01:00"}
    answer = await rest.ask("POST", "/tokens", json=sent, by="root-admin")
    assert answer.status == 200
    made = answer.body
    assert made is not None
    assert (made["name"], made["role"], made["expires_at"]) == ("carla", "user", "2099-12-31T23:00:00Z")
    assert (await rest.ask("GET", "/operations", by=made["secret"])).status == 200
    listed: Any = (await rest.ask("GET", "/tokens", by="root-admin")).body
    assert made["id"] in [token["id"] for token in listed["items"]]
    assert made["secret"] not in str(listed)
    answer = await rest.ask("DELETE", f"/tokens/{made['id']}", by="root-admin")
    assert (answer.status, answer.body) == (200, {"id": made["id"], "status": "revoked"})
    assert (await rest.ask("GET", "/operations", by=made["secret"])).status == 401


async def test_the_last_admin_token_stays(rest: Rest) -> None:
    id = rest.credentials.tokens["root-admin"].id
    answer = await rest.ask("DELETE", f"/tokens/{id}", by="root-admin")
    assert (answer.status, answer.code) == (409, "last_admin")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"role": 5}, 400), ({"name": None}, 400), ({"expires_at": "tomorrow"}, 400),
        ({"expires_at": "2100-01-01T00:00:00"}, 400), ({"expires_at": "2000-01-01T00:00:00Z"}, 422),
        ({"expires_at": "0001-01-01T00:00:00+23:00"}, 422), ({"role": "god"}, 422), ({"name": "a\0"}, 422),
        ({"name": " "}, 422), ({"name": "x" * 256}, 422),
    ],
)  # fmt: skip
async def test_a_token_that_cannot_be_is_refused(rest: Rest, change: dict[str, Any], status: int) -> None:
    answer = await rest.ask("POST", "/tokens", json={"name": "x", "role": "user"} | change, by="root-admin")
    assert (answer.status, answer.code) == (status, "malformed" if status == 400 else "unprocessable")


async def test_an_unknown_token_is_404(rest: Rest) -> None:
    for id in (uuid4(), "x"):
        assert (await rest.ask("DELETE", f"/tokens/{id}", by="root-admin")).status == 404
