"""Two minutes of everything at once, and what must hold of the run's own rules."""

from pathlib import Path

import pytest

from tests.chaos.run import run

MINUTES = 2.0
SEED = 1
"""Of the faults; when they meet the work differs from run to run all the same."""


@pytest.mark.acceptance
async def test_nothing_is_lost_or_wrong_while_everything_breaks(tmp_path: Path) -> None:
    report = await run(SEED, MINUTES, tmp_path)
    assert not report.findings, f"{report}\n\n{(tmp_path / 'chronicle.txt').read_text()}"
    assert sum(report.faults.values()) >= 10 * MINUTES
    assert report.ended["done"] > 0 and report.witnessed > 0
