"""The agents of `curta up`: kept running, and never alone."""

import asyncio
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.support.waiting import until

from curta_cli import fleet
from curta_cli.fleet import Fleet

RECORD = """
import os, sys
with open(os.environ["RECORD"], "a") as record:
    record.write(f"{os.getpid()} {os.environ['CURTA_NAME']}\\n")
{then}
"""
WAIT = "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); sys.stdin.read()"
ENDURE = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); sys.stdin.read()"


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-ins of agents write who they are."""
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    return tmp_path / "record"


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, then: str) -> None:
    """Start a script in place of `python -P -m curta_cli …`."""
    script = folder / "python"
    code = RECORD.replace("{then}", then).replace("'", "'\"'\"'")
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}'\n")
    script.chmod(0o700)
    monkeypatch.setattr(fleet.sys, "executable", str(script))


def started(record: Path) -> list[str]:
    return record.read_text().splitlines() if record.exists() else []


async def test_agents_have_names_and_end_with_the_fleet(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path, WAIT)
    async with Fleet("http://127.0.0.1:1", tmp_path / "token", 2, None):
        await until(lambda: len(started(record)) == 2)
    pids, names = zip(*(line.split() for line in started(record)), strict=True)
    assert sorted(name.rpartition("-")[2] for name in names) == ["1", "2"]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


async def test_one_that_ends_is_started_again(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "PAUSE_MIN_S", 0.01)
    stand_in(monkeypatch, tmp_path, "sys.exit(3)")
    async with Fleet("http://127.0.0.1:1", tmp_path / "token", 1, 4):
        await until(lambda: len(started(record)) >= 3)


async def test_one_that_an_admin_removed_is_replaced_when_it_may_be_and_not_before(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    removed, may_come = asyncio.Event(), asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        removed.set()
        await may_come.wait()

    stand_in(monkeypatch, tmp_path, "sys.exit(13)")
    monkeypatch.setattr(fleet, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": pause}))
    async with Fleet("http://127.0.0.1:1", tmp_path / "token", 1, 4):
        async with asyncio.timeout(10):
            await removed.wait()
        assert pauses == [60.0] and len(started(record)) == 1
        may_come.set()
        await until(lambda: len(started(record)) >= 2)


@pytest.mark.parametrize("code", [10, 11])
async def test_one_that_would_fare_no_better_is_not_started_again(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(fleet, "PAUSE_MIN_S", 0.0)
    stand_in(monkeypatch, tmp_path, f"sys.exit({code})")
    async with Fleet("http://127.0.0.1:1", tmp_path / "token", 2, 4) as agents:
        await until(lambda: all(keeper.done() for keeper in agents._keepers))
    assert len(started(record)) == 2


async def test_one_whose_uuid_is_connected_elsewhere_is_replaced_by_one_with_its_own(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "PAUSE_MIN_S", 0.01)
    stand_in(monkeypatch, tmp_path, "sys.exit(12)")
    async with Fleet("http://127.0.0.1:1", tmp_path / "token", 1, 4):
        await until(lambda: len(started(record)) >= 2)


async def test_one_that_does_not_stop_is_killed(
    record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "STOP_S", 0.1)
    stand_in(monkeypatch, tmp_path, ENDURE)
    async with Fleet("http://127.0.0.1:1", tmp_path / "token", 1, 4):
        await until(lambda: len(started(record)) == 1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(started(record)[0].split()[0]), 0)


def test_agents_get_no_secret_and_no_setting_of_the_orchestrator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CURTA_TOKEN", "CURTA_ADMIN_TOKEN_FILE", "CURTA_DATABASE_URL", "CURTA_HTTP", "CURTA_SLOTS"):
        monkeypatch.setenv(name, "the orchestrator's")
    monkeypatch.setenv("CURTA_LOG_FORMAT", "json")
    given = Fleet("http://127.0.0.1:1", tmp_path / "token", 1, None)._environment
    ours = {name: value for name, value in given.items() if name.startswith("CURTA_")}
    assert ours == {
        "CURTA_LOG_FORMAT": "json",
        "CURTA_URL": "http://127.0.0.1:1",
        "CURTA_TOKEN_FILE": str(tmp_path / "token"),
        "CURTA_DRAIN_S": "1.0",
    }


@pytest.mark.parametrize(
    ("count", "slots", "text"),
    [(0, 2, "no agents"), (1, 1, "1 agent of 1 slot"), (2, 3, "2 agents of 3 slots")],
)
async def test_it_says_what_there_is(count: int, slots: int, text: str, tmp_path: Path) -> None:
    assert Fleet("http://127.0.0.1:1", tmp_path, count, slots).description == text
