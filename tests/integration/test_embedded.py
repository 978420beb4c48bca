"""A PostgreSQL of our own: made, found again, stopped, whatever was killed before."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from sqlalchemy import text

from curta_server import migrate, store
from curta_server.embedded import EmbeddedError, EmbeddedPostgres

_OWNER = """
import sys, time
from pathlib import Path
from curta_server.embedded import EmbeddedPostgres
database = EmbeddedPostgres(Path(sys.argv[1]))
database.start()
print(database.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Not pytest's own: as root PostgreSQL's account has to pass through it, and its path has to be short."""
    place = Path(tempfile.mkdtemp(prefix="curta-test-", dir="/tmp"))
    yield place / "data"
    for process in psutil.process_iter():
        try:
            is_left = process.name() == "postgres" and process.cwd().startswith(str(place))
        except psutil.Error:
            continue
        if is_left:
            process.kill()
    shutil.rmtree(place, ignore_errors=True)


def is_alive(pid: int | None) -> bool:
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ask(url: str, *statements: str) -> object:
    async def run() -> object:
        engine = store.create_engine(url, pool_size=1, name="curta test")
        answer: object = None
        async with engine.begin() as connection:
            for statement in statements:
                found = await connection.execute(text(statement))
                answer = found.scalar() if found.returns_rows else None
        await engine.dispose()
        return answer

    return asyncio.run(run())


def test_a_new_directory_gets_a_server_that_syncs_and_listens_to_its_owner_only(directory: Path) -> None:
    with EmbeddedPostgres(directory) as database:
        for setting, expected in (
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("full_page_writes", "on"),
            ("listen_addresses", ""),
            ("max_connections", "100"),
            ("server_encoding", "UTF8"),
            ("server_version_num", "18"),
        ):
            assert str(ask(database.url, f"SHOW {setting}")).startswith(expected)
        for name in ("postgres", "postgres.log", "postgres.lock"):
            assert (directory / name).stat().st_mode & 0o077 == 0
        assert migrate.migrate(database.url)
        pid = database.pid
    assert pid is not None and not is_alive(pid)


def test_what_was_stored_is_there_after_a_stop_and_a_start(directory: Path) -> None:
    with EmbeddedPostgres(directory) as database:
        ask(database.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    began = time.monotonic()
    with EmbeddedPostgres(directory) as database:
        assert time.monotonic() - began < 5
        assert ask(database.url, "SELECT n FROM kept") == 7
        began = time.monotonic()
    assert time.monotonic() - began < 5


def test_what_an_earlier_release_left_open_to_others_is_closed_to_them(directory: Path) -> None:
    directory.mkdir()
    files = [directory / "postgres.log", directory / "postgres.lock"]
    for file in files:
        file.touch(0o666)
        file.chmod(0o666)
    with EmbeddedPostgres(directory):
        assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]


def owner_of(directory: Path) -> tuple["subprocess.Popen[str]", int]:
    owner = subprocess.Popen(
        (sys.executable, "-c", _OWNER, str(directory)), stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def test_a_server_that_outlived_its_killed_owner_is_found_again_and_stopped(directory: Path) -> None:
    owner, pid = owner_of(directory)
    with owner:
        os.kill(owner.pid, signal.SIGKILL)
    assert is_alive(pid)
    with EmbeddedPostgres(directory) as database:
        assert database.pid == pid
        assert ask(database.url, "SELECT 1") == 1
    assert not is_alive(pid)


def test_two_owners_at_once_are_refused(directory: Path) -> None:
    owner, pid = owner_of(directory)
    with owner:
        with pytest.raises(EmbeddedError, match="in use"):
            EmbeddedPostgres(directory).start()
        assert is_alive(pid)
        owner.kill()


def test_what_was_committed_survives_kill_of_the_server_under_its_owner(directory: Path) -> None:
    with EmbeddedPostgres(directory) as database:
        ask(database.url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
        killed = database.pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        while is_alive(killed):
            pass
        assert database.pid is None
        database.ensure_running()
        assert database.pid not in (None, killed)
        assert ask(database.url, "SELECT n FROM kept") == 7
        database.ensure_running()


def test_a_server_that_was_killed_with_its_owner_is_started_anew(directory: Path) -> None:
    owner, pid = owner_of(directory)
    with owner:
        os.kill(pid, signal.SIGKILL)
        os.kill(owner.pid, signal.SIGKILL)
    with EmbeddedPostgres(directory) as database:
        assert ask(database.url, "SELECT 1") == 1


def test_a_stranger_with_the_number_of_a_killed_server_is_left_alone(directory: Path) -> None:
    with EmbeddedPostgres(directory):
        note = (directory / "postgres" / "postmaster.pid").read_text().splitlines()
    stale = directory / "postgres" / "postmaster.pid"
    stale.write_text("\n".join([str(os.getpid()), *note[1:]]) + "\n")
    with EmbeddedPostgres(directory) as database:
        assert database.pid not in (None, os.getpid())
        assert ask(database.url, "SELECT 1") == 1


def test_a_directory_left_half_made_is_made_again(directory: Path) -> None:
    (directory / "postgres.new").mkdir(parents=True)
    (directory / "postgres.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(directory) as database:
        assert ask(database.url, "SELECT 1") == 1
    assert not (directory / "postgres.new").exists()


@pytest.mark.parametrize("name", ["a" * 90, 'it\'s, "odd" %41 ü'])
def test_a_long_or_odd_path_works_too(directory: Path, name: str) -> None:
    with EmbeddedPostgres(directory / name) as database:
        assert ask(database.url, "SELECT 1") == 1
        sockets = Path(database._sockets or "")
    assert not sockets.exists()


def test_data_of_another_version_are_refused_and_left_alone(directory: Path) -> None:
    with EmbeddedPostgres(directory):
        pass
    (directory / "postgres" / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedError, match="14"):
        EmbeddedPostgres(directory).start()
    (directory / "postgres" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(directory) as database:
        assert database.pid is not None


def test_a_server_that_cannot_start_says_why(directory: Path) -> None:
    with pytest.raises(EmbeddedError, match="no_such_option"):
        EmbeddedPostgres(directory, options={"no_such_option": "1"}).start()
    with EmbeddedPostgres(directory) as database:
        assert database.pid is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_can_run_it(directory: Path) -> None:
    directory.mkdir()
    directory.parent.chmod(0o755)
    shutil.chown(directory, 65534, 65534)
    # Forked, not executed: the interpreter may be where only root can go.
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            database = EmbeddedPostgres(directory)
            database.start()
            database.stop()
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (directory / "postgres").stat().st_uid == 65534
    # And root goes on with that user's data without taking them from him.
    with EmbeddedPostgres(directory) as database:
        assert database.pid is not None and psutil.Process(database.pid).uids().real == 65534
