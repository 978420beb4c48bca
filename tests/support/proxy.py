"""A TCP proxy that a test can cut, hold, slow down and refuse with: the network between two processes.

It listens on the loopback and lives in a thread with an event loop of its own, so that it serves blocking and
asynchronous tests alike, and goes on while the test's own loop is busy. All methods may be called from any
thread, and from an action of its own; they return when what they promise has happened. It knows bytes and
connections and nothing of what travels in them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Collection
from types import TracebackType
from typing import Self

_CHUNK = 65536
_QUEUED_MAX = 64
"""Chunks of one direction that wait for their delay: enough for 80 MB/s over 50 ms."""

_TAIL = 255
"""Bytes of a stream that are kept to find a pattern that came in two pieces."""
_START_S = 10.0
_ABORTS = struct.pack("ii", 1, 0)
"""SO_LINGER: on, 0 s. Closing then resets the connection instead of ending it in good order."""

_Queue = asyncio.Queue[tuple[float, bytes | OSError]]


class Proxy:
    """Forwards connections to 127.0.0.1:`port` to `target`: a host and a port, or the path of a Unix socket.

    Use as a context; at its end every connection is reset and nobody listens any more. While the target
    cannot be reached, connections are accepted and reset.

    `delay_s` is added to the way of every byte in both directions, `bytes_per_s` bounds each direction of
    each connection (None: no bound). Both may be set at any time and count for what comes in from then on.
    """

    def __init__(self, target: tuple[str, int] | str | os.PathLike[str]) -> None:
        self._target = target if isinstance(target, tuple) else os.fspath(target)
        self.port = 0
        self.delay_s = 0.0
        self.bytes_per_s: int | None = None
        self._is_refusing = False
        self._links: set[_Link] = set()
        self._watched: list[tuple[bytes, Callable[[], object]]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._stopping = asyncio.Event()
        self._ways = _Ways()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result(_START_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._perform(self._stopping.set)
        self._thread.join()

    @property
    def connections(self) -> int:
        """How many are open at this moment, held ones included."""
        return len(self._links)

    def cut(self, clients: Collection[int] | None = None) -> None:
        """Reset every connection on both sides; new ones are served.

        `clients` are the ports of those clients whose connections alone are meant, here and elsewhere.
        """
        self._perform(lambda: self._cut(clients))

    def refuse(self) -> None:
        """Reset every connection, and every new one as soon as it is made, until `accept`."""

        def change() -> None:
            self._is_refusing = True
            self._cut()

        self._perform(change)

    def accept(self) -> None:
        """Serve again after `refuse`."""

        def change() -> None:
            self._is_refusing = False

        self._perform(change)

    def hold(
        self, clients: Collection[int] | None = None, *, to_target: bool = True, from_target: bool = True
    ) -> None:
        """Stop forwarding without closing anything: the network has gone silent.

        Ends and resets of connections are held like their bytes. New connections are made to the proxy and
        get no further, unless `clients` are named: then others are not touched. `to_target=False` holds the
        answers only, `from_target=False` the questions only.
        """

        def change() -> None:
            for way in [self._ways] if clients is None else [link.ways for link in self._of(clients)]:
                if to_target:
                    way.to_target.clear()
                if from_target:
                    way.from_target.clear()

        self._perform(change)

    def release(self, clients: Collection[int] | None = None) -> None:
        """Go on after `hold`, in both directions; what was held is forwarded now, nothing is lost."""

        def change() -> None:
            if clients is None:
                self._ways.open()
            for link in self._of(clients):
                link.ways.open()

        self._perform(change)

    def on_to_target(self, pattern: bytes, action: Callable[[], object]) -> None:
        """Call `action` once, the next time that bytes to the target contain `pattern`.

        They have been handed to the target's socket by then, and no answer to them has come back: with `cut`
        as the action the client cannot know what became of what it asked. The action is called in the proxy's
        thread; however long it takes, nothing is forwarded meanwhile.
        """
        assert 0 < len(pattern) <= _TAIL
        self._perform(lambda: self._watched.append((pattern, action)))

    def _perform(self, change: Callable[[], object]) -> None:
        if threading.current_thread() is self._thread:
            change()
            return
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def perform() -> None:
            change()
            done.set_result(None)

        self._loop.call_soon_threadsafe(perform)
        done.result(_START_S)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        serving: set[asyncio.Task[None]] = set()

        def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # A plain function, so that the tasks are ours: their end is waited for before the loop closes.
            task = self._loop.create_task(self._connect(reader, writer))
            serving.add(task)
            task.add_done_callback(serving.discard)

        server = await asyncio.start_server(on_connection, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set_result(None)
        await self._stopping.wait()
        server.close()
        self._cut()
        await asyncio.gather(*serving)
        await server.wait_closed()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(reader, writer)
        self._links.add(link)
        try:
            if not self._is_refusing and not self._stopping.is_set():
                await link.run(self)
        finally:
            self._links.discard(link)
            await link.close()

    def _cut(self, clients: Collection[int] | None = None) -> None:
        for link in self._of(clients):
            link.reset()

    def _of(self, clients: Collection[int] | None) -> list[_Link]:
        return [link for link in self._links if clients is None or link.client in clients]

    def _called_for(self, tail: bytes, data: bytes) -> list[Callable[[], object]]:
        """The actions whose pattern ends in `data`, which follows `tail`; each is given once."""
        stream = tail + data
        found = [
            each for each in self._watched if stream.find(each[0], max(0, len(tail) - len(each[0]) + 1)) >= 0
        ]
        self._watched = [each for each in self._watched if each not in found]
        return [action for _, action in found]


class _Ways:
    """Whether bytes may pass, in either direction."""

    def __init__(self) -> None:
        self.to_target = asyncio.Event()
        self.from_target = asyncio.Event()
        self.open()

    def open(self) -> None:
        self.to_target.set()
        self.from_target.set()


class _Link:
    """One connection: the client's side and, once it is made, the target's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.client: int = writer.get_extra_info("peername")[1]
        self.ways = _Ways()
        self._streams = reader, writer
        self._writers = [writer]
        self._is_reset = asyncio.Event()
        self._may_answer = asyncio.Event()
        self._may_answer.set()

    def reset(self) -> None:
        for writer in self._writers:
            _abort(writer)
        self._is_reset.set()

    async def close(self) -> None:
        for writer in self._writers:
            _abort(writer)
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def run(self, proxy: Proxy) -> None:
        """Forward until both sides have ended in good order, or one is gone, or `reset` is called."""
        try:
            async with asyncio.TaskGroup() as group:
                # What waits at a gate reads nothing, so it would not find out by itself.
                watch = group.create_task(self._watch_reset())
                await self._forward(proxy)
                watch.cancel()
        except* OSError:
            pass

    async def _watch_reset(self) -> None:
        await self._is_reset.wait()
        raise ConnectionResetError

    async def _forward(self, proxy: Proxy) -> None:
        await _all_open(proxy._ways.to_target, self.ways.to_target)
        there = await _open(proxy._target)
        self._writers.append(there[1])
        for writer in self._writers:
            # So `drain` returns only when the kernel has it all.
            writer.transport.set_write_buffer_limits(high=0)
        here = self._streams
        async with asyncio.TaskGroup() as group:
            questions = _Queue(_QUEUED_MAX)
            group.create_task(_read(proxy, here[0], questions))
            group.create_task(self._ask(proxy, questions, there[1]))
            answers = _Queue(_QUEUED_MAX)
            group.create_task(_read(proxy, there[0], answers))
            group.create_task(self._answer(proxy, answers, here[1]))

    async def _ask(self, proxy: Proxy, questions: _Queue, writer: asyncio.StreamWriter) -> None:
        tail = b""
        async for data in _due(questions):
            await _all_open(proxy._ways.to_target, self.ways.to_target)
            actions = proxy._called_for(tail, data)
            tail = (tail + data)[-_TAIL:]
            if actions:
                self._may_answer.clear()
            await _write(proxy, data, writer)
            for action in actions:
                action()
            self._may_answer.set()

    async def _answer(self, proxy: Proxy, answers: _Queue, writer: asyncio.StreamWriter) -> None:
        async for data in _due(answers):
            await _all_open(proxy._ways.from_target, self.ways.from_target, self._may_answer)
            await _write(proxy, data, writer)


async def _all_open(*gates: asyncio.Event) -> None:
    while not all(gate.is_set() for gate in gates):
        for gate in gates:
            await gate.wait()


async def _open(target: tuple[str, int] | str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, str):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection(*target)


async def _read(proxy: Proxy, reader: asyncio.StreamReader, queue: _Queue) -> None:
    """Put what comes in into the queue with the time it is due, and at last the end or the error."""
    clock = asyncio.get_running_loop().time
    while True:
        what: bytes | OSError
        try:
            what = await reader.read(_CHUNK)
        except OSError as error:
            what = error
        await queue.put((clock() + proxy.delay_s, what))
        if not isinstance(what, bytes) or not what:
            return


async def _due(queue: _Queue) -> AsyncIterator[bytes]:
    """What is in the queue, each when it is due; empty bytes are the end. Raises: OSError, in its turn."""
    clock = asyncio.get_running_loop().time
    while True:
        due, what = await queue.get()
        await asyncio.sleep(max(0.0, due - clock()))
        if not isinstance(what, bytes):
            raise what
        yield what
        if not what:
            return


async def _write(proxy: Proxy, data: bytes, writer: asyncio.StreamWriter) -> None:
    if not data:
        writer.write_eof()
        return
    while data:
        speed = proxy.bytes_per_s
        piece, data = (data, b"") if speed is None else (data[: speed // 20 + 1], data[speed // 20 + 1 :])
        writer.write(piece)
        await writer.drain()
        if speed is not None:
            await asyncio.sleep(len(piece) / speed)


def _abort(writer: asyncio.StreamWriter) -> None:
    where = writer.get_extra_info("socket")
    if where.family == socket.AF_INET and where.fileno() >= 0:
        where.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORTS)
    writer.transport.abort()
