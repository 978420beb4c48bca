"""What some peers need running: a Redis of the benchmark's own, and a database beside Curta's.

Both listen on this machine only and are gone when their block ends. How far each keeps what it was told is
part of a peer's figure, so it is set here and nowhere else.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from bench.peers import environment
from bench.processes import command, free_ports, until
from curta_server.embedded import EmbeddedPostgres

DATABASE = "bench_peer"
START_S = 30.0

REDIS_OPTIONS = {
    # What BullMQ and Celery ask for: an append-only file, synced once a second (not with each write), and
    # nothing evicted.
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "save": "",
    "bind": "127.0.0.1",
    "daemonize": "no",
}


@asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[dict[str, str]]:
    """A Redis with its data in `folder`, answering; gives the environment that names it.

    Raises: environment.Missing where there is none, RuntimeError or TimeoutError where it does not start.
    """
    program = environment.redis_server()
    (port,) = free_ports(1)
    options = REDIS_OPTIONS | {"port": str(port), "dir": str(folder)}
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    said = folder / "redis.log"
    with said.open("wb") as log, command((program, *given), output=log) as server:
        try:
            await until(lambda: _answers(port), server, every_s=0.05, within_s=START_S)
        except RuntimeError:
            last = said.read_text(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"redis-server ended by itself: {' '.join(last)}") from None
        yield {"BENCH_REDIS_PORT": str(port), "BENCH_REDIS_VERSION": await _version(program)}


@asynccontextmanager
async def postgres(server: EmbeddedPostgres) -> AsyncIterator[dict[str, str]]:
    """An empty database on the server that Curta uses, so under the same settings; gives the environment that
    libpq and its like take it from."""
    await _execute(server, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    await _execute(server, f"CREATE DATABASE {DATABASE}")
    try:
        host = parse_qs(urlsplit(server.url).query)["host"][0]
        yield {"PGHOST": host, "PGUSER": "postgres", "PGDATABASE": DATABASE}
    finally:
        await _execute(server, f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


async def _execute(server: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _version(program: str) -> str:
    asked = await asyncio.create_subprocess_exec(program, "--version", stdout=asyncio.subprocess.PIPE)
    said, _ = await asked.communicate()
    return "".join(re.findall(r"v=(\S+)", said.decode()))


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.write(b"PING\r\n")
    answer = await reader.readline()
    writer.close()
    return answer.startswith(b"+PONG")
