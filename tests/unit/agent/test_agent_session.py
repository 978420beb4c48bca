"""The conversation, seen from an orchestrator."""

import asyncio
import json
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from fake_orchestrator import FakeOrchestrator, attempt, task

from curta_wire.offload import OffloadFailed

Start = Callable[..., Any]


async def test_an_agent_introduces_itself(orchestrator: FakeOrchestrator, start: Start) -> None:
    start(slots=7, name="abacus", operations=("addition", "division"))
    hello = (await orchestrator.arrival()).hello
    assert hello["type"] == "hello" and hello["protocol"] == 1
    assert (hello["name"], hello["slots"], hello["operations"]) == ("abacus", 7, ["addition", "division"])
    assert hello["held"] == []
    request = orchestrator.requests[0][1]
    assert request.path == "/agents/connect"
    assert request.headers["Authorization"].startswith("Bearer curta_")
    assert request.headers["Sec-WebSocket-Protocol"] == "curta.agent.v1"
    assert "Sec-WebSocket-Extensions" not in request.headers


async def test_tasks_without_a_duration_come_back_in_one_frame(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start(slots=200)
    conversation = await orchestrator.conversation()
    await conversation.tasks(*(task(f"e.{k}", str(k), "1") for k in range(200)))
    frame = await conversation.next()
    assert frame["type"] == "results"
    assert frame["results"] == [{"task": f"e.{k}", "attempt": 1, "value": str(k + 1)} for k in range(200)]


async def test_every_operation_is_exact(orchestrator: FakeOrchestrator, start: Start) -> None:
    start()
    conversation = await orchestrator.conversation()
    await conversation.tasks(
        task("a", "1/3", "1/6"),
        task("b", "1", "3", operation="division"),
        task("c", "-7", "1/7", operation="multiplication"),
        task("d", "5", "8", operation="subtraction"),
    )
    values = {result["task"]: result["value"] for result in await conversation.results(4)}
    assert values == {"a": "1/2", "b": "1/3", "c": "-1", "d": "-3"}


async def test_division_by_zero_is_a_result(orchestrator: FakeOrchestrator, start: Start) -> None:
    start()
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("a", "1", "0", operation="division"))
    (result,) = await conversation.results(1)
    assert result["error"]["code"] == "division_by_zero" and "value" not in result


async def test_a_task_takes_its_duration_in_parallel_slots(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start(slots=3)
    conversation = await orchestrator.conversation()
    began = asyncio.get_running_loop().time()
    await conversation.tasks(*(task(f"e.{k}", duration_ms=300) for k in range(3)))
    await conversation.results(3)
    took = asyncio.get_running_loop().time() - began
    assert 0.3 <= took < 0.8


async def test_heartbeats_name_what_is_held_and_the_last_frame_seen(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start()
    conversation = await orchestrator.conversation(heartbeat_s=0.05, idle_heartbeat_s=0.05)
    first = await conversation.receive("heartbeat")
    assert (first["held"], first["seen"]) == ([], 0)
    await conversation.tasks(task("long", duration_ms=600_000), task("short"))
    await conversation.results(1)
    beat = await conversation.receive("heartbeat")
    assert beat["seen"] == 1
    assert beat["held"] == [attempt("long"), attempt("short")]  # the result waits for its ack
    await conversation.send("ack", tasks=[attempt("short")])
    await conversation.receive("heartbeat", lambda frame: frame["held"] == [attempt("long")])


async def test_an_idle_agent_beats_less_often(orchestrator: FakeOrchestrator, start: Start) -> None:
    start()
    conversation = await orchestrator.conversation(heartbeat_s=0.1, idle_heartbeat_s=0.4)
    for _ in range(3):
        await conversation.receive("heartbeat")
    idle = [second - first for (first, _), (second, _) in pairwise(conversation.heartbeats)]
    assert all(gap > 0.3 for gap in idle)
    await conversation.tasks(task("long", duration_ms=600_000))
    conversation.heartbeats.clear()
    for _ in range(4):
        await conversation.receive("heartbeat")
    busy = [second - first for (first, _), (second, _) in pairwise(conversation.heartbeats)]
    assert min(busy) < 0.3


async def test_cancelling_a_running_attempt_is_answered_by_an_error(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start(slots=1)
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("long", duration_ms=600_000))
    await conversation.send("cancel", tasks=[attempt("long")])
    (result,) = await conversation.results(1)
    assert (result["task"], result["error"]["code"]) == ("long", "cancelled")
    await conversation.tasks(task("next"))  # its slot is free
    (result,) = await conversation.results(1)
    assert result["value"] == "5"


async def test_cancelling_a_finished_or_unknown_attempt_is_answered_too(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start()
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("done"))
    await conversation.results(1)
    await conversation.send("cancel", tasks=[attempt("done"), attempt("unknown", 9)])
    done, unknown = await conversation.results(2)
    assert done["value"] == "5"
    assert (unknown["attempt"], unknown["error"]["code"]) == (9, "cancelled")


async def test_an_ack_for_a_running_attempt_stops_it(orchestrator: FakeOrchestrator, start: Start) -> None:
    start(slots=1)
    conversation = await orchestrator.conversation(heartbeat_s=0.05, idle_heartbeat_s=0.05)
    await conversation.tasks(task("long", duration_ms=600_000))
    await conversation.send("ack", tasks=[attempt("long")])
    await conversation.receive("heartbeat", lambda frame: frame["seen"] == 1 and frame["held"] == [])


async def test_an_attempt_handed_out_twice_is_computed_once(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start()
    conversation = await orchestrator.conversation(heartbeat_s=0.05)
    await conversation.tasks(task("long", duration_ms=600_000), task("done"))
    await conversation.results(1)
    await conversation.tasks(task("long", duration_ms=600_000), task("done"))
    (again,) = await conversation.results(1)
    assert again == {"task": "done", "attempt": 1, "value": "5"}
    beat = await conversation.receive("heartbeat", lambda frame: frame["seen"] == 2)
    assert beat["held"] == [attempt("long"), attempt("done")]


async def test_more_tasks_than_slots_wait_for_a_slot(orchestrator: FakeOrchestrator, start: Start) -> None:
    start(slots=1)
    conversation = await orchestrator.conversation()
    began = asyncio.get_running_loop().time()
    await conversation.tasks(task("a", duration_ms=100), task("b", duration_ms=100), task("c"))
    assert [result["task"] for result in await conversation.results(3)] == ["a", "b", "c"]
    assert asyncio.get_running_loop().time() - began >= 0.2


async def test_far_more_tasks_than_slots_break_the_protocol(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start(slots=1)
    conversation = await orchestrator.conversation()
    await conversation.tasks(*(task(f"e.{k}", duration_ms=1000) for k in range(100)))
    assert await conversation.closed() == 1008
    await orchestrator.arrival()


async def test_unknown_frames_and_fields_are_ignored(orchestrator: FakeOrchestrator, start: Start) -> None:
    start()
    conversation = await orchestrator.arrival()
    await conversation.send("weather", sun=True)
    await conversation.welcome(colour="green")
    await conversation.send("weather", sun=False)
    await conversation.tasks(task("a", colour="blue"))
    (result,) = await conversation.results(1)
    assert result["value"] == "5"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("{", 1007),
        ('{"type": "tasks"}', 1007),
        ('{"type": "tasks", "n": 1, "tasks": [{"task": 1}]}', 1007),
        (b"\x00", 1003),
        ('{"type": "ack", "tasks": [], "padding": "' + "x" * (4 * 1024 * 1024) + '"}', 1009),
        ('{"type": "welcome", "heartbeat_s": 1, "idle_heartbeat_s": 1, "lease_s": 1,'
         ' "keep": [], "drop": [], "peers": []}', 1008),
    ],
)  # fmt: skip
async def test_a_malformed_frame_ends_the_session_and_the_agent_comes_back(
    orchestrator: FakeOrchestrator, start: Start, data: str | bytes, code: int
) -> None:
    start()
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("kept", duration_ms=600_000), task("done"))
    await conversation.results(1)
    await conversation.connection.send(data)
    assert await conversation.closed() == code
    again = await orchestrator.arrival()
    assert again.hello["agent"] == conversation.hello["agent"]
    assert again.hello["held"] == [attempt("kept"), attempt("done")]


async def test_the_first_frame_must_be_a_welcome(orchestrator: FakeOrchestrator, start: Start) -> None:
    start()
    conversation = await orchestrator.arrival()
    await conversation.tasks(task("a"))
    assert await conversation.closed() == 1008
    await orchestrator.conversation()


async def test_long_arithmetic_does_not_delay_a_heartbeat(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start(slots=8)
    conversation = await orchestrator.conversation(heartbeat_s=0.05, idle_heartbeat_s=0.05)
    digits = random.Random(1)
    a, b = ("9" + "".join(digits.choices("0123456789", k=399_999)) for _ in range(2))
    for k in range(8):
        # One frame each: together they would exceed the limit of 4 MiB.
        await conversation.tasks(task(f"e.{k}", a, b, operation="multiplication"))
    results: list[dict[str, Any]] = []
    while len(results) < 8:
        frame = await conversation.next()
        if frame["type"] == "results":
            results += frame["results"]
    assert {len(result["value"]) for result in results} <= {799_999, 800_000}
    gaps = [second - first for (first, _), (second, _) in pairwise(conversation.heartbeats)]
    # Eight products take about half a second of computing; the test's own JSON accounts for most of a gap.
    assert len(gaps) >= 3 and max(gaps) < 1.0


class Apart:
    """Child processes that take as long as the test likes."""

    def __init__(self, workers: int, waiting_max: int) -> None:
        self.started: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self.release = asyncio.Event()
        self.error: Exception | None = None
        APART.append(self)

    async def run(self, function: Callable[..., Any], *args: str) -> Any:
        await self.started.put(args)
        await self.release.wait()
        if self.error is not None:
            raise self.error
        return function(*args)

    def close(self) -> None:
        pass


APART: list[Apart] = []


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> list[Apart]:
    APART.clear()
    monkeypatch.setattr("curta_agent.agent.Offload", Apart)
    return APART


async def test_beats_and_small_tasks_go_on_beside_arithmetic_that_takes_for_ever(
    orchestrator: FakeOrchestrator, start: Start, apart: list[Apart]
) -> None:
    start(slots=2)
    conversation = await orchestrator.conversation(heartbeat_s=0.05, idle_heartbeat_s=0.05)
    await conversation.tasks(task("large", "9" * 5000, "1"))
    await apart[0].started.get()
    for k in range(3):
        await conversation.receive("heartbeat", lambda frame: frame["held"] == [attempt("large")])
        await conversation.tasks(task(f"small.{k}"))
        await conversation.results(1)
        await conversation.send("ack", tasks=[attempt(f"small.{k}")])
    apart[0].release.set()
    assert (await conversation.results(1))[0]["value"] == "1" + "0" * 5000


async def test_cancelling_long_arithmetic_frees_its_slot(
    orchestrator: FakeOrchestrator, start: Start, apart: list[Apart]
) -> None:
    start(slots=1)
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("large", "9" * 5000, "1"))
    await apart[0].started.get()
    await conversation.send("cancel", tasks=[attempt("large")])
    assert (await conversation.results(1))[0]["error"]["code"] == "cancelled"
    await conversation.tasks(task("small"))
    assert (await conversation.results(1))[0]["value"] == "5"


async def test_arithmetic_whose_process_dies_is_the_agents_failure(
    orchestrator: FakeOrchestrator, start: Start, apart: list[Apart]
) -> None:
    start(slots=1)
    conversation = await orchestrator.conversation()
    apart[0].error = OffloadFailed("the child process died")
    apart[0].release.set()
    await conversation.tasks(task("large", "9" * 5000, "1"), task("small"))
    large, small = await conversation.results(2)
    assert large["error"]["code"] == "internal"
    assert small["value"] == "5"


async def test_a_value_of_too_many_digits_is_a_result(orchestrator: FakeOrchestrator, start: Start) -> None:
    start()
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("a", "9" * 600_000, "9" * 600_000, operation="multiplication"))
    (result,) = await conversation.results(1)
    assert result["error"]["code"] == "too_large"


async def test_frames_of_large_results_stay_below_the_limit(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start(slots=12)
    conversation = await orchestrator.conversation()
    for k in range(12):
        await conversation.tasks(task(f"e.{k}", "9" * 900_000, "-1", operation="multiplication"))
    await conversation.results(12)
    await conversation.connection.close(1012)
    again = await orchestrator.conversation()
    frames = []
    while sum(len(frame["results"]) for frame in frames) < 12:
        frames.append(await again.receive("results"))
    assert len(frames) > 1
    assert all(len(json.dumps(frame)) < 4 * 1024 * 1024 for frame in frames)


async def test_a_task_this_agent_does_not_know_fails_and_harms_nothing(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start(slots=5)
    conversation = await orchestrator.conversation()
    await conversation.tasks(
        task("a", operation="exponentiation"),
        task("b", "01", "2"),
        task("c", "2/4", "2"),
        task("d", duration_ms=-1),
        task("e"),
    )
    codes = {r["task"]: r.get("error", {}).get("code") for r in await conversation.results(5)}
    assert codes == {
        "a": "unknown_operation",
        "b": "invalid_operand",
        "c": "invalid_operand",
        "d": "invalid_duration",
        "e": None,
    }
