"""Real processes for tests: started, watched, frozen, killed, and gone with the test process.

Everything is ended by the process id that was noted when it was started. Each process writes its output to a
file, which is shown when it does not do what is waited for.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]

from tests.support.postgres import PostgresServer

ADMIN = "an-admin-token-of-32-characters-or-more"
AGENT = "an-agent-token-of-32-characters-or-more"
"""The secrets that a fresh database of `Cluster` gets."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def free_port() -> int:
    """A port of the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, *, within_s: float = 30.0) -> float:
    """Return when the condition holds, with the seconds it took. Raises AssertionError at the deadline."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


class CurtaProcess:
    """`python -m curta_cli ARGUMENTS`, in a session of its own. It dies with the test process."""

    def __init__(
        self,
        *arguments: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._arguments = arguments
        self.log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CURTA_")}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "curta_cli", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env={**inherited, "CURTA_LOG_FORMAT": "json", **(environment or {})},
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def family(self) -> list[psutil.Process]:
        """It and everything it has started that still runs."""
        try:
            process = psutil.Process(self.pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP, to it and its children; returns when it stands."""
        for each in self.family():
            each.suspend()
        wait_until(lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED, "it stands still")

    def thaw(self) -> None:
        for each in self.family():
            each.resume()

    def terminate(self, *, within_s: float = 10.0) -> tuple[int, float]:
        """SIGTERM: the exit code, and the seconds it took."""
        began = time.monotonic()
        self._process.terminate()
        try:
            return self._process.wait(within_s), time.monotonic() - began
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self._arguments} goes on after SIGTERM: {self.output[-3000:]}") from None

    def close(self) -> None:
        """End it, however it is, with its children; for the end of a test."""
        if self.is_running:
            family = self.family()
            self.kill()
            for each in family[1:]:
                try:
                    each.kill()
                except psutil.NoSuchProcess:
                    continue


class Cluster:
    """A database, one or more orchestrators, and agents: each a process of its own, so that each can be
    killed.

    The orchestrators are running when the object is made, and number 0 leads. `settings` are `CURTA_…`
    variables for each of them; `server`, `port` and `url` are number 0's. With `database_url` they use that
    database, which stays the caller's to drop; otherwise one of their own. `peer_urls` are their own URLs
    unless something stands in front of them.
    """

    def __init__(
        self,
        postgres: PostgresServer,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        orchestrators: int = 1,
        database_url: str | None = None,
        *,
        peer_urls: Sequence[str] | None = None,
    ) -> None:
        self.postgres = postgres
        self._is_own = database_url is None
        self.database_url = postgres.database() if database_url is None else database_url
        self._directory = directory
        self._settings = dict(settings or {})
        self.ports = [free_port() for _ in range(orchestrators)]
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        self._peer_urls = peer_urls or self.urls
        self.servers: list[CurtaProcess] = []
        self.agents: list[CurtaProcess] = []
        try:
            for number in range(orchestrators):
                self.servers.append(self._launch(number))
                self.wait_until_served(number)
        except BaseException:
            self.close()
            raise

    @property
    def server(self) -> CurtaProcess:
        return self.servers[0]

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def url(self) -> str:
        return self.urls[0]

    def start_server(self, number: int = 0) -> None:
        """Start an orchestrator again after it has ended; returns when it serves, see `wait_until_served`."""
        self.launch_server(number)
        self.wait_until_served(number)

    def launch_server(self, number: int = 0) -> None:
        """Start an orchestrator again after it has ended, and wait for nothing."""
        self.servers[number] = self._launch(number)

    def _launch(self, number: int) -> CurtaProcess:
        return CurtaProcess(
            "server",
            log=self._directory / f"server-{number}.log",
            environment={
                "CURTA_DATABASE_URL": self.database_url,
                "CURTA_PORT": str(self.ports[number]),
                "CURTA_PEER_URL": self._peer_urls[number],
                "CURTA_ADMIN_TOKEN": ADMIN,
                "CURTA_AGENT_TOKEN": AGENT,
                **self._settings,
            },
        )

    def wait_until_served(self, number: int = 0, *, within_s: float = 30.0) -> float:
        """Return when this orchestrator answers requests with a token and one of them leads, with the seconds
        it took."""
        server = self.servers[number]

        def is_served() -> bool:
            assert server.is_running, server.output[-3000:]
            return self._is_ok(number, "/operations") and bool(self.leaders())

        return wait_until(is_served, f"orchestrator {number} serves and one leads", within_s=within_s)

    def leaders(self) -> list[int]:
        """The numbers of those that say that they lead: one, or none for a moment."""
        return [number for number in range(len(self.servers)) if self._is_ok(number, "/leaderz")]

    def leader(self, *, within_s: float = 20.0) -> int:
        """The number of the one that leads, as soon as one does."""
        found: list[int] = []

        def is_led() -> bool:
            found[:] = self.leaders()
            return len(found) == 1

        wait_until(is_led, "one orchestrator leads", within_s=within_s)
        return found[0]

    def _is_ok(self, number: int, path: str) -> bool:
        try:
            return self.get(path, number, timeout_s=2).status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, number: int = 0, *, timeout_s: float = 10.0) -> httpx.Response:
        """One GET as an admin, on a connection of its own."""
        return httpx.get(
            self.urls[number] + path, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=timeout_s
        )

    def start_agent(
        self, name: str, *, slots: int = 2, settings: Mapping[str, str] | None = None
    ) -> CurtaProcess:
        """One more agent, which knows all orchestrators; returns when it is connected."""
        agent = CurtaProcess(
            "agent",
            log=self._directory / f"agent-{name}.log",
            environment={
                "CURTA_URL": ",".join(self.urls),
                "CURTA_TOKEN": AGENT,
                "CURTA_NAME": name,
                "CURTA_SLOTS": str(slots),
                **(settings or {}),
            },
        )
        self.agents.append(agent)
        wait_until(
            lambda: self.status_of(name) == "connected", f"{name} is connected: {agent.output[-3000:]}"
        )
        return agent

    def status_of(self, name: str) -> str | None:
        """What the leader says of the agents with that name: the best of it."""
        answer = self.get("/agents", self.leader())
        items = answer.json()["items"] if answer.status_code == 200 else []
        found = sorted(item["status"] for item in items if item["name"] == name)
        return found[0] if found else None

    def sql(self, statement: str) -> str:
        """Run one statement on their database, and return what psql prints."""
        name = self.database_url.partition("@")[2].partition("?")[0].rpartition("/")[2]
        return self.postgres.sql(statement, database=name)

    def close(self) -> None:
        for process in (*self.agents, *self.servers):
            process.close()
        if self._is_own:
            self.postgres.drop(self.database_url)


def die_with_parent() -> None:
    """For `preexec_fn`: the child is killed when the test process ends, however that ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
