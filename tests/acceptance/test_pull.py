"""An agent that is nothing but `curl`: asks for tasks, computes by hand, hands results in."""

import asyncio
import json
import subprocess
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.foreign import Frame, compute
from tests.support.processes import ADMIN, AGENT, Cluster
from tests.support.waiting import until


class Curl:
    """`curl` with the agents' token."""

    def __init__(self, cluster: Cluster, secret: str = AGENT) -> None:
        self.url = cluster.url
        self.secret = secret
        self.agent = str(uuid.uuid4())

    async def ask(self, *arguments: str) -> tuple[int, Any]:
        """The status and the JSON of one call."""
        path, *rest = arguments
        done = await asyncio.to_thread(
            subprocess.run,
            (
                *("curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}"),
                *("-H", f"Authorization: Bearer {self.secret}", *rest, self.url + path),
            ),
            capture_output=True,
            text=True,
            check=True,
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body) if body else None

    async def take(self, *, slots: int = 1, wait: float = 10) -> list[Frame]:
        status, answer = await self.ask(f"/tasks?agent={self.agent}&slots={slots}&wait={wait}")
        if status == 204:
            return []
        assert status == 200, answer
        assert answer["lease_s"] == 60
        tasks: list[Frame] = answer["tasks"]
        return tasks

    async def result(self, task: Frame, **outcome: Any) -> tuple[int, Any]:
        body = json.dumps({"attempt": task["attempt"], **(outcome or {"value": compute(task)})})
        return await self.ask(
            f"/tasks/{task['task']}/result", "-H", "Content-Type: application/json", "-d", body
        )


@pytest.fixture
async def quick(admin: Client) -> AsyncIterator[Client]:
    """An admin; operations take no time, and nothing is left behind."""
    await admin.set_all_durations(0)
    yield admin
    for status in ("queued", "running"):
        for item in (await admin.ask("GET", "/expressions", params={"status": status}))["items"]:
            await admin.ask("DELETE", f"/expressions/{item['id']}")


async def test_curl_alone_computes_an_expression(cluster: Cluster, quick: Client) -> None:
    curl = Curl(cluster)
    id = (await quick.submit("(1+2)*(3+4)"))["id"]
    first: list[Frame] = []
    while len(first) < 2:
        first.extend(await curl.take(slots=2 - len(first)))
    assert sorted(task["operands"] for task in first) == [["1", "2"], ["3", "4"]]
    for task in first:
        assert (await curl.result(task))[0] == 200
    (last,) = await curl.take()
    assert (last["operation"], last["duration_ms"]) == ("multiplication", 0)
    status, _ = await curl.ask(f"/tasks/{last['task']}/lease", "-X", "POST")
    assert status == 200
    assert (await curl.result(last))[0] == 200
    assert (await curl.result(last))[0] == 200, "a repeated result is taken as stored"
    ended = await quick.final(id)
    assert (ended["status"], ended["result"]) == ("done", "21")


async def test_without_tasks_the_answer_is_empty(cluster: Cluster, quick: Client) -> None:
    curl = Curl(cluster)
    assert await curl.ask(f"/tasks?agent={curl.agent}&wait=0.2") == (204, None)
    assert await curl.ask("/tasks") == (204, None)


async def test_an_agent_of_unknown_operations_gets_nothing(cluster: Cluster, quick: Client) -> None:
    curl = Curl(cluster)
    await quick.submit("20+22")
    assert await curl.ask(f"/tasks?agent={curl.agent}&operations=power") == (204, None)
    status, answer = await curl.ask(f"/tasks?agent={curl.agent}&operations=power,addition&wait=10")
    assert (status, len(answer["tasks"])) == (200, 1)


async def test_a_waiting_request_gets_a_task_as_soon_as_there_is_one(cluster: Cluster, quick: Client) -> None:
    curl = Curl(cluster)
    waiting = asyncio.create_task(curl.take(wait=20))

    async def is_known() -> bool:
        items = (await quick.ask("GET", "/agents"))["items"]
        return any(item["id"] == curl.agent for item in items)

    await until(is_known)
    id = (await quick.submit("20+22"))["id"]
    async with asyncio.timeout(5):
        (task,) = await waiting
    assert (await curl.result(task))[0] == 200
    assert (await quick.final(id))["result"] == "42"


async def test_a_result_is_no_request_for_another_task(cluster: Cluster, quick: Client) -> None:
    done, other = Curl(cluster), Curl(cluster)
    id = (await quick.submit("(1+2)*3"))["id"]
    (task,) = await done.take()
    assert (await done.result(task))[0] == 200
    (last,) = await other.take()
    assert last["operation"] == "multiplication"
    assert (await other.result(last))[0] == 200
    assert (await quick.final(id))["result"] == "9"


async def test_an_error_is_a_result_or_a_failure(cluster: Cluster, quick: Client) -> None:
    curl = Curl(cluster)
    id = (await quick.submit("1/(2-2)"))["id"]
    (task,) = await curl.take()
    assert (await curl.result(task))[0] == 200
    (task,) = await curl.take()
    assert (task["operation"], task["operands"]) == ("division", ["1", "0"])
    error = {"code": "division_by_zero", "message": "by zero"}
    assert (await curl.result(task, error=error))[0] == 200
    ended = await quick.final(id)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "division_by_zero")


async def test_what_was_not_handed_out_is_refused(cluster: Cluster, quick: Client) -> None:
    mine = Curl(cluster)
    _, secret = await quick.make_token("other machines", "agent")
    other = Curl(cluster, secret)
    id = (await quick.submit("20+22"))["id"]
    (task,) = await mine.take()
    status, problem = await other.result(task, value="43")
    assert (status, problem["type"]) == (409, "/problems/not_yours")
    status, problem = await mine.result({**task, "attempt": task["attempt"] + 1})
    assert status == 409
    for unknown in (f"{uuid.uuid4()}.0", "nonsense", f"{id}.99"):
        status, problem = await mine.result({**task, "task": unknown}, value="1")
        assert (status, problem["type"]) == (404, "/problems/not_found"), unknown
        status, _ = await mine.ask(f"/tasks/{unknown}/lease", "-X", "POST")
        assert status == 404, unknown
    status, _ = await other.ask(f"/tasks/{task['task']}/lease", "-X", "POST")
    assert status == 409
    assert (await mine.result(task))[0] == 200
    assert (await quick.final(id))["result"] == "42"


async def test_a_result_of_a_cancelled_expression_is_taken_and_forgotten(
    cluster: Cluster, quick: Client
) -> None:
    curl = Curl(cluster)
    id = (await quick.submit("20+22"))["id"]
    (task,) = await curl.take()
    await quick.ask("DELETE", f"/expressions/{id}")
    assert (await curl.result(task))[0] == 200
    assert (await quick.show(id))["status"] == "cancelled"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ('{"attempt": 1}', 400),
        ('{"attempt": 1, "value": "1", "error": {"code": "x"}}', 400),
        ('{"attempt": 1, "value": "one"}', 400),
        ('{"attempt": 1, "value": "2/4"}', 400),
        ('{"attempt": 1, "value": 1}', 400),
        ('{"attempt": -1, "value": "1"}', 422),
    ],
)
async def test_a_malformed_result_is_refused(cluster: Cluster, quick: Client, body: str, status: int) -> None:
    curl = Curl(cluster)
    await quick.submit("20+22")
    (task,) = await curl.take()
    answered, problem = await curl.ask(
        f"/tasks/{task['task']}/result", "-H", "Content-Type: application/json", "-d", body
    )
    assert answered == status, problem
    assert (await curl.result(task))[0] == 200


@pytest.mark.parametrize("query", ["agent=me", "slots=0", "slots=x", "wait=-1", "wait=51"])
async def test_a_malformed_request_for_tasks_is_refused(cluster: Cluster, query: str) -> None:
    status, problem = await Curl(cluster).ask(f"/tasks?{query}")
    assert status in (400, 422), problem


async def test_only_a_token_of_role_agent_gets_tasks(cluster: Cluster) -> None:
    assert (await Curl(cluster, ADMIN).ask("/tasks"))[0] == 403
    assert (await Curl(cluster, "wrong").ask("/tasks"))[0] == 401
