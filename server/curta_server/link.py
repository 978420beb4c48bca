"""A session as the dispatcher sees it: what `agents` (WebSockets) and `pull` (requests) have in common."""

from collections.abc import Sequence
from typing import Protocol

from curta_server.core.events import Named
from curta_server.roster import Guest
from curta_wire.frames import Assignment, Welcome


class Mouth(Protocol):
    """Where the dispatcher puts what an agent is to be told. Nothing here waits."""

    def welcome(self, frame: Welcome) -> None: ...

    def push(self, assignments: Sequence[Assignment]) -> None: ...

    def cancel(self, attempts: Sequence[Named]) -> Sequence[Named]:
        """Gives those that were not sent yet, and never will be."""

    def ack(self, attempts: Sequence[tuple[str, int]], *, answers: int = 0) -> None: ...

    def drain(self) -> None: ...

    def flush(self) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


class Link(Protocol):
    """A session as the dispatcher sees it: a number, who it is, and where to put what it is told."""

    @property
    def number(self) -> int: ...

    @property
    def guest(self) -> Guest: ...

    @property
    def outbox(self) -> Mouth: ...
