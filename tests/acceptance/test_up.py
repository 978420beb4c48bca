"""`curta up`: everything on one machine, from one command, and again after whatever ended it."""

import asyncio
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.client import Client
from tests.support.processes import CurtaProcess, wait_until
from tests.support.waiting import until

SUMS = "(1+2)*(3+4)+(5+6)*(7+8)"


class Up:
    """One `curta up` with two agents of two slots."""

    def __init__(self, directory: Path, number: int) -> None:
        self.data = directory / "data"
        self.process = CurtaProcess(
            *("up", "--data", "data", "--port", "0", "--agents", "2", "--slots", "2"),
            cwd=directory,
            log=directory / f"up-{number}.log",
        )
        wait_until(self._is_ready, f"`curta up` is ready: {self.process.output[-3000:]}", within_s=60)

    def _is_ready(self) -> bool:
        assert self.process.is_running, self.process.output[-3000:]
        return "Curta is ready" in self.process.output

    @property
    def url(self) -> str:
        return (self.data / "url").read_text().strip()

    def client(self) -> Client:
        return Client(self.url, (self.data / "admin.token").read_text().strip())

    @property
    def postgres(self) -> psutil.Process:
        return psutil.Process(int((self.data / "postgres" / "postmaster.pid").read_text().splitlines()[0]))

    def everything(self) -> set[psutil.Process]:
        """All processes of it, PostgreSQL's too."""
        return {*self.process.family(), self.postgres, *self.postgres.children(recursive=True)}

    def all_but_postgres(self) -> set[psutil.Process]:
        return self.everything() - {self.postgres, *self.postgres.children(recursive=True)}


def living(processes: set[psutil.Process]) -> set[psutil.Process]:
    return {each for each in processes if _lives(each)}


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Up]]:
    """Starts `curta up`, each time with the same folder."""
    started: list[Up] = []

    def start() -> Up:
        started.append(Up(tmp_path, len(started)))
        return started[-1]

    try:
        yield start
    finally:
        for up in started:
            up.process.close()
        note = tmp_path / "data" / "postgres" / "postmaster.pid"
        if note.exists():
            server = int(note.read_text().splitlines()[0])
            os.kill(server, signal.SIGQUIT)
            wait_until(lambda: not psutil.pid_exists(server), "PostgreSQL has ended")


async def two_agents_are_connected(client: Client) -> bool:
    agents = await client.agents()
    return sum(agent["status"] == "connected" for agent in agents.values()) == 2


async def test_the_printed_line_submits_an_expression_and_sigterm_leaves_no_process(
    start: Callable[[], Up],
) -> None:
    up = start()
    line = next(line for line in up.process.output.splitlines() if "curl" in line).strip()
    assert shlex.split(line)[-1] == "2 + 2 * 2"
    answered = await asyncio.to_thread(
        subprocess.run, line, shell=True, capture_output=True, text=True, check=True, cwd="/"
    )
    assert '"status"' in answered.stdout, answered.stdout + answered.stderr
    async with up.client() as client:
        await client.set_all_durations(0)
        items = (await client.ask("GET", "/expressions"))["items"]
        assert [item["expression"] for item in items] == ["2 + 2 * 2"]
        assert (await client.final(items[0]["id"]))["result"] == "6"
        # Busy, and far from done: it ends in time all the same.
        await client.set_all_durations(600_000)
        await client.submit(SUMS)
        await until(lambda: two_agents_are_connected(client))
    for name in ("admin.token", "agent.token", "postgres.log", "postgres.lock"):
        assert (up.data / name).stat().st_mode & 0o777 == 0o600
    everything = up.everything()
    assert len(everything) > 5
    code, took_s = up.process.terminate()
    assert code == 0
    assert took_s < 5
    assert living(everything) == set()
    assert "Traceback" not in up.process.output, up.process.output[-3000:]


async def test_kill_9_of_everything_but_postgresql_loses_nothing(start: Callable[[], Up]) -> None:
    first = start()
    async with first.client() as client:
        await client.set_all_durations(600_000)
        waiting = await client.submit(SUMS, id="mine")
        await client.set_all_durations(0)
    secret = (first.data / "admin.token").read_text()
    postgres = first.postgres
    others = first.all_but_postgres()
    assert len(others) >= 3
    first.process.kill()
    wait_until(lambda: not living(others), "the agents die with it", within_s=5)
    assert postgres.is_running()

    second = start()
    assert second.postgres == postgres, "the running PostgreSQL was not found again"
    assert (second.data / "admin.token").read_text() == secret
    async with second.client() as client:
        ended = await client.final(waiting["id"], within_s=30)
        assert (ended["status"], ended["result"], ended["client_id"]) == ("done", "186", "mine")
    everything = second.everything()
    code, took_s = second.process.terminate()
    assert (code, took_s < 5) == (0, True), took_s
    assert living(everything) == set()


async def test_killed_parts_are_started_again(start: Callable[[], Up]) -> None:
    up = start()
    async with up.client() as client:
        await client.set_all_durations(0)
        await until(lambda: two_agents_are_connected(client))
        agents = [each for each in up.process.family() if "agent" in each.cmdline()]
        agents[0].kill()
        up.postgres.kill()

        async def computes() -> bool:
            try:
                answer = await client.http.post("/expressions", content="20+22")
            except httpx.TransportError:
                return False
            assert answer.status_code in (200, 503), answer.text
            return answer.status_code == 200

        began = time.monotonic()
        await until(computes, within_s=30)
        assert (await client.compute("20+22"))["result"] == "42"
        await until(lambda: two_agents_are_connected(client), within_s=30)
        assert time.monotonic() - began < 30
    assert up.process.terminate()[0] == 0


def test_a_folder_in_use_is_refused_with_a_sentence(start: Callable[[], Up], tmp_path: Path) -> None:
    up = start()
    second = CurtaProcess("up", "--data", str(up.data), "--port", "0", log=tmp_path / "second.log")
    wait_until(lambda: not second.is_running, "the second one ends")
    assert "in use" in second.output
    assert "Traceback" not in second.output
    up.process.close()
