"""What the orchestrator still has to say to one agent, and the loop that says it.

The dispatcher puts in without waiting, and what was put in is written in the same breath: no task has to wake
up for it. Only where the agent does not take what it gets a writer waits until it does. Bounded by what the
agent may hold: tasks never exceed its slots, acks its results, cancels its attempts; whoever does not read
is cut off when his small frames pile up. Large tasks stay references to their operands until the moment they
are written.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from curta_server.channel import Channel, frame_of
from curta_server.core.events import Named
from curta_wire.codec import encode_bytes
from curta_wire.frames import Ack, Assignment, Attempt, Cancel, Drain, ServerFrame, Tasks, Welcome

ATTEMPTS_PER_FRAME: Final = 10_000
ACKS_RIDE: Final = 256
"""So many acks go with the next tasks. Fewer wait out their delay: else they would double the frames."""

NOTICES_MAX: Final = 1_000
"""Welcome, cancel and drain that may wait; a reader this slow is gone. (Answers to beats are a number.)"""

ACKS_MAX: Final = 400_000
"""Acks that may wait: more than any agent holds. Who has this many coming talks and does not listen."""

CLOSE_S: Final = 2.0
"""A peer that takes nothing gets no more time than this once the session is to end."""

TASK_BYTES: Final = 200
"""A task's frame weighs this beside its operands."""


class SessionEnded(Exception):
    """The session is over: closed by us with `code`, or by the peer."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Outbox:
    """The sending half of a session. `pushes_seen` translates the wire's frame numbers into the scheduler's
    pushes."""

    def __init__(self, *, frame_bytes: int, ack_delay_s: float) -> None:
        self._frame_bytes = frame_bytes
        self._ack_delay_s = ack_delay_s
        self._notices: deque[ServerFrame] = deque()
        self._tasks: deque[Assignment] = deque()
        self._task_bytes = 0
        self._push_sizes: deque[int] = deque()
        self._acks: list[Attempt] = []
        self._acks_due = False
        self._answers = 0
        """Beats that wait for their answer."""
        self._ack_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._is_welcome = False
        self._channel: Channel | None = None
        """Where to write, once the session has begun and until it ends."""
        self._unwritten: bytes | None = None
        """A frame that the agent did not take yet."""
        self._wake = asyncio.Event()
        """Set when the writer has to see to it: something is unwritten, or the end."""
        self._closing: SessionEnded | None = None
        self._patience: asyncio.Timeout | None = None
        self._frames = 0
        self._pushes_written: deque[int] = deque()
        self._pushes_seen = 0

    def welcome(self, frame: Welcome) -> None:
        """Comes first, whatever waits already; before it nothing is said."""
        self._is_welcome = True
        self._notices.appendleft(frame)
        self._say()

    def push(self, assignments: Sequence[Assignment]) -> None:
        self._tasks.extend(assignments)
        self._task_bytes += sum([_weight(assignment) for assignment in assignments])
        self._push_sizes.append(len(assignments))
        self._say()

    def cancel(self, attempts: Sequence[Named]) -> list[Named]:
        """Follows before any task; what still waits here is not sent at all, and returned."""
        unsent = self._take_back(set(attempts)) if self._tasks else {}
        sent = [Attempt(*one) for one in attempts if one not in unsent]
        for at in range(0, len(sent), ATTEMPTS_PER_FRAME):
            self._notice(Cancel(sent[at : at + ATTEMPTS_PER_FRAME]))
        return list(unsent)

    def _take_back(self, attempts: set[Named]) -> dict[Named, None]:
        """Drop these where they wait; gives those that did."""
        waiting = (Named(task.task, task.attempt) for task in self._tasks)
        found = {one: None for one in waiting if one in attempts}
        if found:
            tasks, sizes = self._tasks, self._push_sizes
            self._tasks, self._push_sizes = deque(), deque()
            for size in sizes:
                push = [tasks.popleft() for _ in range(size)]
                left = [task for task in push if (task.task, task.attempt) not in found]
                self._tasks.extend(left)
                self._push_sizes.append(len(left))
            self._task_bytes = sum(map(_weight, self._tasks))
            self._note_written(0)
        return found

    def drain(self) -> None:
        self._notice(Drain())

    def ack(self, attempts: Sequence[tuple[str, int]], *, answers: int = 0) -> None:
        """Follows within the delay, or with the next tasks when many wait; at once where it answers so many
        beats, each of which gets a frame."""
        self._acks.extend([Attempt(*one) for one in attempts])
        if len(self._acks) > ACKS_MAX:
            self._acks.clear()
            self.close(1013, "too many unread frames")
        if answers:
            self._answers += answers
            self._ack_now()
        elif self._ack_timer is None and not self._acks_due:
            self._ack_timer = asyncio.get_running_loop().call_later(self._ack_delay_s, self._ack_now)

    def close(self, code: int, reason: str) -> None:
        """Say no more than what is already being sent, and end the session."""
        if self._closing is None:
            self._closing = SessionEnded(code, reason)
            if self._patience is not None:
                self._patience.reschedule(asyncio.get_running_loop().time() + CLOSE_S)
        self._wake.set()

    def close_after(self, delay_s: float, code: int, reason: str) -> None:
        """End the session then, if it has not ended before; the first word counts."""
        if self._end_timer is None:
            self._end_timer = asyncio.get_running_loop().call_later(delay_s, self.close, code, reason)

    def flush(self) -> None:
        """Let waiting acks go now."""
        if self._acks:
            self._ack_now()

    def seen(self, frame: int) -> int:
        """How many pushes the agent has read whole, when it has read this frame."""
        written = self._pushes_written
        while written and written[0] <= frame:
            written.popleft()
            self._pushes_seen += 1
        return self._pushes_seen

    def _notice(self, frame: ServerFrame) -> None:
        self._notices.append(frame)
        if len(self._notices) > NOTICES_MAX:
            self.close(1013, "too many unread frames")
        self._say()

    def _ack_now(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        self._acks_due = True
        self._say()

    def _say(self) -> None:
        """Write what there is to say, as long as the agent takes it."""
        channel = self._channel
        if channel is None or self._unwritten is not None or not self._is_welcome:
            return
        while self._closing is None and (frame := self._next()) is not None:
            written = frame_of(encode_bytes(frame))
            if not channel.put(written):
                self._unwritten = written
                self._wake.set()
                return

    async def write(self, channel: Channel) -> None:
        """Send until the session ends. Raises: SessionEnded, after the close frame or CLOSE_S without room
        for it."""
        self._channel = channel
        try:
            self._say()
            while self._closing is None:
                await self._wake.wait()
                self._wake.clear()
                async with asyncio.timeout(None) as self._patience:
                    while self._closing is None and self._unwritten is not None:
                        await channel.writable()
                        if channel.put(self._unwritten):
                            self._unwritten = None
                            self._say()
                self._patience = None
            async with asyncio.timeout(CLOSE_S):
                await channel.close(self._closing.code, self._closing.reason)
        except TimeoutError:
            pass
        finally:
            self._channel = None
            self._patience = None  # whoever closes later finds nobody who could be waiting
            for timer in (self._ack_timer, self._end_timer):
                if timer is not None:
                    timer.cancel()
        assert self._closing is not None
        raise self._closing

    def _next(self) -> ServerFrame | None:
        if self._notices:
            return self._notices.popleft()
        if self._tasks:
            if len(self._acks) >= ACKS_RIDE:
                self._acks_due = True
            return self._next_tasks()
        if self._acks_due:
            if self._ack_timer is not None:
                self._ack_timer.cancel()
                self._ack_timer = None
            acks, self._acks = self._acks[:ATTEMPTS_PER_FRAME], self._acks[ATTEMPTS_PER_FRAME:]
            self._answers = max(0, self._answers - 1)
            self._acks_due = bool(self._acks or self._answers)
            return Ack(acks)
        return None

    def _next_tasks(self) -> Tasks:
        """The next frame of tasks, at most `frame_bytes` or one task; a push that ends in it is noted."""
        self._frames += 1
        tasks = self._tasks
        if self._task_bytes <= self._frame_bytes:
            batch = list(tasks)
            tasks.clear()
            self._task_bytes = 0
        else:
            batch = [tasks.popleft()]
            room = self._frame_bytes - _weight(batch[0])
            while tasks and (room := room - _weight(tasks[0])) >= 0:
                batch.append(tasks.popleft())
            self._task_bytes -= sum(map(_weight, batch))
        self._note_written(len(batch))
        return Tasks(self._frames, batch)

    def _note_written(self, tasks: int) -> None:
        """So many more tasks are in frames; pushes of which none is left to write were read with the last of
        them."""
        sizes = self._push_sizes
        while sizes and tasks >= sizes[0]:
            tasks -= sizes.popleft()
            self._pushes_written.append(self._frames)
        if tasks:
            sizes[0] -= tasks


def _weight(assignment: Assignment) -> int:
    """About how many bytes the task takes in a frame."""
    left, right = assignment.operands
    return len(left) + len(right) + TASK_BYTES
