"""The processes of a run and the network between them: what is started, what can be broken, how it is undone.

Two orchestrators, each with a door (the proxy that agents and the other orchestrator use), an entrance (the
one that clients use) and a cable (the one to PostgreSQL); six agents that are processes; a PostgreSQL of
their own. Knows no plan: `breaking` says what is broken and when.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from tests.chaos.chronicle import Chronicle
from tests.chaos.faults import SUBJECTS
from tests.support.postgres import NEWEST, PostgresServer, programs
from tests.support.processes import ADMIN, CurtaProcess
from tests.support.proxy import Proxy
from tests.support.waiting import until

SLOTS = 4
WITHIN_S = 60.0
"""For whatever must come true sooner or later, on a machine however slow."""
STOPS_S = 20.0
"""For an orderly end, which takes 5 s at most by the contract where the machine is not loaded."""

_PORTS = range(20_000, 32_000)
"""Below those that the system gives to outgoing connections: one of them might sit on an orchestrator's port
while it is down."""


class Inhabitant:
    """Somebody whose process comes and goes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: CurtaProcess | None = None
        self.is_meant_to_run = False


class Orchestrator(Inhabitant):
    """One orchestrator's addresses."""

    def __init__(self, number: int, port: int, door: Proxy, entrance: Proxy, cable: Proxy) -> None:
        super().__init__(number)
        self.port = port
        self.door = door
        self.entrance = entrance
        self.cable = cable
        self.url = f"http://127.0.0.1:{port}"
        """Its own, which nothing breaks: for witnesses, and for whoever looks on."""
        self.peer_url = f"http://127.0.0.1:{door.port}"
        self.client_url = f"http://127.0.0.1:{entrance.port}"


class TownAgent(Inhabitant):
    """One agent that is a process, with a token of its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = f"agent-{number}"
        self.token_id = ""
        self.secret = ""


class Town:
    """Open with `start`, end with `close`, whatever happened in between."""

    def __init__(self, directory: Path, chronicle: Chronicle) -> None:
        self.directory = directory
        self.chronicle = chronicle
        self.orchestrators: list[Orchestrator] = []
        self.agents = [TownAgent(number) for number in range(SUBJECTS["agent"])]
        self.postgres: PostgresServer
        self.database_url = ""
        self._stack = ExitStack()
        self._launched: list[CurtaProcess] = []
        # PostgreSQL ends with the thread that started it, so it has one of its own that lasts.
        self._postgres_thread = ThreadPoolExecutor(1, "postgres")
        self._http = httpx.AsyncClient(headers={"Authorization": f"Bearer {ADMIN}"}, timeout=5)

    # --- beginning and end ------------------------------------------------------------------------

    async def start(self) -> None:
        found = programs(NEWEST)
        assert found is not None, "there is no PostgreSQL"
        self.postgres = await self._in_postgres_thread(lambda: PostgresServer(found))
        self.database_url = await self._in_postgres_thread(self.postgres.database)
        target, database = _socket_of(self.database_url)
        ports = _free_ports(2)
        for number in range(2):
            cable = self._stack.enter_context(Proxy(target))
            door, entrance = (self._stack.enter_context(Proxy(("127.0.0.1", ports[number]))) for _ in "de")
            self.orchestrators.append(Orchestrator(number, ports[number], door, entrance, cable))
        self._database = database
        for orchestrator in self.orchestrators:
            self.launch(orchestrator)
            await self.is_served(orchestrator)
        for agent in self.agents:
            await self.give_token(agent)
            self.launch_agent(agent)

    async def close(self) -> None:
        """End everything, however it is."""
        await self._http.aclose()
        for process in self._launched:
            process.close()
        self._stack.close()
        if hasattr(self, "postgres"):
            await self._in_postgres_thread(self.postgres.close)
        self._postgres_thread.shutdown()

    # --- orchestrators ----------------------------------------------------------------------------

    def launch(self, orchestrator: Orchestrator) -> None:
        """Start its process, and wait for nothing."""
        orchestrator.is_meant_to_run = True
        orchestrator.process = self._launch(
            "server",
            f"orchestrator-{orchestrator.number}.log",
            {
                "CURTA_DATABASE_URL": (
                    f"postgresql://postgres:@127.0.0.1:{orchestrator.cable.port}/{self._database}"
                ),
                "CURTA_PORT": str(orchestrator.port),
                "CURTA_PUBLIC_URL": orchestrator.client_url,
                "CURTA_PEER_URL": orchestrator.peer_url,
                "CURTA_ADMIN_TOKEN": ADMIN,
            },
        )

    async def is_served(self, orchestrator: Orchestrator) -> None:
        """Return when it answers requests with a token and one leads."""

        async def is_served() -> bool:
            return await self._is_ok(orchestrator.url + "/operations") and await self.leader() is not None

        await until(is_served, within_s=WITHIN_S)

    async def leader(self) -> Orchestrator | None:
        """Who says that it leads; None where nobody does, or nobody can be asked."""
        for orchestrator in self.orchestrators:
            if await self._is_ok(orchestrator.url + "/leaderz"):
                return orchestrator
        return None

    async def by_role(self, leads: bool) -> Orchestrator:
        """The leader or the follower; while nobody leads, number 0 stands for the leader."""
        leader = await self.leader() or self.orchestrators[0]
        return leader if leads else self.orchestrators[1 - leader.number]

    async def _is_ok(self, url: str) -> bool:
        try:
            return (await self._http.get(url, timeout=1)).status_code == 200
        except httpx.TransportError:
            return False

    async def administer(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request of an administrator, at the leader first, again while it is refused for the time being.

        Raises: AssertionError where nobody answers for a minute.
        """
        deadline = time.monotonic() + WITHIN_S
        turn = 0
        while True:
            leader = await self.leader() or self.orchestrators[turn % 2]
            turn += 1
            try:
                answer = await self._http.request(method, leader.url + path, **options)
                if answer.status_code not in (429, 503):
                    return answer
                why = answer.text[:200]
            except httpx.TransportError as error:
                why = repr(error)
            assert time.monotonic() < deadline, f"{method} {path} is not answered: {why}"
            await asyncio.sleep(0.2)

    # --- agents -----------------------------------------------------------------------------------

    async def give_token(self, agent: TownAgent) -> None:
        """A new token of its own; the old one stays good."""
        answer = await self.administer("POST", "/tokens", json={"name": agent.name, "role": "agent"})
        assert answer.status_code == 200, answer.text
        made = answer.json()
        agent.token_id, agent.secret = made["id"], made["secret"]

    def launch_agent(self, agent: TownAgent) -> None:
        """Start its process, a new agent with the old name, and wait for nothing."""
        agent.is_meant_to_run = True
        agent.process = self._launch(
            "agent",
            f"{agent.name}.log",
            {
                "CURTA_URL": ",".join(one.peer_url for one in self.orchestrators),
                "CURTA_TOKEN": agent.secret,
                "CURTA_NAME": agent.name,
                "CURTA_SLOTS": str(SLOTS),
            },
        )

    async def id_of(self, agent: TownAgent) -> str | None:
        """The UUID under which the leader knows its process; None while it is not connected."""
        answer = await self.administer("GET", "/agents?limit=1000")
        items = answer.json()["items"] if answer.status_code == 200 else []
        for item in items:
            if item["name"] == agent.name and item["status"] == "connected":
                return str(item["id"])
        return None

    def connections_of(self, agent: TownAgent) -> set[int]:
        """The ports of its sockets, as a door sees them."""
        assert agent.process is not None
        try:
            found = psutil.Process(agent.process.pid).net_connections("tcp")
        except psutil.NoSuchProcess:
            return set()
        return {each.laddr.port for each in found if each.status == psutil.CONN_ESTABLISHED}

    # --- PostgreSQL -------------------------------------------------------------------------------

    async def kill_postgres(self) -> None:
        await self._in_postgres_thread(self.postgres.kill)

    async def stop_postgres(self) -> None:
        await self._in_postgres_thread(self.postgres.stop)

    async def start_postgres(self) -> None:
        """Again after it was killed; its old children may need a moment to notice and go."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                await self._in_postgres_thread(self.postgres.start)
                return
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.5)

    async def _in_postgres_thread(self, do: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._postgres_thread, do)

    # --- all of them ------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Report processes that end by themselves, until cancelled."""
        while True:
            inhabitants: list[Inhabitant] = [*self.orchestrators, *self.agents]
            for one in inhabitants:
                process = one.process
                if process is not None and one.is_meant_to_run and not process.is_running:
                    one.is_meant_to_run = False
                    self.chronicle.finding(f"{process.log.name}: ended by itself: {process.output[-1500:]}")
            await asyncio.sleep(0.2)

    async def stop_all(self) -> None:
        """End agents and then orchestrators in good order, and see that nothing of them is left."""
        groups: tuple[Sequence[Inhabitant], ...] = self.agents, self.orchestrators
        for group in groups:
            stopping = []
            for one in group:
                one.is_meant_to_run = False
                assert one.process is not None
                stopping.append(asyncio.to_thread(one.process.terminate, within_s=STOPS_S))
            for one, (code, _) in zip(group, await asyncio.gather(*stopping), strict=True):
                assert one.process is not None
                if code != 0:
                    self.chronicle.finding(f"{one.process.log.name}: exit code {code} after SIGTERM")
        # Children of those that were killed notice by themselves and need a moment.
        sessions = {process.pid for process in self._launched}
        try:
            await until(lambda: not _left_of(sessions), within_s=WITHIN_S)
        except AssertionError:
            left = [" ".join(each.cmdline())[:200] for each in _left_of(sessions)]
            self.chronicle.finding(f"{len(left)} processes are left: {left}")

    def _launch(self, command: str, log: str, environment: dict[str, str]) -> CurtaProcess:
        process = CurtaProcess(command, log=self.directory / log, environment=environment)
        self._launched.append(process)
        return process


def _left_of(sessions: set[int]) -> list[psutil.Process]:
    """Processes of these sessions that still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) in sessions and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue
    return found


def _socket_of(database_url: str) -> tuple[str, str]:
    """The socket's path and the database's name in `postgresql://postgres:@/NAME?host=DIRECTORY`."""
    name, _, directory = database_url.partition("@/")[2].partition("?host=")
    return f"{directory}/.s.PGSQL.5432", name


def _free_ports(count: int) -> list[int]:
    ports: list[int] = []
    for port in Random().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError("there is no free port")
