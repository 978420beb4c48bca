"""How far ahead of the dispatcher one agent may be read."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from tests.support.waiting import until

from curta_server.core.events import Answered, Beaten, Event
from curta_server.hearing import UNSETTLED_MAX, read
from curta_server.settings import Settings
from curta_wire.codec import encode
from curta_wire.frames import AgentFrame, Attempt, Heartbeat, Result, Results
from curta_wire.offload import Offload

RESULTS = Results([Result(f"a.{n}", 1, "1") for n in range(1_000)])
BEAT = Heartbeat([Attempt(f"a.{n}", 1) for n in range(1_000)], 0)


class Busy:
    """A dispatcher that deals with what is posted when it is let."""

    def __init__(self) -> None:
        self.posted: list[Event] = []
        self.goes_on = asyncio.Event()

    def post(self, event: Event) -> None:
        self.posted.append(event)

    async def settled(self) -> None:
        await self.goes_on.wait()
        self.goes_on.clear()

    def waiting(self) -> int:
        named = (event for event in self.posted if isinstance(event, Answered | Beaten))
        return sum(len(event.answers if isinstance(event, Answered) else event.held) for event in named)


class Flood:
    """A channel on which the same frame comes again and again."""

    def __init__(self, frame: AgentFrame) -> None:
        self._text = encode(frame)

    async def receive(self) -> str:
        await asyncio.sleep(0)
        return self._text


@pytest.mark.parametrize("frame", [RESULTS, BEAT], ids=["results", "beats"])
async def test_who_talks_faster_than_is_dealt_with_is_not_read_on(frame: AgentFrame) -> None:
    dispatcher, offload = Busy(), Offload(1, 1)
    outbox = SimpleNamespace(seen=lambda frame: 0)
    session = SimpleNamespace(number=1, guest=SimpleNamespace(id=str(uuid4())), outbox=outbox)
    reading = asyncio.create_task(
        read(cast("Any", Flood(frame)), cast("Any", session), cast("Any", dispatcher), Settings(), offload)
    )
    try:
        await until(lambda: dispatcher.waiting() >= UNSETTLED_MAX)
        await asyncio.sleep(0.1)
        assert dispatcher.waiting() <= UNSETTLED_MAX + 1_000
        dispatcher.goes_on.set()
        await until(lambda: dispatcher.waiting() > UNSETTLED_MAX + 1_000)
    finally:
        reading.cancel()
        offload.close()
