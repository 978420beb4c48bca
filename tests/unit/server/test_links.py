"""Which session is told what the scheduler says to an agent."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from curta_server.dispatcher import Dispatcher


@pytest.mark.parametrize(("heard_of", "is_told"), [(None, True), (7, True), (6, False)])
def test_a_session_that_the_scheduler_has_not_heard_of_is_told_nothing(
    heard_of: int | None, is_told: bool
) -> None:
    agents = {} if heard_of is None else {"a": SimpleNamespace(session=heard_of)}
    term = SimpleNamespace(scheduler=SimpleNamespace(crew=SimpleNamespace(agents=agents)))
    link = SimpleNamespace(number=7)
    dispatcher = cast("Any", SimpleNamespace(_links={"a": link}, _term=term))
    assert Dispatcher._link(dispatcher, "a") is (link if is_told else None)
    assert Dispatcher._link(dispatcher, "b") is None
