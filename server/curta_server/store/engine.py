"""Connections to PostgreSQL, and what it means when they fail.

Called by whoever needs an engine or a connection of its own; knows no table. Pools recover by themselves: a
connection that PostgreSQL closed is noticed when it is taken and replaced, so that the first request after an
outage succeeds.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg
from sqlalchemy import event, exc, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

CONNECT_TIMEOUT_S = 3.0
"""Long enough for a busy database's handshake, short enough that a request learns of an outage while it still
matters."""

POOL_TIMEOUT_S = 5.0
"""How long a request waits for a connection of its pool before it is told to come back."""

IDLE_IN_TRANSACTION_S = 5.0
"""A process that stops in the middle of a transaction loses it, so that a new leader need not wait for its
locks."""

_COMMAND_MARGIN_S = 3.0
"""The client gives up so much after the statement timeout: only when the server is not there to do so
itself."""


def dsn(url: str) -> str:
    """The URL as asyncpg takes it: libpq's form, also where a driver was named as SQLAlchemy likes it."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}"


async def connect(url: str, *, name: str, statement_timeout_s: float) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection of its own, outside every pool. The caller closes it.

    `name` is what pg_stat_activity shows; it ends with the orchestrator's id, by which a new leader finds
    what an old one left behind. Raises whatever `is_outage` tells apart.
    """
    settings = {
        "application_name": name,
        "statement_timeout": str(round(statement_timeout_s * 1000)),
        "idle_in_transaction_session_timeout": str(round(IDLE_IN_TRANSACTION_S * 1000)),
        # Our statements are short: compiling them would cost more than it saves.
        "jit": "off",
        # Whatever is wanted in an order has an index in that order. Statistics lag behind a burst of a
        # million rows; without this the planner takes them for few, and reads and sorts them for each page.
        "enable_sort": "off",
        "enable_incremental_sort": "off",
        # And whatever is joined is found by its key, however many rows the table is taken to have.
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        # A machine that vanished must not keep its connections, and its locks, for hours: half a minute.
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "4",
    }
    hosts = _hosts(dsn(url))
    turn = _turns.get(url, 0)
    for further in reversed(range(len(hosts))):
        try:
            connection = await _connect(
                hosts[turn % len(hosts)],
                name,
                command_timeout=statement_timeout_s + _COMMAND_MARGIN_S,
                server_settings=settings,
            )
        except BaseException as error:
            # The next host is for whoever asks next: the caller may have less time than a silent one takes.
            turn += 1
            _turns[url] = turn
            if not further or isinstance(error, TimeoutError) or not is_outage(error):
                raise
        else:
            _names[connection] = name
            return connection
    raise AssertionError("no host")


async def _connect(dsn: str, name: str, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
    async with asyncio.timeout(CONNECT_TIMEOUT_S) as deadline:
        _connecting[deadline] = name
        try:
            return await asyncpg.connect(dsn, **options)
        except ValueError as error:
            if isinstance(error, asyncpg.InterfaceError):
                raise
            # Its words quote the URL, and what stands at the wrong place there may be half a password.
            raise asyncpg.exceptions.ClientConfigurationError(
                "it cannot be taken apart; special characters in it must be percent-encoded"
            ) from None
        finally:
            del _connecting[deadline]


def _hosts(dsn: str) -> list[str]:
    """A URL for each host of a URL with several: the driver would give all of them together the time of
    one."""
    scheme, _, rest = dsn.partition("://")
    end = next((place for place, letter in enumerate(rest) if letter in "/?"), len(rest))
    user, at, hosts = rest[:end].rpartition("@")
    return [f"{scheme}://{user}{at}{host}{rest[end:]}" for host in hosts.split(",")]


_turns: dict[str, int] = {}
"""Which host of a URL is asked first: the one that answered last."""

_names: "WeakKeyDictionary[asyncpg.Connection[asyncpg.Record], str]" = WeakKeyDictionary()
_connecting: dict[asyncio.Timeout, str] = {}


def abandon(id: str) -> None:
    """Cut all connections whose names end so, those that are being made included, without a farewell that a
    hanging database would not hear; whoever waits for one gets an error that `is_outage` knows."""
    for connection, name in list(_names.items()):
        if name.endswith(id):
            connection.terminate()
    for deadline, name in _connecting.items():
        if name.endswith(id) and not deadline.expired():
            deadline.reschedule(0)


def create_engine(
    url: str,
    *,
    pool_size: int,
    name: str,
    statement_timeout_s: float = 30.0,
    pool_timeout_s: float = POOL_TIMEOUT_S,
    is_silent: Callable[[], bool] = lambda: False,
) -> AsyncEngine:
    """An engine for libpq's `postgresql://user:password@host:port/database`, or `…/database?host=/directory`.

    Nothing is connected yet. At most `pool_size` connections are open; who finds none free within
    `pool_timeout_s` gets an error that `is_outage` knows; so does, at once, everybody while `is_silent()`.
    The caller disposes of the engine.
    """

    def refuse_silent(*_: object) -> None:
        if is_silent():
            raise ConnectionError("the database does not answer")

    async def open_connection() -> "asyncpg.Connection[asyncpg.Record]":
        refuse_silent()
        return await connect(url, name=name, statement_timeout_s=statement_timeout_s)

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=open_connection,
        pool_size=pool_size,
        # Texts and digests do not belong into logs, and a batch would be megabytes.
        hide_parameters=True,
        max_overflow=0,
        pool_timeout=pool_timeout_s,
        # The last one used is the likeliest to be alive, and the rest may rest.
        pool_use_lifo=True,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "checkout", refuse_silent)
    return engine


def _refuse_closed(connection: Any, *_: object) -> None:
    # Cheaper than a ping: asyncpg has noticed already that the socket is gone.
    if connection.driver_connection.is_closed():
        raise exc.InvalidatePoolError("the connection was closed by the database")


async def clock_us(connection: AsyncConnection) -> int:
    """The database's time now, in microseconds since 1970 UTC."""
    found = await connection.scalar(
        text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")
    )
    assert isinstance(found, int)
    return found


def is_outage(error: BaseException) -> bool:
    """Whether the database is away or overwhelmed: try again later. False means a defect, ours or the data's.

    Knows the network's errors, the pool's and asyncpg's, also as SQLAlchemy wraps them. A deadlock, a full
    disk and a server that turned read-only (a failover) count as outages, for the same answer helps: again,
    later, on a new connection.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(is_outage(one) for one in error.exceptions)
    if isinstance(error, OSError | exc.TimeoutError | exc.DisconnectionError):
        return True  # OSError includes TimeoutError, refused connections and unknown hosts
    if isinstance(error, exc.DBAPIError):
        if error.connection_invalidated:
            return True
        cause = error.orig.__cause__ if error.orig is not None else None
        return any(found is not None and is_outage(found) for found in (error.orig, cause))
    if isinstance(error, asyncpg.InterfaceError):
        # asyncpg has one class for every misuse; a connection that was closed under us says so.
        return "closed" in str(error)
    if isinstance(error, asyncpg.InternalClientError):
        # Only standbys are there; or the server's farewell arrived between two of our messages, and asyncpg
        # lost the thread.
        return isinstance(error, asyncpg.TargetServerAttributeNotMatched) or "cannot switch to state" in str(
            error
        )
    state = _sqlstate(error)
    return state[:2] in _OUTAGE_CLASSES or state in _OUTAGE_STATES


def is_busy(error: BaseException | None) -> bool:
    """Whether a lock was not to be had in time."""
    return error is not None and any(_sqlstate(cause) == "55P03" for cause in _causes(error))


def is_duplicate(error: BaseException) -> bool:
    """Whether a row with the same key is there already."""
    return any(_sqlstate(cause) == "23505" for cause in _causes(error))


def outage_sentence(error: BaseException) -> str:
    """What people are told of an outage; the log has the error itself."""
    for cause in _causes(error):
        state = _sqlstate(cause)
        for prefix, sentence in _SENTENCES.items():
            if state.startswith(prefix):
                return sentence
        if isinstance(cause, exc.TimeoutError):
            return "Too many requests wait for the database at the moment."
    return "The database cannot be reached at the moment."


def _sqlstate(error: BaseException) -> str:
    return str(getattr(error, "sqlstate", None) or "") if isinstance(error, asyncpg.PostgresError) else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was made from."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = getattr(current, "orig", None) or current.__cause__


# By their states rather than asyncpg's classes, which do not know those of every PostgreSQL. Source: Appendix
# A of PostgreSQL's documentation.
_OUTAGE_CLASSES = frozenset(
    {
        "08",  # connection exceptions
        "40",  # transaction rollback: deadlocks, serialization, completion unknown
        "53",  # insufficient resources: disk full, out of memory, too many connections
        "57",  # operator intervention: shut down, starting up, in recovery, statement timeout
        "58",  # system errors: input and output
    }
)
_OUTAGE_STATES = frozenset(
    {
        "25006",  # a read-only transaction: a standby, before or after a failover
        "25P03",  # idle in transaction for too long: this process stood still
        "25P04",  # a transaction for too long
        "55000",  # what a standby says to locks that it cannot take
        "55P03",  # a lock that is not to be had
    }
)

_SENTENCES = {
    "53100": "The database's disk is full.",
    "53200": "The database is out of memory.",
    "53300": "The database has no connection left.",
    "25006": "The database only reads at the moment.",
    "57P03": "The database is starting or stopping.",
    "57P01": "The database is stopping.",
    "57014": "The database takes too long.",
}
