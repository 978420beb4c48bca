"""A pulling agent between its requests, as the dispatcher sees it: a session without a connection.

Made by `pull`, which answers the requests; knows no HTTP.
"""

import asyncio
from collections.abc import Sequence

from curta_server.core.events import Named
from curta_server.errors import Problem, unavailable
from curta_server.roster import Guest
from curta_wire.frames import Assignment, Welcome


class PullOutbox:
    """What a pulling agent has coming: tasks for its next answer, acks for those that wait for them."""

    def __init__(self) -> None:
        self.tasks: list[Assignment] = []
        self.pushed = asyncio.Event()
        """Set when there is something new: tasks, or the end."""
        self.ended: Problem | None = None
        """What a request gets once the agent was removed, or this orchestrator leads no more."""
        self._stored: dict[Named, list[asyncio.Future[None]]] = {}

    def expect_ack(self, named: Named) -> "asyncio.Future[None]":
        """A future of the caller's own that is done when the attempt is stored for good or no longer
        wanted."""
        future = asyncio.get_running_loop().create_future()
        self._stored.setdefault(named, []).append(future)
        return future

    def forget(self, named: Named, future: "asyncio.Future[None]") -> None:
        """Whoever expected the ack waits no more; others may."""
        futures = self._stored.get(named, [])
        if future in futures:
            futures.remove(future)
            if not futures:
                del self._stored[named]

    def push(self, assignments: Sequence[Assignment]) -> None:
        self.tasks.extend(assignments)
        self.pushed.set()

    def ack(self, attempts: Sequence[tuple[str, int]], *, answers: int = 0) -> None:
        for task, attempt in attempts:
            for future in self._stored.pop(Named(task, attempt), ()):
                if not future.done():
                    future.set_result(None)

    def cancel(self, attempts: Sequence[Named]) -> list[Named]:
        """It cannot be told: what it has not fetched yet is dropped, the rest ends with its lease or its
        result."""
        gone = set(attempts)
        unsent = [named for one in self.tasks if (named := Named(one.task, one.attempt)) in gone]
        self.tasks = [one for one in self.tasks if Named(one.task, one.attempt) not in gone]
        return unsent

    def welcome(self, frame: Welcome) -> None: ...

    def drain(self) -> None: ...

    def flush(self) -> None: ...

    def close(self, code: int, reason: str) -> None:
        self.tasks.clear()
        sentence = f"{reason[:1].upper()}{reason[1:]}."
        if code == 4001:
            self.ended = Problem("unauthorized", sentence, headers={"WWW-Authenticate": "Bearer"})
        elif code == 4003:
            self.ended = Problem("forbidden", sentence)
        else:
            self.ended = unavailable(sentence)
        self.pushed.set()


class PullLink:
    """A pulling agent between its requests. `turn` is held by the request that takes tasks: one at a time."""

    def __init__(self, number: int, guest: Guest, turn: asyncio.Lock) -> None:
        self.number = number
        self.guest = guest
        self.outbox = PullOutbox()
        self.turn = turn
        self.asked = 0
        """How many tasks the request that has its turn waits for."""
