"""Who may do what, and that every error is a problem."""

import json
import re
from typing import Any

import pytest
from quart.testing.connections import WebsocketResponseError
from structlog.testing import capture_logs
from tests.support.rest import Rest

from curta_server.api.access import roles_of
from curta_server.errors import PROBLEMS, Problem

SOME_ID = "01900000-0000-7000-8000-000000000000"
SECRETS = {"user": "anna-user", "admin": "root-admin", "viewer": "guest-viewer", "agent": "machine-agent"}

OPEN = {
    "/",
    "/ui/",
    "/ui/<path:path>",
    "/docs",
    "/openapi.json",
    "/problems/<code>",
    "/healthz",
    "/readyz",
    "/leaderz",
    "/metrics",
}
BY_HAND = {
    "GET /expressions": "user viewer admin",
    "POST /expressions": "user admin",
    "POST /expressions/batch": "user admin",
    "GET /expressions/<id>": "user viewer admin",
    "DELETE /expressions/<id>": "user admin",
    "GET /expressions/<id>/tasks": "user viewer admin",
    "GET /expressions/<id>/plan": "user viewer admin",
    "POST /plan": "user admin",
    "GET /operations": "user viewer admin",
    "PUT /operations/<name>": "user admin",
    "GET /agents": "user viewer admin",
    "GET /stats": "user viewer admin",
    "POST /agents/<id>/drain": "admin",
    "DELETE /agents/<id>": "admin",
    "GET /tasks": "agent",
    "POST /tasks/<task>/result": "agent",
    "POST /tasks/<task>/lease": "agent",
    "GET /tokens": "admin",
    "POST /tokens": "admin",
    "DELETE /tokens/<id>": "admin",
    "GET /session": "user viewer admin agent",
}
"""The contract's table, written down once more on purpose."""


def _routes(rest: Rest) -> dict[str, tuple[str, ...]]:
    found = {}
    for rule in rest.app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            roles = roles_of(rest.app.view_functions[rule.endpoint])
            assert roles is not None
            found[f"{method} {rule.rule}"] = roles
    return found


def _path(rule: str) -> str:
    return re.sub("<[^>]*>", SOME_ID, rule)


def test_the_routes_serve_the_roles_of_the_contract(rest: Rest) -> None:
    found = _routes(rest)
    opened = {f"GET {path}" for path in OPEN} | {"POST /session", "DELETE /session"}
    assert {name for name, roles in found.items() if not roles} == opened
    assert {name: set(roles) for name, roles in found.items() if roles} == {
        name: set(roles.split()) for name, roles in BY_HAND.items()
    }


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic YW5uYTp4"},
        {"Authorization": "anna-user"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer ä"},
    ],
)
async def test_no_route_answers_without_a_good_token(rest: Rest, headers: dict[str, str]) -> None:
    for name in BY_HAND:
        method, rule = name.split()
        # Signing in is open, so the path tells everybody what it knows.
        others = () if rule == "/session" else ("OPTIONS", "PATCH")
        for tried in (method, *others):
            answer = await rest.ask(tried, _path(rule), by=None, headers=headers)
            assert (answer.status, answer.code) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_other_roles_are_refused_with_a_sentence(rest: Rest) -> None:
    for name, roles in BY_HAND.items():
        method, rule = name.split()
        for role, secret in SECRETS.items():
            answer = await rest.ask(method, _path(rule), by=secret)
            if role in roles.split():
                assert answer.status not in (401, 403), name
            else:
                assert (answer.status, answer.code) == (403, "forbidden"), name
                assert answer.body is not None and role in answer.body["detail"]


async def test_the_scheme_is_read_in_any_case(rest: Rest) -> None:
    headers = {"Authorization": "bEARER  anna-user "}
    assert (await rest.ask("GET", "/operations", by=None, headers=headers)).status == 200


async def test_an_unknown_path_is_404_for_everybody(rest: Rest) -> None:
    for path in ("/nothing", "/expressions/", "/expressions//tasks", "/expressions/a/b", "/problems/nothing"):
        for by in (None, "anna-user"):
            answer = await rest.ask("GET", path, by=by)
            assert (answer.status, answer.code) == (404, "not_found"), path


async def test_an_unknown_method_is_405_and_says_which_there_are(rest: Rest) -> None:
    answer = await rest.ask("PATCH", "/expressions")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))
    answer = await rest.ask("POST", "/healthz", by=None)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    answer = await rest.ask("HEAD", "/tasks", by="machine-agent")
    assert answer.status == 405
    assert not rest.pull.taken


async def test_options_says_what_there_is(rest: Rest) -> None:
    answer = await rest.ask("OPTIONS", "/expressions")
    assert answer.status == 200
    assert {"GET", "POST", "OPTIONS"} <= set(answer.headers["Allow"].split(", "))


async def test_a_database_that_is_away_is_503_also_for_tokens(rest: Rest) -> None:
    rest.credentials.away = True
    answer = await rest.ask("GET", "/operations")
    assert (answer.status, answer.code) == (503, "unavailable")
    assert answer.headers["Retry-After"]


async def test_a_defect_is_500_and_tells_nothing_of_the_inside(rest: Rest) -> None:
    rest.table.failing = ZeroDivisionError("the secret inside")
    with capture_logs() as logs:
        answer = await rest.ask("GET", "/operations")
    assert (answer.status, answer.code) == (500, "internal")
    assert b"secret" not in answer.data and b"Zero" not in answer.data
    assert answer.body is not None
    (line,) = logs
    assert line["event"] == "defect"
    assert line["defect"] in answer.body["detail"]
    assert line["exc_info"] is rest.table.failing


async def test_a_body_that_is_compressed_is_not_supported(rest: Rest) -> None:
    answer = await rest.ask("POST", "/expressions", data=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


async def test_answers_are_not_to_be_kept_nor_guessed_at(rest: Rest) -> None:
    for path in ("/operations", "/nothing", "/docs"):
        answer = await rest.ask("GET", path)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


# --- the document and the pages ---------------------------------------------------------------------------


async def _document(rest: Rest) -> Any:
    answer = await rest.ask("GET", "/openapi.json", by=None)
    assert answer.status == 200
    return json.loads(answer.data)


async def test_the_document_is_valid_openapi(rest: Rest) -> None:
    from openapi_spec_validator import validate

    validate(await _document(rest))


async def test_the_document_has_every_route_with_its_roles(rest: Rest) -> None:
    document = await _document(rest)
    found = {
        f"{method.upper()} {path}": operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    expected = {re.sub("<([^>]*)>", r"{\1}", name): roles.split() for name, roles in BY_HAND.items()}
    expected |= {f"GET {path}": [] for path in ("/healthz", "/readyz", "/leaderz", "/metrics")}
    expected |= {"POST /session": [], "DELETE /session": []}
    assert {name: operation["x-roles"] for name, operation in found.items()} == expected
    for name, operation in found.items():
        assert operation["summary"], name
        assert operation.get("security", "global") == ([] if not expected[name] else "global"), name
        assert {"401", "403"} <= set(operation["responses"]) or not expected[name], name
    assert len({operation["operationId"] for operation in found.values()}) == len(found)


async def test_every_shape_that_the_document_refers_to_is_in_it(rest: Rest) -> None:
    document = await _document(rest)
    text = json.dumps(document)
    for name in set(re.findall(r"#/components/schemas/(\w+)", text)):
        assert name in document["components"]["schemas"]
    assert set(document["components"]["schemas"]["ProblemDocument"]["required"]) == {
        "type", "title", "status", "detail",
    }  # fmt: skip


async def test_the_page_shows_every_route_and_problem_and_loads_nothing(rest: Rest) -> None:
    answer = await rest.ask("GET", "/docs", by=None)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = answer.data.decode()
    for name in BY_HAND:
        assert re.sub("<([^>]*)>", r"{\1}", name.split()[1]) in page
    for code, (status, title) in PROBLEMS.items():
        assert code in page and str(status) in page and title in page
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", page)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_every_problem_has_a_page_at_its_type(rest: Rest) -> None:
    for code in PROBLEMS:
        answer = await rest.ask("GET", Problem(code, "x").body()["type"], by=None)
        assert answer.status == 200
        assert PROBLEMS[code][1] in answer.data.decode()


async def test_the_root_leads_to_the_pages(rest: Rest) -> None:
    answer = await rest.ask("GET", "/", by=None)
    assert (answer.status, answer.headers["Location"]) == (302, "/ui/")


# --- health and metrics -----------------------------------------------------------------------------------


async def test_health_is_open(rest: Rest) -> None:
    assert (await rest.ask("GET", "/healthz", by=None)).body == {"status": "alive"}
    assert (await rest.ask("GET", "/leaderz", by=None)).status == 200
    rest.dispatcher.leading = False
    answer = await rest.ask("GET", "/leaderz", by=None)
    assert (answer.status, answer.code) == (503, "unavailable")


async def test_without_a_database_nothing_is_ready_but_alive(rest: Rest) -> None:
    rest.table.failing = ConnectionRefusedError()
    answer = await rest.ask("GET", "/readyz", by=None)
    assert (answer.status, answer.code) == (503, "unavailable")
    assert (await rest.ask("GET", "/healthz", by=None)).status == 200


async def test_metrics_are_told_with_and_without_a_database(rest: Rest) -> None:
    await rest.submit("1+2")
    rest.table.failing = ConnectionRefusedError()
    text = (await rest.ask("GET", "/metrics", by=None)).data.decode()
    assert "curta_expressions{" not in text
    assert 'curta_tasks{state="ready"} 2.0' in text
    assert 'curta_http_requests_total{method="POST",route="/expressions",status="200"}' in text
    for line in text.splitlines():
        assert line.startswith(("#", "curta_"))


async def test_open_expressions_are_counted_by_status(rest: Rest) -> None:
    await rest.submit("1+2")
    await rest.submit("5")
    answer = await rest.ask("GET", "/metrics", by=None)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'curta_expressions{status="queued"} 1.0' in answer.data.decode()


@pytest.mark.parametrize(("error", "status"), [(ConnectionResetError(), 503), (ValueError(), 500)])
async def test_an_error_before_the_upgrade_is_a_problem_as_well(
    rest: Rest, error: Exception, status: int
) -> None:
    @rest.app.websocket("/broken")
    async def broken() -> None:
        raise error

    with pytest.raises(WebsocketResponseError) as refused:
        async with rest.app.test_client().websocket("/broken") as opened:
            await opened.receive()
    assert refused.value.response.status_code == status
    assert refused.value.response.content_type == "application/problem+json"
