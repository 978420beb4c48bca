"""How Alembic reaches the database: through the connection that `curta_server.migrate` hands over.

Run by Alembic's own command line (to make a new revision), it takes CURTA_DATABASE_URL. Offline SQL is not
offered: a release's migrations run by `curta migrate` only.
"""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from curta_server import store
from curta_server.tables import metadata


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_server_default=True)
    with context.begin_transaction():
        context.run_migrations()


async def run_alone() -> None:
    engine = store.create_engine(os.environ["CURTA_DATABASE_URL"], pool_size=1, name="curta alembic")
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


given = context.config.attributes.get("connection")
if given is None:
    asyncio.run(run_alone())
else:
    run(given)
