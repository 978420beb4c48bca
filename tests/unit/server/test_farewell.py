"""Requests whose time is up when the process stops."""

import asyncio
from typing import Any

import msgspec
import pytest

from curta_server.farewell import Farewell, Message, Receive, Send

SCOPE: Message = {"type": "http"}


class Cycle:
    """One request in a task of its own, as a server runs it."""

    def __init__(self, *, answers: bool) -> None:
        self.sent: list[Message] = []
        self._answers = answers
        self._is_running = asyncio.Event()

    async def application(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._answers:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        self._is_running.set()
        await asyncio.Event().wait()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def receive(self) -> Message:
        raise AssertionError

    async def cancelled(self, scope: Message = SCOPE) -> None:
        task = asyncio.create_task(Farewell(self.application)(scope, self.receive, self.send))
        await self._is_running.wait()
        task.cancel()
        await task


async def test_a_cancelled_request_is_answered_with_503_and_may_be_tried_again() -> None:
    cycle = Cycle(answers=False)
    await cycle.cancelled()
    start, body = cycle.sent
    headers: dict[bytes, Any] = dict(start["headers"])
    assert start["status"] == 503
    assert headers[b"content-type"] == b"application/problem+json"
    assert int(headers[b"retry-after"]) >= 1
    assert headers[b"connection"] == b"close"
    assert int(headers[b"content-length"]) == len(body["body"])
    assert msgspec.json.decode(body["body"])["type"] == "/problems/unavailable"


async def test_an_answer_that_has_begun_is_not_followed_by_another() -> None:
    cycle = Cycle(answers=True)
    with pytest.raises(asyncio.CancelledError):
        await cycle.cancelled()
    assert [message["type"] for message in cycle.sent] == ["http.response.start"]


@pytest.mark.parametrize("type", ["websocket", "lifespan"])
async def test_what_is_no_request_is_passed_on(type: str) -> None:
    cycle = Cycle(answers=False)
    with pytest.raises(asyncio.CancelledError):
        await cycle.cancelled({"type": type})
    assert not cycle.sent
