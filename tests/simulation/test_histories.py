"""A short run of the simulation: `make simulate SEEDS=…` makes it long."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 15


def simulate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, whose texts hash alike in every run."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_history_keeps_every_promise() -> None:
    done = simulate("--seeds", "1000000", "--seconds", str(SECONDS), "--processes", "2")
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert int(done.stdout.split()[0].replace(",", "")) > 20, done.stdout


@pytest.mark.parametrize("seed", [61])
def test_a_seed_gives_the_same_history_each_time(seed: int) -> None:
    runs = [simulate("--seed", str(seed), TRACE="all") for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout
    assert "all promises kept; log" in runs[0].stdout
    assert len(runs[0].stdout.splitlines()) > 20
