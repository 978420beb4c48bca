"""What this agent holds: attempts not yet finished, and results that are not yet stored for good.

Owned by `slots`, read by `session`; outlives every session, which is what makes a reconnect keep the work.
Pure: no clock, no event loop, no socket.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from curta_wire.frames import Assignment, Attempt, Fault, Result

RESULTS_MAX: Final = 200_000
RESULT_BYTES_MAX: Final = 512 * 1024 * 1024
"""Results waiting for their `ack`; beyond either, an orchestrator that hands out more breaks the protocol."""
FRAME_BYTES: Final = 1024 * 1024
"""Results are gathered into frames up to this size, so that a heartbeat never waits behind a very long one. A
single value (about 1 MB at most) may exceed it, and stays below the protocol's 4 MiB."""
_HELD_BYTES_MAX: Final = 3_900_000
_ENTRY_BYTES: Final = 80
"""What a result takes in JSON beside its task's name and value; an attempt takes less."""

Key = tuple[str, int]


class Entry:
    """An attempt that is not finished: waiting for a slot (`started` is None), or in one."""

    __slots__ = ("assignment", "computing", "key", "started", "timer")

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.key: Key = (assignment.task, assignment.attempt)
        self.started: float | None = None
        """When it took its slot, in seconds on the event loop's clock."""
        self.timer: Any = None
        self.computing: Any = None


class Ledger:
    """`open` and `results` never share a key; `outbox` is what the present session has still to write."""

    def __init__(self) -> None:
        self.open: dict[Key, Entry] = {}
        self.results: dict[Key, Result] = {}
        self.outbox: list[Result] = []
        self._outbox_bytes = 0
        self._result_bytes = 0

    def __bool__(self) -> bool:
        """Whether anything is held."""
        return bool(self.open or self.results)

    @property
    def is_full(self) -> bool:
        return len(self.results) > RESULTS_MAX or self._result_bytes > RESULT_BYTES_MAX

    def settle(self, key: Key, outcome: str | Fault) -> None:
        """The attempt, open or not, has its result: kept until acknowledged, and to be written."""
        task, attempt = key
        if isinstance(outcome, str):
            result = Result(task, attempt, outcome)
            size = len(task) + len(outcome) + _ENTRY_BYTES
        else:
            result = Result(task, attempt, error=outcome)
            size = _size(result)
        self.open.pop(key, None)
        self.results[key] = result
        self.outbox.append(result)
        self._outbox_bytes += size
        self._result_bytes += size

    def reply(self, attempt: Attempt, fault: Fault) -> None:
        """Answer once, without keeping it: after a reconnect `held` says as much by leaving it out."""
        result = Result(attempt.task, attempt.attempt, error=fault)
        self.outbox.append(result)
        self._outbox_bytes += _size(result)

    def repeat(self, key: Key) -> None:
        """Write the result of `key` again, if there is one."""
        result = self.results.get(key)
        if result is not None:
            self.outbox.append(result)
            self._outbox_bytes += _size(result)

    def forget(self, key: Key) -> Entry | None:
        """Drop what is held of `key`; gives the entry, if still open, whose slot the caller is to free."""
        result = self.results.pop(key, None)
        if result is not None:
            self._result_bytes -= _size(result)
            return None
        return self.open.pop(key, None)

    def resend(self) -> None:
        """A new session begins: every result not yet acknowledged is to be written, nothing else is."""
        self.outbox = list(self.results.values())
        self._outbox_bytes = self._result_bytes

    def next_frame(self) -> list[Result]:
        """Take from the outbox what goes into one frame; empty where there is nothing."""
        if self._outbox_bytes <= FRAME_BYTES:
            results, self.outbox, self._outbox_bytes = self.outbox, [], 0
            return results
        count = size = 0
        for result in self.outbox:
            size += _size(result)
            if count and size > FRAME_BYTES:
                size -= _size(result)
                break
            count += 1
        results, self.outbox = self.outbox[:count], self.outbox[count:]
        self._outbox_bytes -= size
        return results

    def held(self) -> list[Attempt]:
        """All attempts held, those not finished first.

        Fits into one frame: the slots' limit leaves room for all that are open. Where results do not fit,
        they are left out; they are written on the same connection anyway.
        """
        return list(self._held())

    def _held(self) -> Iterator[Attempt]:
        room = _HELD_BYTES_MAX
        for keys in (self.open, self.results):
            for task, attempt in keys:
                room -= len(task) + _ENTRY_BYTES // 2
                if room < 0:
                    return
                yield Attempt(task, attempt)

    def entries_of(self, task: str) -> Iterable[Key]:
        """Every attempt of `task` that is held."""
        return [key for keys in (self.open, self.results) for key in keys if key[0] == task]


def _size(result: Result) -> int:
    """An upper bound of the bytes of a result in JSON."""
    content = len(result.value) if isinstance(result.value, str) else 0
    if isinstance(result.error, Fault):
        # A fault's texts may need escaping, up to six bytes a character.
        content += 6 * (len(result.error.code) + len(result.error.message)) + 40
    return len(result.task) + content + _ENTRY_BYTES
