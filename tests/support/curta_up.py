"""A real `curta up` in a folder of its own, on a port of its own, and commands of ours beside it."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import CurtaProcess, wait_until

START_S = 60.0
"""PostgreSQL makes its data directory first; two cores may be busy with other tests."""


class CurtaUp:
    """`curta up` in `folder`/.curta, ready. `start` may be called again after it was stopped."""

    def __init__(self, folder: Path, *, agents: int = 2) -> None:
        self.folder = folder
        self.data = folder / ".curta"
        self._agents = agents
        self._starts = 0
        self.start()

    def start(self) -> None:
        """Start it, and return when it says that it is ready."""
        self._starts += 1
        process = CurtaProcess(
            *("up", "--data", str(self.data), "--port", "0", "--agents", str(self._agents), "--slots", "2"),
            log=self.folder / f"up-{self._starts}.log",
        )

        def is_ready() -> bool:
            assert process.is_running, process.output[-3000:]
            return "Curta is ready" in process.output

        wait_until(is_ready, f"`curta up` is ready: {process.output[-3000:]}", within_s=START_S)
        self.process = process

    @property
    def url(self) -> str:
        return (self.data / "url").read_text().strip()

    @property
    def token(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Another command of ours, in the same folder."""
        return run(*arguments, folder=self.folder, **variables)


def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """One command of ours from start to end, with no setting of whoever runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if not re.match("CURTA_", name)}
    return subprocess.run(
        (sys.executable, "-m", "curta_cli", *arguments),
        cwd=folder,
        env={**inherited, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextlib.contextmanager
def running_in(folder: Path, *, agents: int = 2) -> Iterator[CurtaUp]:
    """A `curta up` that is ready, and that has ended in good order afterwards."""
    up = CurtaUp(folder, agents=agents)
    try:
        yield up
    finally:
        up.process.terminate()
