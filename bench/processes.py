"""Processes of a measurement on 127.0.0.1, and their end: each is ended by its id when its `with` block ends,
however that ends. Nothing but this module starts or ends one; PostgreSQL is `EmbeddedPostgres`'s, and a peer
with all that it starts `peers.driver`'s.
"""

import asyncio
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, NamedTuple

import httpx
import psutil  # type: ignore[import-untyped]

from bench import ROOT

START_S = 120.0
END_S = 10.0

Process = subprocess.Popen[bytes]


class Cpu(NamedTuple):
    """Processor seconds, of a system's server, its agents, and PostgreSQL."""

    server: float
    agents: float
    database: float

    def since(self, begin: "Cpu") -> "Cpu":
        return Cpu(*(now - then for now, then in zip(self, begin, strict=True)))

    def per(self, tasks: int) -> "Cpu":
        """Microseconds for each of so many tasks."""
        return Cpu(*(seconds / tasks * 1e6 for seconds in self))


@contextmanager
def process(
    module: str, environment: Mapping[str, str], *arguments: str, talks: bool = False
) -> Iterator[Process]:
    """`python -m module`, ended with the block. Settings of whoever runs the bench do not reach it.

    Its standard input is a pipe whose other end we hold: how it learns that we are gone, kill -9 included.
    Where it `talks`, its standard output is one, too.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CURTA_")}
    words, output = (sys.executable, "-m", module, *arguments), subprocess.PIPE if talks else None
    with command(words, {**inherited, **environment}, output=output) as started:
        yield started


@contextmanager
def command(
    words: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    output: IO[bytes] | int | None = None,
) -> Iterator[Process]:
    """Any program, ended with the block; its environment is ours if none is given. A file for its `output`
    gets what it says of errors, too."""
    started = subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=None if output is None or isinstance(output, int) else output,
        # Ctrl-C is ours to handle: they are ended in order.
        start_new_session=True,
    )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(END_S)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        for pipe in (started.stdin, started.stdout):
            if pipe is not None:
                pipe.close()


async def line_of(talking: Process) -> str:
    """The next line that the process says. Raises: RuntimeError where it has ended instead."""
    assert talking.stdout is not None
    line = await asyncio.to_thread(talking.stdout.readline)
    if not line:
        raise RuntimeError(f"{talking.args!r} ended")
    return line.decode()


async def until(
    holds: Callable[[], Awaitable[bool]],
    running: Process | None = None,
    *,
    every_s: float = 0.1,
    within_s: float = START_S,
) -> None:
    """Look again and again. Raises: RuntimeError when the process ends first, TimeoutError."""
    async with asyncio.timeout(within_s):
        while not await holds():
            if running is not None and running.poll() is not None:
                raise RuntimeError(f"{running.args!r} ended with {running.returncode}")
            await asyncio.sleep(every_s)


async def answers(url: str) -> bool:
    """Whether a GET is answered by 200."""
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            return (await http.get(url)).status_code == 200
        except httpx.HTTPError:
            return False


def cpu_s(pid: int) -> float:
    """Processor seconds until now; 0 where there is no such process."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def allow_many_sockets() -> int:
    """Raise our limit of open files, and that of what we start, as far as it goes; gives it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
