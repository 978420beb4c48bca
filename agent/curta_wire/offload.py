"""Child processes for work that would hold the event loop or the GIL: planning long texts, long arithmetic.

`Offload` owns a few children and decides who may use them; `offload_child` is what runs in them. Called by
the server's planning and by agents; knows nothing of what it runs.

Each child hangs on two pipes of its own and serves one call at a time, driven by a thread that mostly
waits. So a child that is killed costs its own call one repetition and no other call anything (a
ProcessPoolExecutor fails every call at once), a cancelled call is stopped by killing its child, and a child
sees the end of its parent, even by kill -9, as the end of its input. A child starts as a bare interpreter:
unlike multiprocessing's, it does not import the parent's main module again.
"""

import asyncio
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

from curta_wire.offload_child import read_message, write_message

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# The parent's sys.path goes along as arguments: both find the same modules, however they were installed.
_BOOT = "import sys; sys.path[:] = sys.argv[1:]; from curta_wire.offload_child import serve; serve()"


AGAIN_S = 0.05
"""So long somebody who is ready to wait does, before he asks again."""


class OffloadError(Exception):
    """A call was not carried out; the subclasses say why. It is not what the function itself raises."""


class OffloadFull(OffloadError):
    """As many calls are waiting as may wait."""


class OffloadFailed(OffloadError):
    """The child process died under the call twice, so it probably died of it (of its memory, say)."""


class OffloadClosed(OffloadError):
    """`close` was called before the call had ended."""


class Offload:
    """Run functions in at most `workers` child processes, one call each; `waiting_max` calls more may wait.

    Belongs to one event loop. Children start with the first calls that need them and stay until `close`, or
    until the parent is gone, however it went. They take no notice of SIGINT and SIGTERM.
    """

    def __init__(self, workers: int, waiting_max: int) -> None:
        self._calls = 0
        self._calls_max = workers + waiting_max
        self._places = asyncio.Semaphore(workers)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="offload")
        self._children: set[_Child] = set()
        self._idle: list[_Child] = []
        self._closed = False

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """What `function(*args)` returns or raises, from a child process; calls start in the order of asking.

        `function` is one that a child finds by its name: at the top level of an importable module (not of
        `__main__`), which is imported with all its imports. Arguments, value and exception are pickled. The
        function must do no harm when it runs twice: a call whose child is killed is repeated once. Cancelling
        stops the call at once.
        Raises: OffloadFull, OffloadFailed, OffloadClosed, or what the function raises.
        """
        if self._closed:
            raise OffloadClosed("the child processes have been closed")
        if self._calls >= self._calls_max:
            raise OffloadFull(f"{self._calls} calls are running or waiting already")
        self._calls += 1
        try:
            async with self._places:
                return await self._run(function, args)
        finally:
            self._calls -= 1

    async def run_anyway(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """The same for what must be done: it waits where all are full, and where no child survives it or none
        can be had, a thread does it, slowly. Raises: what the function raises."""
        while True:
            try:
                return await self.run(function, *args)
            except OffloadFull:
                await asyncio.sleep(AGAIN_S)
            except OffloadError:
                return await asyncio.to_thread(function, *args)

    def close(self) -> None:
        """Stop all calls and all children; none of their processes is left on return. Takes milliseconds."""
        self._closed = True
        for child in self._children:
            child.stop()
        self._threads.shutdown(wait=True)
        for child in self._children:
            child.reap()
        self._children.clear()
        self._idle.clear()

    async def _run(self, function: Callable[[*Ts], T], args: tuple[*Ts]) -> T:
        if self._closed:
            raise OffloadClosed("the child processes were closed while the call waited")
        # The child used last is the one most likely still in the caches.
        child = self._idle.pop() if self._idle else _Child()
        self._children.add(child)
        try:
            value = await asyncio.get_running_loop().run_in_executor(
                self._threads, _perform, child, function, args
            )
        except asyncio.CancelledError:
            child.stop()
            self._children.discard(child)
            if not self._closed:  # close reaps by itself
                self._threads.submit(child.reap)
            raise
        except BaseException:
            self._idle.append(child)
            raise
        self._idle.append(child)
        return value


class _Child:
    """One child process, started when needed. `call` and `reap` wait and belong in a thread, `stop` does not.

    The lock guards the process against being started after `stop`; it is never held while waiting for an
    answer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.is_stopped = False

    def call(self, request: bytes) -> bytes:
        """The answer to a request. Raises: OSError, EOFError (the process died), OffloadClosed (stopped)."""
        process = self._ready_process()
        assert process.stdin is not None and process.stdout is not None
        write_message(process.stdin, request)
        return read_message(process.stdout)

    def stop(self) -> None:
        """Kill the process and let no other start; whoever waits in `call` gets its error."""
        with self._lock:
            self.is_stopped = True
            if self._process is not None:
                self._process.kill()

    def reap(self) -> None:
        """Leave nothing of the process, whatever its state."""
        with self._lock:
            self._discard()

    def _ready_process(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self.is_stopped:
                raise OffloadClosed("the child process was stopped")
            if self._process is not None and self._process.poll() is not None:
                self._discard()  # killed while it was idle: that is no reason to spend the call's repetition
            if self._process is None:
                # A process group of its own: Ctrl-C on a terminal goes to the parent alone, from the start.
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _BOOT, *sys.path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    process_group=0,
                )
            return self._process

    def _discard(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was not yet written cannot be any more
                    stream.close()


def _perform(child: _Child, function: Callable[[*Ts], T], args: tuple[*Ts]) -> T:
    """Run one call, a second time if its process dies. Pickling happens here, in the thread, off the loop."""
    request = pickle.dumps((function, args), protocol=5)
    for _ in range(2):
        try:
            has_value, outcome = pickle.loads(child.call(request))
        except (OSError, EOFError):
            child.reap()
            if child.is_stopped:
                raise OffloadClosed("the call was stopped") from None
            continue
        if has_value:
            value: T = outcome
            return value
        raise outcome
    raise OffloadFailed("the child process died under the call twice")
