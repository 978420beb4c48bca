"""A simulation that cannot fail proves nothing: some promises broken on purpose (`make mutants`: all)."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.simulation import mutants

ROOT = Path(__file__).parents[2]
QUICK = {
    "acknowledge_before_the_commit": "neither stored nor unwanted",
    "skip_on_conflict": "changes",
    "fold_nothing": "is in the journal, and is handed to",
}
"""Those that a few histories catch, and by what."""


@pytest.mark.parametrize("mutant", QUICK)
def test_a_broken_promise_is_seen(mutant: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.mutants", mutant],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert QUICK[mutant] in done.stdout


@pytest.mark.parametrize("mutant", mutants.MUTANTS)
def test_every_mutant_still_finds_what_it_breaks(mutant: str) -> None:
    with ExitStack() as stack:
        mutants.apply(mutant, stack)
