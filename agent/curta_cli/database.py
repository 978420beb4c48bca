"""`curta migrate` and `curta prune`, and how commands reach the database directly.

`curta token` uses this as well: it works without an orchestrator, so that a lost administrator's token is
replaced.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from curta_cli import logs
from curta_cli.environment import Span, data_option, option, secret
from curta_cli.rest import Unreachable

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from curta_server.prune import Pruned

T = TypeVar("T")

STATEMENT_S = 60.0
"""Nobody waits for these commands; a lock may have to be waited for."""


@click.command(short_help="Bring the database's schema up to date.")
@option(
    "--tokens",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Make tokens, too: DIR/admin.token and DIR/agent.token, where they are missing or not usable.",
)
@option(
    "--agent-token-in",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Put agent.token here instead, where agents can see it and nothing else.",
)
@data_option()
def migrate(tokens: Path | None, agent_token_in: Path | None, data: Path) -> None:
    """Bring the schema of the database that CURTA_DATABASE_URL names up to date.

    \b
    curta migrate
    curta migrate --tokens /var/lib/curta/tokens

    Several at once take turns. The previous release goes on working on the new schema, so migrate first and
    replace the orchestrators then.
    """
    logs.configure()
    if agent_token_in is not None and tokens is None:
        raise click.UsageError("--agent-token-in is of use with --tokens only.")
    url = find(data)
    with explained():
        from curta_server.migrate import migrate as bring_up_to_date

        revision = bring_up_to_date(url)
    click.echo(f"The schema is at revision {revision}.")
    if tokens is not None:
        from curta_cli.token_files import make_token_files

        files = {"admin": tokens / "admin.token", "agent": (agent_token_in or tokens) / "agent.token"}
        with explained():
            made = make_token_files(url, files)
        for path in made:
            click.echo(f"Made {path}.")


@click.command(short_help="Delete old expressions.")
@option(
    "--older-than",
    type=Span(),
    required=True,
    metavar="AGE",
    help="How long ago they ended: 30d, 12h, 90m, 45s.",
)
@data_option()
def prune(older_than: float, data: Path) -> None:
    """Delete the expressions that ended longer ago than AGE, with their journals, in small batches.

    \b
    curta prune --older-than 30d

    What is unfinished is never touched. An orchestrator prunes by itself: journals after
    CURTA_KEEP_JOURNAL_DAYS (7), expressions after CURTA_KEEP_DAYS (never).
    """
    logs.configure()
    # The server's function takes 0 for "leave alone"; here it means everything that has ended.
    days = max(older_than, 0.001) / 86400

    async def work(engine: "AsyncEngine") -> "Pruned":
        from curta_server.prune import prune as delete

        return await delete(engine, days=days)

    pruned = reach(find(data), "curta prune", work)
    click.echo(f"Deleted {pruned.expressions} expressions and {pruned.journal_rows} journal rows.")


def find(data: Path) -> str:
    """The database of CURTA_DATABASE_URL, or of the `curta up` that runs in `data`.

    Raises: UsageError when there is neither.
    """
    if url := secret("database_url"):
        return url
    try:
        return (data / "database.url").read_text(encoding="utf-8").strip()
    except OSError:
        raise click.UsageError(
            "Which database? Set CURTA_DATABASE_URL or CURTA_DATABASE_URL_FILE, "
            f"or start `curta up` first ({data / 'database.url'} is not there)."
        ) from None


def reach(url: str, name: str, work: "Callable[[AsyncEngine], Awaitable[T]]") -> T:
    """Run the coroutine `work(engine)` on a migrated database, and return what it returns.

    Raises: ClickException for a database that is away, unknown or not migrated.
    """

    async def run() -> T:
        from curta_server import store
        from curta_server.migrate import schema_state

        engine = store.create_engine(url, pool_size=1, name=name, statement_timeout_s=STATEMENT_S)
        try:
            require_schema((await schema_state(engine)).current)
            return await work(engine)
        finally:
            await engine.dispose()

    with explained():
        return asyncio.run(run())


def require_schema(current: str | None) -> None:
    """Refuse an empty database. Raises: ClickException."""
    if current is None:
        raise click.ClickException("The database has no schema: run `curta migrate` first.")


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what databases say into sentences: Unreachable for one that is away, ClickException for a wrong
    URL and for a migration that failed."""
    import asyncpg

    from curta_server import store
    from curta_server.migrate import MigrationFailed

    try:
        yield
    except click.ClickException:
        raise
    except MigrationFailed as error:
        raise click.ClickException(f"{error}.") from None
    except Exception as error:
        for cause in _causes(error):
            if isinstance(
                cause, asyncpg.InvalidAuthorizationSpecificationError | asyncpg.InvalidCatalogNameError
            ):
                raise click.ClickException(f"The database refuses us: {cause}.") from None
            if isinstance(cause, asyncpg.exceptions.ClientConfigurationError):
                raise click.UsageError(f"CURTA_DATABASE_URL is not a postgresql:// URL: {cause}.") from None
        if store.is_outage(error):
            raise Unreachable(f"The database cannot be reached: {error}.") from None
        raise


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was made from."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__
