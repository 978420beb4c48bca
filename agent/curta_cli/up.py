"""`curta up`: everything on this machine, in one data folder.

PostgreSQL is started first and stopped last; between them the orchestrator runs in this process, and agents
run as child processes (`fleet`). What must outlive us is in the folder; everything else dies with us, kill -9
included.
"""

import asyncio
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curta_cli import logs
from curta_cli.environment import data_option, option, settings
from curta_cli.fleet import Fleet
from curta_cli.ports import check_certificate, free_port, reachable

if TYPE_CHECKING:
    from curta_server.embedded import EmbeddedPostgres
    from curta_server.settings import Settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SERVER_STOP_S = 2.7
"""What the orchestrator has to end in good order, after the agents (`fleet.STOP_S`) and before PostgreSQL.
All three together have 5 s."""

DATABASE_CHECK_S = 0.5
"""How often we look whether PostgreSQL is still there."""


@click.command(short_help="Run everything on this machine.")
@option("--agents", type=click.IntRange(0, 1000), default=2, show_default=True, metavar="N", help="How many.")
@option(
    "--slots", type=click.IntRange(1), metavar="N", help="Slots of each agent. Default: the number of cores."
)
@option("--host", default="127.0.0.1", show_default=True, metavar="H", help="Where to listen.")
@option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, metavar="P", help="0: any.")
@data_option()
@click.pass_context
def up(ctx: click.Context, agents: int, slots: int | None, host: str, port: int, data: Path) -> None:
    """Run everything on this machine: PostgreSQL in DIR, one orchestrator, N agents.

    \b
    curta up
    curta up --agents 4 --slots 2 --port 9090 --data /var/tmp/curta

    Prints a link with a token to sign in, and a curl line ready to paste. The tokens stay in DIR/admin.token
    and DIR/agent.token. Ctrl-C ends everything in good order; the next start with the same DIR goes on where
    this one ended, also after kill -9. CURTA_DATABASE_URL is ignored: see `curta server`.
    """
    logs.configure()
    from curta_server.embedded import EmbeddedError, EmbeddedPostgres

    for each in SIGNALS:
        signal.signal(each, _interrupt)
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        with EmbeddedPostgres(data) as database:
            try:
                ctx.exit(_run(database, agents, slots, host, port, data))
            finally:
                # The end has begun: one more Ctrl-C must not leave PostgreSQL half stopped.
                for each in SIGNALS:
                    signal.signal(each, signal.SIG_IGN)
                for name in ("url", "database.url"):
                    (data / name).unlink(missing_ok=True)
    except EmbeddedError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        if error.filename is None:
            raise
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


def _interrupt(number: int, frame: Any) -> None:
    """Before and after the event loop a signal unwinds the stack, so that PostgreSQL is stopped."""
    raise KeyboardInterrupt


def _run(
    database: "EmbeddedPostgres", agents: int, slots: int | None, host: str, port: int, data: Path
) -> int:
    """Everything while PostgreSQL runs. Returns the exit code."""
    import uvloop

    from curta_cli.token_files import make_token_files, write_private
    from curta_server.migrate import migrate
    from curta_server.settings import Settings

    port = free_port(host, port)
    chosen = settings(
        Settings, database_url=database.url, host=host, port=port, admin_token="", agent_token=""
    )
    check_certificate(chosen.tls_cert, chosen.tls_key)
    migrate(database.url)
    write_private(data / "database.url", database.url)
    files = {"admin": data / "admin.token", "agent": data / "agent.token"}
    make_token_files(database.url, files)
    url = f"{'https' if chosen.tls_cert else 'http'}://{reachable(host)}:{port}"
    fleet = Fleet(chosen.peer_url or url, files["agent"], agents, slots)

    def announce() -> None:
        write_private(data / "url", url)
        click.echo(_greeting(chosen.public_url or url, url, files["admin"], fleet))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(chosen, database, fleet, announce))


async def _serve(
    chosen: "Settings", database: "EmbeddedPostgres", fleet: Fleet, announce: Callable[[], None]
) -> int:
    """The orchestrator and the agents until a signal comes or the orchestrator ends."""
    from curta_server.app import serve

    loop = asyncio.get_running_loop()
    stop, ready, stop_server = asyncio.Event(), asyncio.Event(), asyncio.Event()
    for each in SIGNALS:
        loop.add_signal_handler(each, stop.set)
    async with asyncio.TaskGroup() as group:
        server = group.create_task(serve(chosen, ready=ready.set, stop=stop_server), name="orchestrator")
        server.add_done_callback(lambda ended: stop.set())
        keeper = group.create_task(_keep(database), name="keep PostgreSQL")
        stopping = group.create_task(stop.wait(), name="stop")
        starting = group.create_task(ready.wait(), name="ready")
        await asyncio.wait((stopping, starting), return_when=asyncio.FIRST_COMPLETED)
        starting.cancel()
        if not stop.is_set():
            announce()
            async with fleet:
                await stop.wait()
        stop_server.set()
        await asyncio.wait((server,), timeout=SERVER_STOP_S)
        keeper.cancel()
        server.cancel()
    return 1 if server.cancelled() else server.result()


async def _keep(database: "EmbeddedPostgres") -> None:
    """Start PostgreSQL again when it was killed; the orchestrator waits for it and goes on."""
    import structlog

    from curta_server.embedded import EmbeddedError

    log = structlog.get_logger(__name__)
    while True:
        await asyncio.sleep(DATABASE_CHECK_S)
        if await asyncio.to_thread(lambda: database.pid) is None:
            log.warning("PostgreSQL is gone; starting it again")
            try:
                await asyncio.to_thread(database.ensure_running)
            except EmbeddedError as error:
                log.error("PostgreSQL does not start", why=str(error))
                await asyncio.sleep(5)


def _greeting(public_url: str, url: str, admin_token: Path, fleet: Fleet) -> str:
    token = admin_token.read_text(encoding="utf-8").strip()
    path = shlex.quote(str(admin_token.absolute()))
    curl = f'curl -sS -H "Authorization: Bearer $(cat {path})" {url}/expressions'
    return f"""
Curta is ready, with {fleet.description}.

  In a browser:
  {public_url}/ui/#token={token}

  In another terminal:
  {curl} -d '2 + 2 * 2'

Ctrl-C ends it; the next start goes on where this one ended.
"""
