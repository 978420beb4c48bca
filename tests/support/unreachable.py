"""A database that is nowhere."""

from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from curta_server.credentials import Credentials


def lose_the_database(credentials: Credentials) -> AsyncEngine:
    """From now on it cannot be reached for these: the engine that tries in vain, to be disposed of."""
    nowhere = store.create_engine("postgresql://u@/x?host=/no/such/directory", pool_size=1, name="curta test")
    credentials._engine = credentials._known._engine = nowhere
    return nowhere
