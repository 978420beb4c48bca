"""Sessions end in many ways; the work is kept, and the agent comes back where and when the protocol says."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fake_orchestrator import FakeOrchestrator, attempt, task

Start = Callable[..., Any]


async def test_a_reconnect_keeps_the_work(orchestrator: FakeOrchestrator, start: Start) -> None:
    start()
    first = await orchestrator.conversation()
    began = asyncio.get_running_loop().time()
    await first.tasks(task("slow", "20", "22", duration_ms=500), task("done"))
    await first.results(1)
    first.connection.transport.abort()
    second = await orchestrator.arrival()
    assert second.hello["held"] == [attempt("slow"), attempt("done")]
    await second.welcome(keep=[attempt("slow"), attempt("done")])
    done, slow = await second.results(2)
    assert (done["task"], done["value"]) == ("done", "5")
    assert (slow["task"], slow["value"]) == ("slow", "42")
    assert asyncio.get_running_loop().time() - began < 5


async def test_results_without_an_ack_are_sent_again_and_acknowledged_ones_are_not(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start()
    first = await orchestrator.conversation()
    await first.tasks(task("a"), task("b"), task("c"))
    await first.results(3)
    await first.send("ack", tasks=[attempt("b")])
    await first.connection.close(1012)
    second = await orchestrator.conversation()  # undecided about everything: the agent goes on
    assert second.hello["held"] == [attempt("a"), attempt("c")]
    assert [result["task"] for result in await second.results(2)] == ["a", "c"]


async def test_what_the_welcome_drops_is_abandoned(orchestrator: FakeOrchestrator, start: Start) -> None:
    start(slots=1)
    first = await orchestrator.conversation()
    await first.tasks(task("long", duration_ms=600_000))
    await first.connection.close(1001)
    second = await orchestrator.arrival()
    await second.welcome(drop=[attempt("long")], heartbeat_s=0.05, idle_heartbeat_s=0.05)
    assert (await second.receive("heartbeat"))["held"] == []
    await second.tasks(task("next"))
    assert (await second.results(1))[0]["task"] == "next"


async def test_a_result_finished_while_away_is_delivered(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start()
    first = await orchestrator.conversation()
    await first.tasks(task("soon", duration_ms=100))
    await orchestrator.close()
    await orchestrator.open()
    second = await orchestrator.conversation()
    assert (await second.results(1))[0]["value"] == "5"


async def test_an_orchestrator_that_falls_silent_is_left_after_its_lease(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start()
    first = await orchestrator.conversation(lease_s=0.3)
    began = asyncio.get_running_loop().time()
    await first.tasks(task("long", duration_ms=600_000))
    second = await orchestrator.arrival()
    assert 0.25 <= asyncio.get_running_loop().time() - began < 2
    assert second.hello["held"] == [attempt("long")]


async def test_any_frame_counts_as_a_sign_of_life(orchestrator: FakeOrchestrator, start: Start) -> None:
    start()
    first = await orchestrator.conversation(lease_s=0.5, heartbeat_s=0.1, idle_heartbeat_s=0.1)
    until = asyncio.get_running_loop().time() + 1.5
    while asyncio.get_running_loop().time() < until:
        await first.receive("heartbeat")
        await first.send("something new")
    assert orchestrator.arrivals.empty()


async def test_the_same_orchestrator_comes_first_then_its_peers(
    orchestrator: FakeOrchestrator, peer: FakeOrchestrator, start: Start
) -> None:
    start()
    first = await orchestrator.conversation(peers=[orchestrator.url, peer.url])
    await first.connection.close(1012)
    again = await orchestrator.conversation(peers=[orchestrator.url, peer.url])
    assert again.hello["agent"] == first.hello["agent"]
    await orchestrator.close()
    elsewhere = await peer.arrival()
    assert elsewhere.hello["agent"] == first.hello["agent"]


async def test_the_next_url_is_tried_when_the_first_does_not_answer(
    orchestrator: FakeOrchestrator, peer: FakeOrchestrator, start: Start
) -> None:
    await orchestrator.close()
    start(urls=(orchestrator.url, peer.url))
    await peer.conversation()


async def test_a_redirect_instead_of_a_welcome_is_followed(
    orchestrator: FakeOrchestrator, peer: FakeOrchestrator, start: Start
) -> None:
    start()
    first = await orchestrator.arrival()
    await first.send("redirect", url=peer.url)
    await peer.conversation()
    assert await first.closed() == 1000


async def test_a_redirect_in_the_midst_takes_the_work_along(
    orchestrator: FakeOrchestrator, peer: FakeOrchestrator, start: Start
) -> None:
    start()
    first = await orchestrator.conversation()
    await first.tasks(task("long", duration_ms=600_000))
    await first.send("redirect", url=peer.url, retry_after_s=0.2)
    second = await peer.arrival()
    assert second.hello["held"] == [attempt("long")]


async def test_a_redirect_is_remembered_when_the_orchestrator_closes_first(
    orchestrator: FakeOrchestrator, peer: FakeOrchestrator, start: Start
) -> None:
    start()
    first = await orchestrator.conversation()
    await first.send("redirect", url=peer.url, retry_after_s=0.5)
    await first.connection.close(1001)
    await peer.arrival()


async def test_a_redirect_that_is_no_url_is_refused_in_place_of_a_welcome(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    start()
    first = await orchestrator.arrival()
    await first.send("redirect", url="☃" * 500)
    assert await first.closed() == 1008
    await orchestrator.conversation()


async def test_a_redirect_that_is_no_url_is_ignored(orchestrator: FakeOrchestrator, start: Start) -> None:
    start()
    first = await orchestrator.conversation()
    await first.send("redirect", url="ftp://elsewhere")
    await first.tasks(task("a"))
    assert (await first.results(1))[0]["value"] == "5"


@pytest.mark.parametrize(("code", "exit_code"), [(4000, 10), (4001, 11), (4002, 12), (4003, 13)])
async def test_final_close_codes_stop_the_agent_each_with_an_exit_code_of_its_own(
    orchestrator: FakeOrchestrator, start: Start, code: int, exit_code: int
) -> None:
    agent = start()
    conversation = await orchestrator.conversation()
    await conversation.tasks(task("long", duration_ms=600_000))
    await conversation.connection.close(code)
    assert await agent.exit_code() == exit_code
    assert len(orchestrator.requests) == 1


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 4999])
async def test_other_close_codes_do_not(orchestrator: FakeOrchestrator, start: Start, code: int) -> None:
    start()
    conversation = await orchestrator.conversation()
    await conversation.connection.close(code)
    await orchestrator.conversation()


async def test_retry_after_is_heeded(orchestrator: FakeOrchestrator, start: Start) -> None:
    orchestrator.refusals = [(503, {"Retry-After": "1"})]
    start()
    await orchestrator.conversation()
    (first, _), (second, _) = orchestrator.requests
    assert 1.0 <= second - first < 2.5


async def test_a_token_that_is_not_accepted_is_tried_again_slowly(
    orchestrator: FakeOrchestrator, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curta_agent.agent.UNAUTHORIZED_S", 0.7)
    orchestrator.refusals = [(401, {}), (403, {})]
    start()
    await orchestrator.conversation()
    times = [when for when, _ in orchestrator.requests]
    assert times[1] - times[0] >= 0.7 and times[2] - times[1] >= 0.7


async def test_a_server_that_is_no_orchestrator_is_tried_again(
    orchestrator: FakeOrchestrator, start: Start
) -> None:
    orchestrator.refusals = [(400, {}), (404, {}), (302, {"Location": "http://127.0.0.1:1/"}), (426, {})]
    start()
    await orchestrator.conversation()
    assert len(orchestrator.requests) == 5


async def test_a_server_without_the_subprotocol_is_left(
    orchestrator: FakeOrchestrator, peer: FakeOrchestrator, start: Start
) -> None:
    orchestrator.subprotocols = None
    await orchestrator.close()
    await orchestrator.open()
    start(urls=(orchestrator.url, peer.url))
    await peer.conversation()
    assert orchestrator.arrivals.empty()
