"""Everything a measurement runs on, as processes of its own on 127.0.0.1, and their end.

PostgreSQL (embedded, with fsync) and one orchestrator as long as the rig lasts, a crowd of agents and the
yardstick's processes while a figure needs them. Every process is ended by its id when its `with` block ends,
however it ends; nothing but this module starts or ends one.
"""

import asyncio
import os
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil  # type: ignore[import-untyped]

from bench.client import Curta
from curta_server.embedded import EmbeddedPostgres
from curta_server.migrate import migrate

ROOT = Path(__file__).resolve().parent.parent
START_S = 60.0
END_S = 10.0


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


@dataclass
class Rig:
    """`url` is the orchestrator's, `ceiling_url` the yardstick's, which runs only within `ceiling`."""

    database: EmbeddedPostgres
    url: str
    ceiling_url: str
    admin_token: str
    agent_token: str
    orchestrator: int
    """Its process id."""

    def curta(self, token: str = "") -> Curta:
        """A client, of the admin if there is no other token."""
        return Curta(self.url, token or self.admin_token)

    def cpu(self, server: int, agents: int) -> Cpu:
        """What the processes with these ids, and PostgreSQL, have used until now."""
        assert self.database.pid is not None
        postgres = psutil.Process(self.database.pid)
        backends = sum(_cpu_s(process.pid) for process in postgres.children())
        return Cpu(_cpu_s(server), _cpu_s(agents), _cpu_s(postgres.pid) + backends)

    def memory_bytes(self) -> int:
        """The orchestrator's resident memory."""
        return int(psutil.Process(self.orchestrator).memory_info().rss)

    @asynccontextmanager
    async def crowd(self, agents: int, slots: int) -> AsyncIterator[int]:
        """That many agents of ours, connected; gives their process's id."""
        environment = {"CURTA_URL": self.url, "CURTA_TOKEN": self.agent_token}
        with _process("bench.crowd", environment, f"--agents={agents}", f"--slots={slots}") as crowd:
            async with self.curta() as curta:
                await _until(lambda: _all(curta.connected_agents(), agents), crowd)
                yield crowd.pid
                crowd.terminate()
                await _until(lambda: _all(curta.connected_agents(), 0))

    @asynccontextmanager
    async def ceiling(self) -> AsyncIterator[int]:
        """The yardstick's server, answering; gives its process id."""
        environment = {
            "BENCH_DATABASE_URL": self.database.url,
            "BENCH_PORT": self.ceiling_url.rpartition(":")[2],
        }
        with _process("bench.ceiling", environment, "serve") as server:
            await _until(lambda: _answers(f"{self.ceiling_url}/agents"), server)
            yield server.pid

    @asynccontextmanager
    async def ceiling_crowd(self, agents: int, slots: int) -> AsyncIterator[int]:
        """That many of the yardstick's agents, connected to it; gives their process's id."""
        environment = {"BENCH_PORT": self.ceiling_url.rpartition(":")[2]}
        arguments = ("agents", f"--agents={agents}", f"--slots={slots}")
        with _process("bench.ceiling", environment, *arguments) as crowd:
            async with httpx.AsyncClient(trust_env=False) as http:

                async def connected() -> int:
                    return int((await http.get(f"{self.ceiling_url}/agents")).json()["agents"])

                await _until(lambda: _all(connected(), agents), crowd)
                yield crowd.pid


@contextmanager
def rig() -> Iterator[Rig]:
    """PostgreSQL and one orchestrator on it, ready, in a directory that is removed afterwards."""
    _allow_many_sockets()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="curta-bench-")))
        folder.chmod(0o755)  # PostgreSQL may run as another account
        database = stack.enter_context(EmbeddedPostgres(folder))
        migrate(database.url)
        port, ceiling_port = _free_ports()
        admin_token, agent_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        environment = {
            "CURTA_DATABASE_URL": database.url,
            "CURTA_PORT": str(port),
            "CURTA_ADMIN_TOKEN": admin_token,
            "CURTA_AGENT_TOKEN": agent_token,
            "CURTA_LOG_LEVEL": "warning",
        }
        server = stack.enter_context(_process("curta_cli", environment, "server"))
        url = f"http://127.0.0.1:{port}"
        asyncio.run(_until(lambda: _answers(f"{url}/leaderz"), server))
        yield Rig(database, url, f"http://127.0.0.1:{ceiling_port}", admin_token, agent_token, server.pid)


@contextmanager
def _process(
    module: str, environment: dict[str, str], *arguments: str
) -> "Iterator[subprocess.Popen[bytes]]":
    """`python -m module`, ended with the block. Settings of whoever runs the bench do not reach it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CURTA_")}
    process = subprocess.Popen(
        (sys.executable, "-m", module, *arguments),
        cwd=ROOT,
        env=inherited | environment,
        # The other end of its standard input: how a crowd learns that we are gone, kill -9 included.
        stdin=subprocess.PIPE,
        # Ctrl-C is ours to handle: they are ended in order.
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdin.close()


async def _until(
    holds: Callable[[], Awaitable[bool]], process: "subprocess.Popen[bytes] | None" = None
) -> None:
    """Look ten times a second. Raises: RuntimeError when the process ends first, TimeoutError."""
    async with asyncio.timeout(START_S):
        while not await holds():
            if process is not None and process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
            await asyncio.sleep(0.1)


async def _answers(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            return (await http.get(url)).status_code == 200
        except httpx.HTTPError:
            return False


async def _all(count: Awaitable[int], wanted: int) -> bool:
    return await count == wanted


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def _allow_many_sockets() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
