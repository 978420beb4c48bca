"""The agents of `curta up`: child processes that are started, kept running, and gone when we are.

Each child watches a pipe whose other end only we hold, so it dies with us even after kill -9. A child that
ends by itself is started again, with growing pauses, as far as it may: where an admin removed one, none comes
for a minute, and a token that was revoked stays so. It knows nothing of the orchestrator but its address.
"""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from curta_agent import EXIT_OF_CODE

log = structlog.get_logger(__name__)

DRAIN_S = 1.0
"""How long the agents go on with what they have begun: `curta up` ends within 5 s altogether."""
STOP_S = 1.6
"""When an agent that was told to stop is killed; its tasks are handed out again at the next start."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 10.0
STEADY_S = 30.0
"""An agent that ran so long starts again at once, whatever happened before."""
REMOVED, REMOVED_S = EXIT_OF_CODE[4003], 60.0
"""The exit code of an agent that an admin removed, and how long none takes its place."""
FINAL = {
    EXIT_OF_CODE[4000]: "the orchestrator speaks another version of the protocol",
    EXIT_OF_CODE[4001]: "the agents' token was revoked; the next start makes a new one",
}
"""Exit codes after which another agent would fare no better, and why. (One whose UUID is connected elsewhere
is not among them: each has its own.)"""

PASSED = frozenset({"CURTA_LOG_LEVEL", "CURTA_LOG_FORMAT", "CURTA_CA", "CURTA_OPERATIONS"})
"""Our own variables that agents get as well; the others are the orchestrator's, or secret."""


class Fleet:
    """`count` agents of `slots` slots each (None: the number of cores) for the orchestrator at `url`.

    Use as an asynchronous context: it starts them, and ends them all within `STOP_S`.
    """

    def __init__(self, url: str, token_file: Path, count: int, slots: int | None) -> None:
        self._count = count
        self._slots = slots
        self._environment = {
            **{name: value for name, value in os.environ.items() if _is_passed(name)},
            "CURTA_URL": url,
            "CURTA_TOKEN_FILE": str(token_file.absolute()),
            "CURTA_DRAIN_S": str(DRAIN_S),
        }
        if slots is not None:
            self._environment["CURTA_SLOTS"] = str(slots)
        self._group = asyncio.TaskGroup()
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def description(self) -> str:
        """What there is, for people."""
        slots = self._slots or os.cpu_count() or 1
        agents = "1 agent" if self._count == 1 else f"{self._count} agents"
        return f"{agents} of {slots} slot{'s' if slots > 1 else ''}" if self._count else "no agents"

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        for number in range(1, self._count + 1):
            self._keepers.append(self._group.create_task(self._keep(number), name=f"keep agent {number}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await self._group.__aexit__(kind, error, trace)

    async def _keep(self, number: int) -> None:
        """Run one agent, again and again, until cancelled or it makes no sense any more."""
        name = f"{socket.gethostname()}-{number}"
        loop = asyncio.get_running_loop()
        pause_s = PAUSE_MIN_S
        while True:
            started = loop.time()
            code = await self._run(name)
            if code in FINAL:
                log.error("an agent ended for good", agent=name, why=FINAL[code])
                return
            if code == REMOVED:
                log.warning("an admin removed an agent", agent=name, again_in_s=REMOVED_S)
                await asyncio.sleep(REMOVED_S)
                continue
            if loop.time() - started > STEADY_S:
                pause_s = PAUSE_MIN_S
            log.warning("an agent ended; starting it again", agent=name, code=code, pause_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _run(self, name: str) -> int:
        """One agent process from start to end; cancelling ends it in good order."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "curta_cli", "agent", "--with-parent"),
            stdin=subprocess.PIPE,
            env={**self._environment, "CURTA_NAME": name},
            # Ctrl-C on the terminal reaches a whole process group; when agents stop is our decision.
            start_new_session=True,
        )
        try:
            return await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                log.warning("an agent did not end in time", agent=name)
                process.kill()
                await process.wait()
            raise


def _is_passed(name: str) -> bool:
    return not name.startswith("CURTA_") or name in PASSED
