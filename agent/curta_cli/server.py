"""`curta server`: one orchestrator, until it is told to stop."""

import asyncio
import dataclasses
from typing import Any

import click

from curta_cli import logs
from curta_cli.database import explained, require_schema
from curta_cli.environment import option, settings
from curta_cli.ports import check_certificate, free_port


@click.command(short_help="Run one orchestrator.")
@option("--host", metavar="H", help="Where to listen. Default: 127.0.0.1.")
@option("--port", type=click.IntRange(0, 65535), metavar="P", help="Default: 8080.")
@option("--public-url", metavar="URL", help="Where people reach it. Default: http://H:P.")
@option(
    "--peer-url",
    metavar="URL",
    help="Where agents and other orchestrators reach it. Default: the public URL.",
)
@option("--tls-cert", metavar="FILE", help="Certificate chain (PEM), to serve https and wss.")
@option("--tls-key", metavar="FILE", help="The certificate's key (PEM).")
@option("--trusted-proxies", metavar="ADDRESS,...", help="Proxies whose forwarded headers are believed.")
@click.pass_context
def server(ctx: click.Context, /, **flags: Any) -> None:
    """Run one orchestrator on the database that CURTA_DATABASE_URL (or CURTA_DATABASE_URL_FILE) names.

    \b
    export CURTA_DATABASE_URL_FILE=/run/secrets/database.url
    curta migrate && curta server --host 0.0.0.0 --public-url https://curta.example.org

    It never migrates: run `curta migrate` first. On a database without any token, CURTA_ADMIN_TOKEN and
    CURTA_AGENT_TOKEN (at least 32 characters each) become tokens. docs/settings.md lists every other
    variable.
    """
    from curta_server.settings import Settings

    chosen = settings(Settings, **flags)
    if not chosen.database_url:
        raise click.UsageError("Which database? Set CURTA_DATABASE_URL or CURTA_DATABASE_URL_FILE.")
    for name in ("admin_token", "agent_token"):
        if 0 < len(getattr(chosen, name)) < 32:
            raise click.UsageError(f"CURTA_{name.upper()} must have at least 32 characters.")
    check_certificate(chosen.tls_cert, chosen.tls_key)
    logs.configure()
    chosen = dataclasses.replace(chosen, port=free_port(chosen.host, chosen.port))
    import uvloop

    with explained(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_check_schema(chosen.database_url))
    from curta_server.app import serve

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ctx.exit(runner.run(serve(chosen)))


async def _check_schema(url: str) -> None:
    """Refuse to start on a database that was not migrated; one that is away is waited for by the server.

    Raises: ClickException.
    """
    from curta_server import store
    from curta_server.migrate import schema_state

    engine = store.create_engine(url, pool_size=1, name="curta schema", statement_timeout_s=10.0)
    try:
        state = await schema_state(engine)
    except Exception as error:
        if store.is_outage(error):
            return
        raise
    finally:
        await engine.dispose()
    require_schema(state.current)
    if not state.is_ready:
        raise click.ClickException(
            f"The database has the schema of an older release ({state.current}): run `curta migrate` first."
        )
