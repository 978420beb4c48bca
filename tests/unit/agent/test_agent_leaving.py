"""SIGTERM: finish what can be finished, deliver it, say `bye`, wait for the last `ack`, be gone in time."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fake_orchestrator import DEADLINE_S, FakeOrchestrator, attempt, task
from tests.support.waiting import until

from curta_agent.agent import Agent
from curta_agent.ledger import Ledger
from curta_agent.settings import AgentSettings
from curta_agent.slots import Slots
from curta_wire.offload import Offload

Start = Callable[..., Any]


async def test_an_idle_agent_says_bye_and_is_gone(orchestrator: FakeOrchestrator, start: Start) -> None:
    agent = start()
    conversation = await orchestrator.conversation()
    agent.stop.set()
    assert (await conversation.next())["type"] == "bye"
    assert await conversation.closed() == 1000
    assert await agent.exit_code() == 0


async def test_what_can_be_finished_is_finished_and_delivered_before_bye(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    agent = start(drain_s=3.0)
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("soon", duration_ms=300), task("never", duration_ms=600_000))
    await conversation.tasks(task("marker"))
    await conversation.results(1)
    agent.stop.set()
    frame = await conversation.next()
    assert [result["task"] for result in frame["results"]] == ["soon"]
    assert (await conversation.next())["type"] == "bye"
    assert not agent.task.done()  # it waits for the ack
    await conversation.send("ack", tasks=[attempt("soon"), attempt("marker")])
    assert await conversation.closed() == 1000
    assert await agent.exit_code() == 0


async def test_a_task_that_cannot_be_finished_does_not_hold_the_agent_up(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    agent = start(drain_s=60.0)
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("never", duration_ms=600_000), task("marker"))
    await conversation.results(1)
    await conversation.send("ack", tasks=[attempt("marker")])
    agent.stop.set()
    await conversation.receive("bye")
    assert await agent.exit_code() == 0


async def test_a_leaving_agent_begins_nothing_that_lasts_longer_than_its_own_work(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    agent = start(drain_s=5.0)
    conversation = await orchestrator.conversation(heartbeat_s=0.05, idle_heartbeat_s=0.05)
    await conversation.tasks(task("soon", duration_ms=600))
    await conversation.receive("heartbeat", lambda frame: frame["seen"] == 1)
    agent.stop.set()
    await asyncio.sleep(0)
    await conversation.tasks(task("too long", duration_ms=3000), task("quick"))
    results = {result["task"] for result in await conversation.results(2)}
    assert results == {"soon", "quick"}
    await conversation.receive("bye")


async def test_an_ack_that_never_comes_is_not_waited_for_longer_than_five_seconds(
    orchestrator: FakeOrchestrator, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curta_agent.session.GOODBYE_S", 0.3)
    agent = start()
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("a"))
    await conversation.results(1)
    agent.stop.set()
    await conversation.receive("bye")
    assert await agent.exit_code() == 0


async def test_an_agent_without_a_connection_ends_at_once_when_it_holds_nothing(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    await orchestrator.close()
    agent = start(drain_s=60.0)
    await asyncio.sleep(0)
    agent.stop.set()
    assert await agent.exit_code() == 0


async def test_a_leaving_agent_comes_back_to_deliver_its_results(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    agent = start(drain_s=10.0)
    first = await orchestrator.conversation()
    await first.tasks(task("a"))
    await first.results(1)
    await orchestrator.close()
    agent.stop.set()
    await orchestrator.open()
    second = await orchestrator.conversation()
    (result,) = await second.results(1)
    assert result["task"] == "a"
    await second.receive("bye")
    await second.send("ack", tasks=[attempt("a")])
    assert await agent.exit_code() == 0


async def test_an_agent_that_cannot_deliver_ends_in_time(
    orchestrator: FakeOrchestrator, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curta_agent.agent.GOODBYE_S", 1.5)
    agent = start(drain_s=0.2)
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("a"))
    await conversation.results(1)
    await orchestrator.close()
    agent.stop.set()
    assert await agent.exit_code() == 0


@pytest.mark.parametrize("connected", [True, False], ids=["no ack", "no connection"])
async def test_all_of_leaving_takes_no_longer_than_the_draining_may(
    orchestrator: FakeOrchestrator, start: Start, monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    monkeypatch.setattr("curta_agent.agent.GOODBYE_S", 2.0)
    agent = start(drain_s=3.0)
    conversation = await orchestrator.conversation(heartbeat_s=0.05, idle_heartbeat_s=0.05)
    await conversation.tasks(task("a"), task("late", duration_ms=1_200))
    await conversation.results(1)
    if not connected:
        await orchestrator.close()
    loop = asyncio.get_running_loop()
    began = loop.time()
    agent.stop.set()
    if connected:
        assert [result["task"] for result in await conversation.results(1)] == ["late"]
        await conversation.receive("bye")
    assert await agent.exit_code() == 0
    assert loop.time() - began < 3.0


async def test_what_could_be_finished_and_not_delivered_in_time_is_handed_back(
    orchestrator: FakeOrchestrator, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curta_agent.agent.GOODBYE_S", 60.0)
    agent = start(drain_s=60.0)
    conversation = await orchestrator.conversation(heartbeat_s=0.05, idle_heartbeat_s=0.05)
    await conversation.tasks(task("too late", duration_ms=59_900))
    await conversation.receive("heartbeat", lambda frame: frame["seen"] == 1)
    agent.stop.set()
    async with asyncio.timeout(DEADLINE_S):
        await conversation.receive("bye")
    assert await agent.exit_code() == 0


async def test_to_be_told_again_to_leave_never_gives_more_time(
    orchestrator: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await orchestrator.close()
    slots = Slots(1, Ledger(), Offload(1, 1))
    slots.ledger.settle(("a", 1), "1")
    agent = Agent(AgentSettings(urls=(orchestrator.url,), token="t" * 32, slots=1), slots, None)
    async with asyncio.timeout(DEADLINE_S):
        running = asyncio.create_task(agent.run(asyncio.Event()))
        await until(lambda: agent._limit is not None)
        assert agent._limit is not None
        ends: list[float | None] = []
        for drain_s in (3.0, 0.0, 0.0):
            agent.leave(drain_s)
            ends.append(agent._limit.when())
        assert ends[0] == ends[1] == ends[2] is not None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_drain_leaves_the_agent_connected(orchestrator: FakeOrchestrator, start: Start) -> None:
    start()
    conversation = await orchestrator.conversation(heartbeat_s=0.05)
    await conversation.tasks(task("soon", duration_ms=100))
    await conversation.send("drain")
    assert (await conversation.results(1))[0]["task"] == "soon"
    await conversation.receive("heartbeat")
    assert orchestrator.arrivals.empty()


PROGRAM = """
import asyncio, sys
from curta_agent import run_agent
from curta_agent.settings import AgentSettings
settings = AgentSettings(urls=(sys.argv[1],), token="t" * 32, slots=2, drain_s=float(sys.argv[2]))
sys.exit(asyncio.run(run_agent(settings)))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_in_good_order(
    orchestrator: FakeOrchestrator, number: signal.Signals
) -> None:
    process = await _agent_process(orchestrator, drain_s=5.0)
    conversation = await orchestrator.conversation()
    process.send_signal(number)
    await conversation.receive("bye")
    assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0


async def test_a_second_signal_cuts_the_draining_short(orchestrator: FakeOrchestrator) -> None:
    process = await _agent_process(orchestrator, drain_s=600.0)
    conversation = await orchestrator.conversation(heartbeat_s=0.05, idle_heartbeat_s=0.05)
    await conversation.tasks(task("long", duration_ms=300_000))
    await conversation.receive("heartbeat", lambda frame: frame["seen"] == 1)
    process.terminate()
    await conversation.tasks(task("crossing", duration_ms=1))
    await conversation.results(1)
    process.terminate()
    await conversation.receive("bye")
    await conversation.send("ack", tasks=[attempt("crossing")])
    assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0


async def _agent_process(orchestrator: FakeOrchestrator, drain_s: float) -> asyncio.subprocess.Process:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, orchestrator.url, str(drain_s), env=environment
    )
