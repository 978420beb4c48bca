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
from collections.abc import Callable, Mapping
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

    def __init__(self, *arguments: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._arguments = arguments
        self.log = log
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CURTA_")}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "curta_cli", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**inherited, "CURTA_LOG_FORMAT": "json", **(environment or {})},
                start_new_session=True,
                preexec_fn=_die_with_parent,
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
    """A database, one orchestrator, and agents: each a process of its own, so that each can be killed.

    The orchestrator is running when the object is made. `settings` are `CURTA_…` variables for it.
    """

    def __init__(
        self, postgres: PostgresServer, directory: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self.postgres = postgres
        self.database_url = postgres.database()
        self._directory = directory
        self._settings = dict(settings or {})
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.agents: list[CurtaProcess] = []
        try:
            self.start_server()
        except BaseException:
            self.close()
            raise

    def start_server(self) -> None:
        """Start the orchestrator, again after it has ended; returns when it leads and knows its tokens."""
        self.launch_server()
        self.wait_until_served()

    def launch_server(self) -> None:
        """Start the orchestrator and wait for nothing."""
        self.server = CurtaProcess(
            "server",
            log=self._directory / "server.log",
            environment={
                "CURTA_DATABASE_URL": self.database_url,
                "CURTA_PORT": str(self.port),
                "CURTA_ADMIN_TOKEN": ADMIN,
                "CURTA_AGENT_TOKEN": AGENT,
                **self._settings,
            },
        )

    def wait_until_served(self, *, within_s: float = 30.0) -> float:
        """Return when requests with a token are answered by a leader, with the seconds it took."""

        def is_served() -> bool:
            assert self.server.is_running, self.server.output[-3000:]
            try:
                return all(self.get(path).status_code == 200 for path in ("/leaderz", "/operations"))
            except httpx.TransportError:
                return False

        return wait_until(is_served, "the orchestrator leads", within_s=within_s)

    def get(self, path: str) -> httpx.Response:
        """One GET as an admin, on a connection of its own."""
        return httpx.get(self.url + path, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=10)

    def start_agent(
        self, name: str, *, slots: int = 2, settings: Mapping[str, str] | None = None
    ) -> CurtaProcess:
        """One more agent; returns when it is connected."""
        agent = CurtaProcess(
            "agent",
            log=self._directory / f"agent-{name}.log",
            environment={
                "CURTA_URL": self.url,
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
        """What the orchestrator says of the agents with that name: the best of it."""
        items = self.get("/agents").json()["items"]
        found = sorted(item["status"] for item in items if item["name"] == name)
        return found[0] if found else None

    def close(self) -> None:
        for agent in self.agents:
            agent.close()
        if hasattr(self, "server"):
            self.server.close()
        self.postgres.drop(self.database_url)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
