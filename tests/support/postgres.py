"""Real PostgreSQL servers for tests: fast, private to one test process, and gone with it however it ends.

A server's data lives in a temporary directory of its own, so that several test processes never meet. It does
not sync to the disk: tests kill processes, they do not cut the power.
"""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from curta_server import migrate
from curta_server.embedded import find_programs

NEWEST = "newest"
OLDEST = "oldest"

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "timezone": "UTC",
}


def programs(which: str) -> Path | None:
    """The programs of the newest PostgreSQL at hand (or CURTA_TEST_POSTGRES_BIN), or of the oldest supported
    one of the operating system (or CURTA_TEST_POSTGRES_OLDEST_BIN); None where there is none."""
    if which == NEWEST:
        given = os.environ.get("CURTA_TEST_POSTGRES_BIN")
        return Path(given) if given else find_programs()
    given = os.environ.get("CURTA_TEST_POSTGRES_OLDEST_BIN")
    if given:
        return Path(given)
    installed = Path("/usr/lib/postgresql")
    found = sorted(
        int(place.name)
        for place in (installed.iterdir() if installed.is_dir() else ())
        if place.name.isdecimal() and int(place.name) >= 15 and (place / "bin" / "initdb").exists()
    )
    return installed / str(found[0]) / "bin" if found else None


class PostgresServer:
    """A running server with a migrated template database; `database()` clones it in some milliseconds."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._directory = Path(tempfile.mkdtemp(prefix="curta-test-", dir="/tmp"))
        self._account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self._account is not None:
            os.chown(self._directory, self._account.pw_uid, self._account.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._initialize()
            self.start()
            self.sql("CREATE DATABASE template_curta", database="postgres")
            migrate.migrate(self.url("template_curta"))
        except BaseException:
            self.close()
            raise

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:@/{database}?host={self._directory}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Run one statement, outside of any event loop, and return what psql prints."""
        done = subprocess.run(
            (self._programs / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url(database)),
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def database(self, *, template: str = "template_curta") -> str:
        """A new database as the migrations leave it (or empty, of `template0`); returns its URL."""
        name = f"test_{uuid.uuid4().hex}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def drop(self, url: str) -> None:
        name = url.partition("@/")[2].partition("?")[0]
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def start(self) -> None:
        """Start it, again after `kill`; returns when it accepts connections."""
        given = [part for name, value in OPTIONS.items() for part in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                (
                    self._programs / "postgres",
                    *("-D", self._directory / "data", "-c", f"unix_socket_directories={self._directory}"),
                    *given,
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **self._identity(),
            )
        deadline = time.monotonic() + 60
        ready = (self._programs / "pg_isready", "-q", "-h", self._directory)
        while subprocess.run(ready, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._directory / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9, as if the machine had failed; its children notice and follow."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it in good order; every connection is closed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _initialize(self) -> None:
        subprocess.run(
            (
                self._programs / "initdb",
                *("-D", self._directory / "data", "-U", "postgres", "--auth=trust", "--encoding=UTF8"),
                *("--locale=C", "--no-sync"),
            ),
            check=True,
            capture_output=True,
            **self._identity(),
        )

    def _identity(self) -> dict[str, object]:
        if self._account is None:
            return {"cwd": "/"}
        return {
            "cwd": "/",
            "user": self._account.pw_uid,
            "group": self._account.pw_gid,
            "extra_groups": (),
        }


class PostgresServers:
    """The servers of one test session, each started when it is first asked for."""

    def __init__(self) -> None:
        self._running: dict[str, PostgresServer] = {}

    def get(self, which: str) -> PostgresServer | None:
        """The server of that kind; None where this machine has none."""
        if which not in self._running:
            found = programs(which)
            if found is None:
                return None
            self._running[which] = PostgresServer(found)
        return self._running[which]

    def close(self) -> None:
        for server in self._running.values():
            server.close()


def _die_with_parent() -> None:
    # Also when the test process is killed: SIGQUIT is PostgreSQL's immediate shutdown.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


on_every_postgres = pytest.mark.parametrize("postgres", [NEWEST, OLDEST], indirect=True)
"""Runs a test, or with `pytestmark` a module, on the newest and on the oldest supported PostgreSQL."""
