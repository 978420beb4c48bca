"""What each connection is waited for, and since when: who is overdue, and who goes when there are too many.

The protocols of `parsing` say what happens to them; `run` looks now and then. One timer serves
all connections, for each phase has one length and its connections stand in the order of their deadlines.
"""

import asyncio
import time
from typing import Final, Protocol

from curta_server import metrics

SWEEP_S: Final = 0.25
"""How late a deadline may be noticed."""

HEAD: Final = 0
"""It has begun a request, or is new, and the request's head is not complete."""
REST: Final = 1
"""It was answered before its body was complete, and goes on sending what nobody reads."""
IDLE: Final = 2
"""It may send another request."""
CLOSING: Final = 3
"""It was closed; what was written for it may be on its way."""
ANSWERING: Final = 4
"""Its request is being answered, for as long as that takes."""

_NAMES: Final = ("head", "rest", "idle", "closing")


class Connection(Protocol):
    """What is kept here; compared by identity."""

    def end(self) -> None:
        """Close it, and be in the phase CLOSING from then."""

    def abort(self) -> None:
        """Drop it now, with whatever was written for it."""


class Reader(Protocol):
    """A connection that is written to for a long time: a WebSocket."""

    def unsent(self) -> int:
        """The bytes that were written for it and not taken yet."""

    def abort(self) -> None: ...


class Connections:
    """The connections of one server. `head_s`, `idle_s` and `stall_s` are the lengths of the phases.
    A reader that takes nothing of what was written for it is dropped after `stall_s`, too."""

    def __init__(self, *, most: int, head_s: float, idle_s: float, stall_s: float) -> None:
        self._most = most
        self._lengths_s = (head_s, head_s, idle_s, stall_s)
        self._stall_s = stall_s
        self._phases: tuple[dict[Connection, float], ...] = ({}, {}, {}, {}, {})
        self._phase_of: dict[Connection, int] = {}
        self._stalled: dict[Reader, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._phase_of)

    def phase(self, connection: Connection) -> int | None:
        """What it is in; None where it is not known (any more)."""
        return self._phase_of.get(connection)

    def enter(self, connection: Connection, phase: int, now: float) -> None:
        """The connection is in this phase from now."""
        before = self._phase_of.get(connection)
        if before is not None:
            del self._phases[before][connection]
        self._phase_of[connection] = phase
        self._phases[phase][connection] = now

    def leave(self, connection: Connection) -> None:
        """It is gone, or no business of ours any more."""
        phase = self._phase_of.pop(connection, None)
        if phase is not None:
            del self._phases[phase][connection]

    def stall(self, reader: Reader, now: float) -> None:
        """The reader has more coming than it takes."""
        self._stalled[reader] = now, reader.unsent()

    def flow(self, reader: Reader) -> None:
        """It has caught up, or is gone."""
        self._stalled.pop(reader, None)

    def make_room(self) -> bool:
        """Before one more enters: where there are too many, end the one that has asked for nothing the
        longest. False where all of them are being answered."""
        if len(self._phase_of) < self._most:
            return True
        waiting = [
            (since, phase) for phase in (HEAD, REST, IDLE) for since in list(self._phases[phase].values())[:1]
        ]
        if not waiting:
            return False
        _, phase = min(waiting)
        metrics.ended_connections.labels("crowded").inc()
        next(iter(self._phases[phase])).end()
        return True

    def sweep(self, now: float) -> None:
        """End those that are overdue."""
        for reader, (since, left) in list(self._stalled.items()):
            if since > now - self._stall_s:
                break
            if reader.unsent() < left:
                del self._stalled[reader]  # slow, not dead: another while, behind the others
                self.stall(reader, now)
            else:
                metrics.ended_connections.labels("stalled").inc()
                self.flow(reader)
                reader.abort()
        for phase, length_s in enumerate(self._lengths_s):
            for connection in _until(self._phases[phase], now - length_s):
                metrics.ended_connections.labels(_NAMES[phase]).inc()
                if phase == CLOSING:
                    connection.abort()
                else:
                    connection.end()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep(time.monotonic())


def _until(since: dict[Connection, float], moment: float) -> list[Connection]:
    """Those that have been there since that moment or before; the dictionary is in the order of time."""
    found = []
    for connection, began in since.items():
        if began > moment:
            break
        found.append(connection)
    return found
