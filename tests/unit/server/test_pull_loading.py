"""Pulling agents while expressions come into memory."""

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from curta_server import store
from curta_server.core.scheduler import Rules, Scheduler
from curta_server.errors import Problem
from curta_server.pull import PullAgents


@pytest.mark.parametrize("ask", ["result", "renew"])
async def test_what_comes_into_memory_meanwhile_is_asked_for_again(
    ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result must not be taken for unwanted, nor a renewal refused, because of what was not there
    when we looked."""
    scheduler = Scheduler(2, Rules(), [0, 0, 0, 0])
    expression = str(uuid4())

    async def row_of(*_: object) -> Any:
        scheduler.executions[expression] = cast("Any", object())  # recovered while the table is read
        return SimpleNamespace(tasks=1, is_final=False)

    @asynccontextmanager
    async def connect() -> Any:
        yield None

    monkeypatch.setattr(store, "expression", row_of)
    dispatcher = SimpleNamespace(leader=lambda: SimpleNamespace(scheduler=scheduler))
    pull = PullAgents(cast("Any", dispatcher), cast("Any", SimpleNamespace(connect=connect)))
    token = cast("Any", SimpleNamespace(id=uuid4(), name="machine"))
    with pytest.raises(Problem) as refused:
        if ask == "result":
            await pull.result(token, f"{expression}.0", 1 << 20 | 1, "3", None, "")
        else:
            await pull.renew(token, f"{expression}.0", 1 << 20 | 1)
    assert refused.value.code == "unavailable"
