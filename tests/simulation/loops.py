"""Simulated time, and event loops that live in it.

One `World` is one history's clock, dice and agenda. Every orchestrator has a `Loop` of its own, a whole
asyncio event loop without sockets, threads or waiting: when nothing is ready anywhere, time jumps to the
next thing on the agenda. So an orchestrator can be stopped (its loop does not run while the world goes on),
go on later, or die, each with one assignment. The same seed gives the same history: nothing here asks the
machine for anything.
"""

import asyncio
import contextvars
import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush
from random import Random
from traceback import extract_tb
from typing import Any

SPIN_MAX = 100_000
"""So many steps without any time passing are a livelock."""

_set_running = asyncio._set_running_loop


class Violation(Exception):
    """A promise was broken; the text says which and by what."""


class Handle:
    """What asyncio gets back for a callback; also a timer's."""

    __slots__ = ("args", "callback", "context", "when_s")

    def __init__(self, callback: Any, args: Any, context: Any, when: float = 0.0) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.when_s = when

    def cancel(self) -> None:
        self.callback = None
        self.args = ()


class World:
    """Time, chance, and what happens next."""

    def __init__(self, seed: int, *, traced: bool = False) -> None:
        self.now = 1_000.0
        self.random = Random(seed)
        self.current: Loop | None = None
        """Whose code runs just now; None for the world's own."""
        self.loops: list[Loop] = []
        self.trace: list[str] | None = [] if traced else None
        self.defects: list[str] = []
        self.counts: dict[str, int] = {}
        self._agenda: list[tuple[float, int, Loop | None, Handle]] = []
        self._turn = itertools.count()
        self._runnable: deque[Loop] = deque()
        self._hash = hashlib.blake2b(digest_size=16)
        self._was = ""

    # --- chance ---

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def between(self, least: float, most: float) -> float:
        return least + (most - least) * self.random.random()

    # --- what happened ---

    def note(self, who: str, what: str, *details: object) -> None:
        """One line of the event log; costs nothing unless the history is traced."""
        if self.trace is not None:
            line = f"{self.now - 1000:10.4f} {who:<12} {what} {' '.join(map(str, details))}"
            self.trace.append(line)
            self._hash.update(line.encode())

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    # --- what happens next ---

    def at(self, delay_s: float, do: Callable[..., object], *args: object) -> Handle:
        """Do this later, in the world's own name."""
        handle = Handle(do, args, None)
        heappush(self._agenda, (self.now + delay_s, next(self._turn), None, handle))
        return handle

    def put(self, when: float, loop: "Loop", handle: Handle) -> None:
        heappush(self._agenda, (when, next(self._turn), loop, handle))

    def run(self, until_s: float) -> None:
        """Let everything happen up to this moment. Raises: Violation."""
        agenda, runnable = self._agenda, self._runnable
        spun = 0
        while True:
            while runnable:
                spun += runnable.popleft().run_ready()
                if spun > SPIN_MAX:
                    raise Violation("something spins: no time passes")
            if self.defects:
                raise Violation(self.defects[0])
            if not agenda or agenda[0][0] > until_s:
                self.now = max(self.now, until_s)
                return
            when, turn, loop, handle = heappop(agenda)
            if handle.callback is None:
                continue
            if when > self.now:
                self.now = when
                spun = 0
            spun += 1
            if loop is None:
                handle.callback(*handle.args)
            elif loop.is_paused:
                loop.late.append((when, turn, loop, handle))
            elif not loop.is_dead:
                loop.run_one(handle)

    def resume(self, loop: "Loop") -> None:
        """A stopped process goes on: what was due meanwhile is due now."""
        loop.is_paused = False
        for entry in loop.late:
            heappush(self._agenda, entry)
        loop.late.clear()
        self.wake(loop)

    def wake(self, loop: "Loop") -> None:
        if loop.ready and not loop.is_queued and not loop.is_paused and not loop.is_dead:
            loop.is_queued = True
            self._runnable.append(loop)


class _Task(asyncio.Task[Any]):
    """Hashed by its number, so that a set of tasks has the same order in every run."""

    def __init__(self, coroutine: Any, *, number: int, **arguments: Any) -> None:
        self.number = number
        super().__init__(coroutine, **arguments)

    def __hash__(self) -> int:
        return self.number


class Loop(asyncio.AbstractEventLoop):
    """One process's event loop; its clock began at another moment than everybody else's."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.owner: Any = None
        """The process."""
        self.skew_s = world.between(0, 5_000)
        self.ready: deque[Handle] = deque()
        self.late: list[tuple[float, int, Loop | None, Handle]] = []
        self.is_queued = False
        self.is_paused = False
        self.is_dead = False
        self.tasks: list[_Task] = []
        self._numbers = itertools.count()
        world.loops.append(self)

    # --- what the world does with it ---

    def run_ready(self) -> int:
        self.is_queued = False
        if self.is_paused or self.is_dead:
            return 0
        count = len(self.ready)
        world, popleft = self.world, self.ready.popleft
        world.current = self
        _set_running(self)
        try:
            for _ in range(count):
                handle = popleft()
                if handle.callback is not None:
                    self._call(handle)
        finally:
            _set_running(None)
            world.current = None
        world.wake(self)
        return count

    def run_one(self, handle: Handle) -> None:
        world = self.world
        world.current = self
        _set_running(self)
        try:
            self._call(handle)
        finally:
            _set_running(None)
            world.current = None

    def _call(self, handle: Handle) -> None:
        try:
            if handle.context is None:
                handle.callback(*handle.args)
            else:
                handle.context.run(handle.callback, *handle.args)
        except Violation:
            raise
        except Exception as error:
            self.world.defects.append(f"{self.name}: {error!r} in {handle.callback!r}")

    def die(self) -> None:
        """kill -9: nothing of it runs any more, no finally, no farewell."""
        self.is_dead = True
        self.ready.clear()
        self.late.clear()
        for task in self.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str = "") -> "asyncio.Task[Any]":
        """Have the process do this, from outside of it."""
        task = self.create_task(coroutine, name=name)
        task.add_done_callback(self._note_defect)
        return task

    def _note_defect(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, Violation):
                raise error
            self.world.defects.append(f"{self.name}: {task.get_name()} failed: {_told(error)}")

    def from_outside(self, callback: Callable[..., object], *args: object) -> None:
        """Something arrived for the process."""
        if not self.is_dead:
            self.call_soon(callback, *args)

    # --- what asyncio asks of it ---

    def time(self) -> float:
        return self.world.now + self.skew_s

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self.world.current is self

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> "asyncio.Task[Any]":
        task = _Task(coro, number=next(self._numbers), loop=self, name=name or "task", context=context)
        tasks = self.tasks
        tasks.append(task)
        if len(tasks) > 200:
            self.tasks = [task for task in tasks if not task.done()]
        return task

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, _context(context))
        self.ready.append(handle)
        if not self.is_queued:
            self.world.wake(self)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        handle = Handle(callback, args, _context(context), when)
        self.world.put(max(self.world.now, when - self.skew_s), self, handle)
        return handle

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.is_dead:
            self.world.defects.append(f"{self.name}: {context.get('message')} {context.get('exception')!r}")


def _context(given: contextvars.Context | None) -> contextvars.Context:
    # A task's own context is false as long as it is empty.
    return contextvars.copy_context() if given is None else given


def _told(error: BaseException) -> str:
    """The error with all its parts, and where the first of them came from."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    places = [
        f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})"
        for frame in extract_tb(error.__traceback__)
    ]
    return f"{error!r} in {' > '.join(places[-6:])}"


class Clock:
    """Stands where the orchestrator's modules have `time`."""

    def __init__(self) -> None:
        self.world: World | None = None

    def monotonic(self) -> float:
        world = self.world
        assert world is not None
        return world.now + (world.current.skew_s if world.current is not None else 0.0)

    perf_counter = monotonic

    def time(self) -> float:
        assert self.world is not None
        return self.world.now + EPOCH_S

    def time_ns(self) -> int:
        return int(self.time() * 1e9)


EPOCH_S = 1_900_000_000.0
"""The database's clock, and everybody's idea of the date, less the world's."""


class Dice:
    """Stands where the orchestrator's modules have `random` and `secrets`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        assert self._clock.world is not None
        random = self._clock.world.random
        if name == "token_urlsafe":
            return lambda size: f"{random.getrandbits(8 * size):x}"
        return random.getrandbits if name == "randbits" else getattr(random, name)
