"""Connections to PostgreSQL, and what it means when they fail.

Called by whoever needs an engine or a connection of its own; knows no table. Pools recover by themselves: a
connection that PostgreSQL closed is noticed when it is taken and replaced, so that the first request after an
outage succeeds.
"""

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
    }
    connection = await asyncpg.connect(
        dsn(url),
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=statement_timeout_s + _COMMAND_MARGIN_S,
        server_settings=settings,
    )
    _names[connection] = name
    return connection


_names: "WeakKeyDictionary[asyncpg.Connection[asyncpg.Record], str]" = WeakKeyDictionary()


def abandon(id: str) -> None:
    """Cut all connections whose names end so, without a farewell that a hanging database would not hear;
    whoever waits for one gets an error that `is_outage` knows."""
    for connection, name in list(_names.items()):
        if name.endswith(id):
            connection.terminate()


def create_engine(
    url: str,
    *,
    pool_size: int,
    name: str,
    statement_timeout_s: float = 30.0,
    pool_timeout_s: float = POOL_TIMEOUT_S,
) -> AsyncEngine:
    """An engine for libpq's `postgresql://user:password@host:port/database`, or `…/database?host=/directory`.

    Nothing is connected yet. At most `pool_size` connections are open; who finds none free within
    `pool_timeout_s` gets an error that `is_outage` knows. The caller disposes of the engine.
    """

    async def open_connection() -> "asyncpg.Connection[asyncpg.Record]":
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

    Knows the network's errors, the pool's and asyncpg's, also as SQLAlchemy wraps them. A deadlock and a
    server that turned read-only (a failover) count as outages, for the same answer helps: again, on a new
    connection.
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
        # The server's farewell arrived between two of our messages, and asyncpg lost the thread.
        return "cannot switch to state" in str(error)
    return isinstance(error, _OUTAGES)


_OUTAGES = (
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.OperatorInterventionError,  # 57: shut down, starting up, statement timeout
    asyncpg.InsufficientResourcesError,  # 53: too many connections, disk full
    asyncpg.PostgresSystemError,  # 58
    asyncpg.TransactionRollbackError,  # 40: deadlock
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.exceptions.LockNotAvailableError,
)
