"""The progress bars of `curta submit --wait`."""

import pytest
from rich.progress import Progress
from tests.unit.cli.conftest import expression

from curta_cli.progress import Bars


def test_a_bar_shows_from_its_first_frame_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[tuple[float, float | None]] = []
    monkeypatch.setattr(
        Progress, "refresh", lambda it: frames.extend((task.completed, task.total) for task in it.tasks)
    )
    with Bars(1) as bars:
        bars.show(expression(status="running", result=None, tasks={"total": 7, "done": 3, "running": 2}))
    assert frames and set(frames) == {(3, 7)}
