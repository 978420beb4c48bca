"""The process that a peer runs in, under the peer's own interpreter: asked over pipes, line by line.

It starts whatever the peer consists of, says what that is, and measures when it is asked to. Everything it
starts inherits a mark in its environment; when the block ends, however it ends, each process that has the
mark is ended by its id.
"""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]

START_S = 90.0
RUN_S = 120.0
END_S = 15.0
MARK = "BENCH_PEER_MARK"


class Failed(Exception):
    """A peer did not start, did not finish in time, or computed something else; the text says what."""


class Run(NamedTuple):
    """Seconds by the peer's clock, and from the submission on; what was computed: the sum, or how many jobs
    ran."""

    seconds: float
    in_all_s: float
    value: int


class Driver:
    """A peer that is ready. `about` is what it says of itself: durable, dependencies, settings, versions, and
    its clock, which starts with the `submission`, or with the first task where all were stored before that
    (`start`), and stops when the result is known."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.about: dict[str, Any] = {}

    async def start(self) -> None:
        """Raises Failed."""
        self.about = await self._answer(START_S)

    async def run(self, shape: str, tasks: int) -> Run:
        """Raises Failed."""
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.write(json.dumps({"shape": shape, "tasks": tasks}).encode() + b"\n")
            await self._process.stdin.drain()
        answer = await self._answer(RUN_S)
        return Run(float(answer["seconds"]), float(answer["in_all_s"]), int(answer["value"]))

    async def _answer(self, timeout: float) -> Any:
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout)
        except TimeoutError:
            raise Failed(f"no answer within {timeout:.0f} s{self._said()}") from None
        if not line:
            raise Failed(f"it ended by itself{self._said()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(f"{answer['error']}{self._said()}")
        return answer

    def _said(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()[-12:]
        return f"; its last words: {' / '.join(lines)}" if lines else ""


@asynccontextmanager
async def driving(command: Sequence[str], environment: dict[str, str], folder: Path) -> AsyncIterator[Driver]:
    """The driver that `command` starts, ready, with all its files in `folder`. Raises Failed."""
    mark = secrets.token_hex(16)
    # Nothing of ours reaches it, nor does it write into anybody's home.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CURTA_", "PYTHON", "PG", "VIRTUAL_ENV"))
    }
    own = {MARK: mark, "TMPDIR": str(folder), "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    log = folder / "driver.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=inherited | own | environment,
            cwd=folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            # Ctrl-C is ours to handle: it is ended in order.
            start_new_session=True,
        )
    try:
        driver = Driver(process, log)
        await driver.start()
        yield driver
    finally:
        await _end(process, mark)


async def _end(process: asyncio.subprocess.Process, mark: str) -> None:
    """The end of its standard input is the end of a driver; whatever it leaves behind is ended, too."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), END_S)
    except TimeoutError:
        process.kill()
        await process.wait()
    finally:
        _end_marked(mark)


def _end_marked(mark: str) -> None:
    left = [process for process in psutil.process_iter() if _mark_of(process) == mark]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, living = psutil.wait_procs(left, timeout=5)
    for process in living:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(living, timeout=5)


def _mark_of(process: psutil.Process) -> str | None:
    try:
        mark = process.environ().get(MARK)
    except psutil.Error:
        return None
    return mark if isinstance(mark, str) else None
