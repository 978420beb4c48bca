"""A hello that nobody takes."""

import asyncio
from unittest.mock import Mock

import pytest

from curta_agent import session
from curta_wire import PROTOCOL
from curta_wire.frames import Hello


async def test_an_orchestrator_that_does_not_read_the_hello_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "WELCOME_TIMEOUT_S", 0.02)

    async def never(data: object) -> None:
        await asyncio.Event().wait()

    connection = Mock(send=never)
    conversation = session.Session("ws://x", connection, Mock(), asyncio.Event(), Mock())
    async with asyncio.timeout(5):
        ended = await conversation.run(Hello("a", "a", 1, PROTOCOL))
    assert isinstance(ended, session.ServerSilent)
    connection.transport.abort.assert_called_once()
