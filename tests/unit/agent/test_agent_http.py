"""The agent's own HTTP port."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fake_orchestrator import TOKEN, FakeOrchestrator, task

from curta_agent.agent import Agent
from curta_agent.http import serve
from curta_agent.ledger import Ledger
from curta_agent.settings import AgentSettings
from curta_agent.slots import Slots
from curta_wire.offload import Offload


@pytest.fixture
async def agent(orchestrator: FakeOrchestrator) -> AsyncIterator[Agent]:
    settings = AgentSettings(urls=(orchestrator.url,), token=TOKEN, slots=2, drain_s=0.0)
    offload = Offload(1, 100)
    slots = Slots(settings.slots, Ledger(), offload)
    agent = Agent(settings, slots, None)
    stop = asyncio.Event()
    running = asyncio.create_task(agent.run(stop))
    yield agent
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await slots.close()
    offload.close()


@pytest.fixture
async def port(agent: Agent) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with serve(agent, ("127.0.0.1", 0)) as number:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{number}", headers=headers, trust_env=False
        ) as client:
            yield client


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code and body["title"] and body["detail"]
    assert body["type"].startswith("/problems/")
    return body


async def until(client: httpx.AsyncClient, total: int) -> list[dict[str, Any]]:
    """The tasks that the agent computes, once there are `total`."""
    async with asyncio.timeout(15):
        while (body := (await client.get("/tasks")).json())["total"] != total:
            pass
    items: list[dict[str, Any]] = body["items"]
    return items


async def test_execute_computes_on_the_spot(port: httpx.AsyncClient) -> None:
    response = await port.post("/tasks/mine/execute", json={"operation": "division", "operands": ["1", "3"]})
    assert (response.status_code, response.json()) == (200, {"value": "1/3"})


async def test_execute_takes_a_body_of_any_content_type(port: httpx.AsyncClient) -> None:
    response = await port.post(
        "/tasks/mine/execute",
        content=b'{"operation": "addition", "operands": ["1", "2"]}',
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.json() == {"value": "3"}


async def test_execute_reports_division_by_zero_as_an_error_of_the_task(port: httpx.AsyncClient) -> None:
    response = await port.post("/tasks/mine/execute", json={"operation": "division", "operands": ["1", "0"]})
    assert response.status_code == 200 and response.json()["error"]["code"] == "division_by_zero"


async def test_execute_takes_its_duration_and_a_slot(port: httpx.AsyncClient) -> None:
    body = {"operation": "addition", "operands": ["1", "2"], "duration_ms": 300}
    began = asyncio.get_running_loop().time()
    both = [asyncio.create_task(port.post(f"/tasks/{name}/execute", json=body)) for name in "ab"]
    items = await until(port, 2)
    assert {(item["task"], item["attempt"], item["operation"]) for item in items} == {
        ("a", None, "addition"),
        ("b", None, "addition"),
    }
    refused = await port.post("/tasks/c/execute", json=body)
    assert refused.status_code == 429 and refused.headers["Retry-After"] == "1"
    assert problem(refused)["type"] == "/problems/too_many_requests"
    assert [response.json() for response in await asyncio.gather(*both)] == [{"value": "3"}] * 2
    assert asyncio.get_running_loop().time() - began >= 0.3
    assert await until(port, 0) == []


async def test_a_caller_that_goes_away_leaves_its_slot(port: httpx.AsyncClient) -> None:
    body = {"operation": "addition", "operands": ["1", "2"], "duration_ms": 600_000}
    with pytest.raises(httpx.ReadTimeout):
        await port.post("/tasks/a/execute", json=body, timeout=0.3)
    assert await until(port, 0) == []


async def test_tasks_of_the_orchestrator_wait_for_a_slot_that_a_caller_has(
    port: httpx.AsyncClient, orchestrator: FakeOrchestrator
) -> None:
    conversation = await orchestrator.conversation()
    body = {"operation": "addition", "operands": ["1", "2"], "duration_ms": 300}
    both = [asyncio.create_task(port.post(f"/tasks/{name}/execute", json=body)) for name in "ab"]
    await until(port, 2)
    await conversation.tasks(task("waits"))
    items = await until(port, 3)
    assert (items[2]["task"], items[2]["elapsed_ms"]) == ("waits", None)
    assert (await conversation.results(1))[0]["value"] == "5"
    await asyncio.gather(*both)


async def test_tasks_shows_what_the_orchestrator_handed_out(
    port: httpx.AsyncClient, orchestrator: FakeOrchestrator
) -> None:
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("long", "7" * 300, "-1/2", duration_ms=600_000))
    (item,) = await until(port, 1)
    assert item.pop("elapsed_ms") >= 0
    assert item == {
        "task": "long",
        "attempt": 1,
        "operation": "addition",
        "operands": ["7" * 200, "-1/2"],
        "duration_ms": 600_000,
    }


async def test_a_result_passed_on_reaches_the_orchestrator_and_frees_the_slot(
    port: httpx.AsyncClient, orchestrator: FakeOrchestrator, agent: Agent
) -> None:
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("long", duration_ms=600_000))
    await until(port, 1)
    response = await port.post("/tasks/long/result", json={"attempt": 1, "value": "42"})
    assert response.status_code == 202
    assert await conversation.results(1) == [{"task": "long", "attempt": 1, "value": "42"}]
    assert agent.slots.used == 0
    again = await port.post("/tasks/long/result", json={"attempt": 1, "value": "43"})
    assert again.status_code == 202  # the first result stays


async def test_a_fault_is_passed_on_too(port: httpx.AsyncClient, orchestrator: FakeOrchestrator) -> None:
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("long", duration_ms=600_000))
    await until(port, 1)
    error = {"code": "out_of_paper", "message": "the printer"}
    await port.post("/tasks/long/result", json={"attempt": 1, "error": error})
    assert (await conversation.results(1))[0]["error"] == error


async def test_a_result_of_what_is_not_held_is_refused(
    port: httpx.AsyncClient, orchestrator: FakeOrchestrator
) -> None:
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("long", duration_ms=600_000))
    await until(port, 1)
    unknown = await port.post("/tasks/other/result", json={"attempt": 1, "value": "42"})
    assert unknown.status_code == 404 and problem(unknown)
    other = await port.post("/tasks/long/result", json={"attempt": 2, "value": "42"})
    assert other.status_code == 409 and "attempt 1" in problem(other)["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/tasks/a/execute", b"{", 400),
        ("/tasks/a/execute", b"", 400),
        ("/tasks/a/execute", b'{"operation": "addition", "operands": [1, 2]}', 400),
        ("/tasks/a/execute", b'{"operation": "addition", "operands": ["1"]}', 400),
        ("/tasks/a/execute", b'{"operation": "power", "operands": ["1", "2"]}', 422),
        ("/tasks/a/execute", b'{"operation": "addition", "operands": ["1", "2/4"]}', 422),
        ("/tasks/a/execute", b'{"operation": "addition", "operands": ["1", "2"], "duration_ms": -1}', 422),
        (
            "/tasks/a/execute",
            b'{"operation": "addition", "operands": ["1", "2"], "duration_ms": 604800001}',
            422,
        ),
        ("/tasks/a/execute", b'"' + b"9" * 5_000_000 + b'"', 413),
        ("/tasks/a/result", b'{"value": "1"}', 400),
        ("/tasks/a/result", b'{"attempt": 1}', 400),
        ("/tasks/a/result", b'{"attempt": 1, "value": "1", "error": {"code": "x"}}', 400),
        ("/tasks/a/result", b'{"attempt": 1, "value": "1.5"}', 422),
        ("/tasks/a/result", b'{"attempt": -1, "value": "1"}', 422),
        ("/tasks/a/result", b'{"attempt": 1, "error": {"code": ""}}', 422),
        ("/tasks/a/other", b"{}", 404),
        ("/tasks", b"{}", 405),
    ],
)
async def test_bad_input_is_a_problem(port: httpx.AsyncClient, path: str, body: bytes, status: int) -> None:
    response = await port.post(path, content=body)
    assert response.status_code == status
    problem(response)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
@pytest.mark.parametrize("path", ["/tasks", "/tasks/a/execute", "/nowhere"])
async def test_nothing_answers_without_the_token(
    port: httpx.AsyncClient, header: str | None, path: str
) -> None:
    del port.headers["Authorization"]
    headers = {} if header is None else {"Authorization": header}
    response = await port.get(path, headers=headers)
    assert response.status_code == 401 and response.headers["WWW-Authenticate"] == "Bearer"
    problem(response)


async def test_health_and_metrics_are_open(port: httpx.AsyncClient, orchestrator: FakeOrchestrator) -> None:
    del port.headers["Authorization"]
    assert (await port.get("/healthz")).json()["status"] == "alive"
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("a"), task("b", "1", "0", operation="division"))
    await conversation.results(2)
    assert (await port.get("/healthz")).json() == {"status": "alive", "connected": True}
    lines = (await port.get("/metrics")).text.splitlines()
    assert 'curta_agent_tasks_total{operation="addition"} 1.0' in lines
    assert 'curta_agent_faults_total{code="division_by_zero"} 1.0' in lines
    assert "curta_agent_slots 2.0" in lines and "curta_agent_connected 1.0" in lines
    assert all(
        line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("curta_agent_") for line in lines
    )


async def test_large_numbers_are_computed_on_the_spot_too(port: httpx.AsyncClient) -> None:
    body = {"operation": "multiplication", "operands": ["1" + "0" * 100_000, "3"]}
    response = await port.post("/tasks/a/execute", json=body)
    assert response.json() == {"value": "3" + "0" * 100_000}
