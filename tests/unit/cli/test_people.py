"""`curta list`, `show`, `cancel`, `agents` and `operations`: REST for people."""

import json
from collections.abc import Callable

import httpx
from tests.unit.cli.conftest import Orchestrator, Outcome, expression

Curta = Callable[..., Outcome]
ID = "01937b4e-8f1c-7c3a-9a54-2f8c1f0e6d11"


def test_list_shows_a_line_for_each_expression(orchestrator: Orchestrator, curta: Curta) -> None:
    failed = expression(
        status="failed", result=None, error={"code": "too_large", "message": "no", "task": None}
    )
    orchestrator.on("GET /expressions", {"items": [expression(), failed], "next": None})
    outcome = curta("list", "--status", "done", "--status", "failed", "--q", "2 +")
    assert outcome.code == 0
    head, first, second = outcome.out.splitlines()
    assert head.split() == ["ID", "STATUS", "TASKS", "EXPRESSION", "RESULT"]
    assert first.split()[:3] == [ID, "done", "2/2"]
    assert second.endswith("too_large: no")
    (request,) = orchestrator.requests
    assert request.url.params.get_list("status") == ["done", "failed"]
    assert request.url.params["q"] == "2 +"


def test_list_turns_pages_up_to_the_limit(orchestrator: Orchestrator, curta: Curta) -> None:
    page = [expression()] * 1000
    orchestrator.on("GET /expressions", {"items": page, "next": "c"}, {"items": page[:500], "next": "d"})
    outcome = curta("list", "--limit", "1500", "--json")
    assert len(outcome.out.splitlines()) == 1500
    first, second = (request.url.params for request in orchestrator.requests)
    assert (first["limit"], second["limit"], second["cursor"]) == ("1000", "500", "c")


def test_show_tells_what_is_known_and_leaves_out_the_rest(orchestrator: Orchestrator, curta: Curta) -> None:
    orchestrator.on(f"GET /expressions/{ID}", expression(exact="1/3"))
    lines = curta("show", ID).out.splitlines()
    assert "result:      6" in lines
    assert "exact:       1/3" in lines
    assert not any(line.startswith("error") for line in lines)


def test_show_can_tell_the_tasks(orchestrator: Orchestrator, curta: Curta) -> None:
    task = {
        "task": f"{ID}.1",
        "operation": "addition",
        "operands": ["2", {"task": f"{ID}.0", "negated": True}],
        "state": "running",
        "value": None,
        "agent": {"id": "…", "name": "one\x1b[2J"},
        "attempt": 1,
        "below": 0,
    }
    orchestrator.on(f"GET /expressions/{ID}", expression())
    orchestrator.on(f"GET /expressions/{ID}/tasks", {"items": [task]})
    last = curta("show", ID, "--tasks").out.splitlines()[-1]
    assert last.split() == ["1", "running", "addition", "2,", "-#0", "one\ufffd[2J"]


def test_an_id_is_one_segment_of_the_path(orchestrator: Orchestrator, curta: Curta) -> None:
    orchestrator.on("GET /expressions/../agents", httpx.Response(404, json={"title": "none", "status": 404}))
    assert curta("show", "../agents").code == 2
    assert orchestrator.requests[0].url.raw_path == b"/expressions/..%2Fagents"


def test_cancel_goes_on_after_a_refusal_and_ends_with_2(orchestrator: Orchestrator, curta: Curta) -> None:
    orchestrator.on(
        "DELETE /expressions/a", httpx.Response(409, json={"title": "done already", "status": 409})
    )
    orchestrator.on("DELETE /expressions/b", expression(id="b", status="cancelled"))
    outcome = curta("cancel", "a", "b")
    assert (outcome.code, outcome.out) == (2, "b cancelled\n")
    assert "done already" in outcome.err


def test_agents_shows_how_many_slots_are_taken(orchestrator: Orchestrator, curta: Curta) -> None:
    agent = {
        "id": "a",
        "name": "one",
        "slots": 4,
        "operations": ["addition", "division"],
        "status": "connected",
        "connected_at": "2026-01-02T03:04:05Z",
        "last_seen_s": 0.25,
        "tasks": [{}, {}],  # cut: `running` counts them all
        "running": 3,
    }
    orchestrator.on("GET /agents", {"items": [agent], "next": None})
    assert "3/4" in curta("agents").out
    assert json.loads(curta("agents", "--json").out) == agent


def test_operations_are_set_and_listed(orchestrator: Orchestrator, curta: Curta) -> None:
    orchestrator.on("PUT /operations/addition", {})
    orchestrator.on("GET /operations", {"items": [{"name": "addition", "symbol": "+", "duration_ms": 500}]})
    outcome = curta("operations", "addition=500")
    assert outcome.out.splitlines()[1].split() == ["addition", "+", "500", "ms"]
    assert orchestrator.bodies() == [{"duration_ms": 500}]


def test_a_change_that_is_none_is_wrong_usage(orchestrator: Orchestrator, curta: Curta) -> None:
    for wrong in ("addition", "addition=", "addition=-1", "addition=1s", "../x=1"):
        assert curta("operations", wrong).code == 2
    assert not orchestrator.requests
