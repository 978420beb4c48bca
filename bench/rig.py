"""Everything a measurement runs on: PostgreSQL (embedded, with fsync) and one orchestrator as long as the rig
lasts, crowds of agents and the yardstick's processes while a figure needs them.
"""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]

from bench.client import Curta
from bench.processes import (
    START_S,
    Cpu,
    Process,
    allow_many_sockets,
    answers,
    cpu_s,
    free_ports,
    process,
    until,
)
from curta_server.embedded import EmbeddedPostgres
from curta_server.migrate import migrate

AGENT_S = 0.03
"""What one agent may take to connect, beside START_S for all."""


class NotGathered(Exception):
    """This machine, with all that it does now, cannot hold so many agents; the text says how many came."""


class Orchestrator:
    """The one process that serves; killed and started again where a scenario wants it."""

    def __init__(self, url: str, environment: dict[str, str], stack: ExitStack) -> None:
        self.url = url
        self._environment = environment
        self._stack = stack
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns at once; `ready` waits."""
        self._process = self._stack.enter_context(process("curta_cli", self._environment, "server"))

    def kill(self) -> None:
        """As `kill -9` does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    async def ready(self) -> None:
        """Wait until it leads."""
        await until(lambda: answers(f"{self.url}/leaderz"), self._process, every_s=0.02)

    async def renew(self) -> None:
        """End it in good order and start another, whose memory nobody has used yet."""
        assert self._process is not None
        self._process.terminate()
        await asyncio.to_thread(self._process.wait)
        self.start()
        await self.ready()


@dataclass
class Rig:
    """`ceiling_url` is the yardstick's, which runs only within `ceiling`; `sockets_max` is how many files a
    process may have open."""

    database: EmbeddedPostgres
    server: Orchestrator
    ceiling_url: str
    admin_token: str
    agent_token: str
    sockets_max: int

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def orchestrator(self) -> int:
        """Its process id."""
        return self.server.pid

    def curta(self, token: str = "") -> Curta:
        """A client, of the admin if there is no other token."""
        return Curta(self.url, token or self.admin_token)

    def cpu(self, server: int, agents: int) -> Cpu:
        """What the processes with these ids, and PostgreSQL, have used until now."""
        assert self.database.pid is not None
        postgres = psutil.Process(self.database.pid)
        backends = sum(cpu_s(child.pid) for child in postgres.children())
        return Cpu(cpu_s(server), cpu_s(agents), cpu_s(postgres.pid) + backends)

    def memory_bytes(self) -> int:
        """The orchestrator's resident memory."""
        return int(psutil.Process(self.orchestrator).memory_info().rss)

    @asynccontextmanager
    async def crowd(self, agents: int, slots: int, *, record: Path | None = None) -> AsyncIterator[int]:
        """That many agents of ours, connected; gives their process's id. What they were handed stands in the
        file `record` afterwards. Raises: NotGathered."""
        environment = {"CURTA_URL": self.url, "CURTA_TOKEN": self.agent_token}
        arguments = [f"--agents={agents}", f"--slots={slots}", *([f"--record={record}"] if record else [])]
        with process("bench.crowd", environment, *arguments) as crowd:
            async with self.curta() as curta:
                # Thousands take long where others use the machine, too.
                patience_s = START_S + AGENT_S * agents
                await _gathered(curta.connected_agents, agents, crowd, patience_s)
                yield crowd.pid
                crowd.terminate()
                await until(lambda: _none(curta.connected_agents()), within_s=patience_s)

    @asynccontextmanager
    async def ceiling(self) -> AsyncIterator[int]:
        """The yardstick's server, answering; gives its process id."""
        environment = {
            "BENCH_DATABASE_URL": self.database.url,
            "BENCH_PORT": self.ceiling_url.rpartition(":")[2],
        }
        with process("bench.ceiling", environment, "serve") as server:
            await until(lambda: answers(f"{self.ceiling_url}/agents"), server)
            yield server.pid

    @asynccontextmanager
    async def ceiling_crowd(self, agents: int, slots: int) -> AsyncIterator[int]:
        """That many of the yardstick's agents, connected to it; gives their process's id. Raises:
        NotGathered."""
        environment = {"BENCH_PORT": self.ceiling_url.rpartition(":")[2]}
        arguments = ("agents", f"--agents={agents}", f"--slots={slots}")
        with process("bench.ceiling", environment, *arguments) as crowd:
            async with httpx.AsyncClient(trust_env=False) as http:

                async def connected() -> int:
                    return int((await http.get(f"{self.ceiling_url}/agents")).json()["agents"])

                await _gathered(connected, agents, crowd, START_S + AGENT_S * agents)
                yield crowd.pid


@contextmanager
def rig() -> Iterator[Rig]:
    """PostgreSQL and one orchestrator on it, ready, in a directory that is removed afterwards."""
    sockets_max = allow_many_sockets()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="curta-bench-")))
        folder.chmod(0o755)  # PostgreSQL may run as another account
        database = stack.enter_context(EmbeddedPostgres(folder))
        migrate(database.url)
        port, ceiling_port = free_ports(2)
        admin_token, agent_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        environment = {
            "CURTA_DATABASE_URL": database.url,
            "CURTA_PORT": str(port),
            "CURTA_ADMIN_TOKEN": admin_token,
            "CURTA_AGENT_TOKEN": agent_token,
            "CURTA_LOG_LEVEL": "warning",
        }
        server = Orchestrator(f"http://127.0.0.1:{port}", environment, stack)
        server.start()
        asyncio.run(server.ready())
        yield Rig(database, server, f"http://127.0.0.1:{ceiling_port}", admin_token, agent_token, sockets_max)


async def _gathered(
    count: Callable[[], Awaitable[int]], wanted: int, crowd: Process, patience_s: float
) -> None:
    """Wait until all are connected. Raises: NotGathered."""
    here = 0

    async def are_all_here() -> bool:
        nonlocal here
        here = await count()
        return here == wanted

    try:
        await until(are_all_here, crowd, within_s=patience_s)
    except TimeoutError:
        raise NotGathered(f"after {patience_s:.0f} s {here:,} of {wanted:,} agents were there") from None
    except (RuntimeError, httpx.HTTPError) as error:
        why = "their process ended" if crowd.poll() is not None else f"nobody answers ({error!r})"
        raise NotGathered(f"{why} when {here:,} of {wanted:,} agents were there") from error


async def _none(count: Awaitable[int]) -> bool:
    return await count == 0
