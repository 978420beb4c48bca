"""A journal whose commits are looked at: no database."""

import asyncio
from collections.abc import Sequence

from curta_server import store
from curta_server.core.crew import Run
from curta_server.journal import Journal
from curta_server.settings import Settings

ENGINE = store.create_engine("postgresql://nobody@127.0.0.1:1/nothing", pool_size=1, name="never connected")


class RememberingJournal(Journal):
    """Keeps its commits instead of storing them, each as soon as `is_open` is set; `stored` are the rows that
    the scheduler would hear of, and take out of `uncommitted` then."""

    def __init__(self, epoch: int, settings: Settings) -> None:
        super().__init__(ENGINE, epoch, settings, clock=lambda s: round(s * 1e6), stored=self._note)
        self.commits: list[tuple[store.JournalColumns, list[store.Final]]] = []
        self.stored: list[Run] = []
        self.is_open = asyncio.Event()
        self.is_open.set()

    def _note(self, runs: Sequence[Run], ended: Sequence[str]) -> None:
        self.stored += runs

    async def _commit(
        self, columns: store.JournalColumns, finals: Sequence[store.Final], started: dict[str, int]
    ) -> list[str]:
        if columns.tasks or finals:
            self.commits.append((columns, list(finals)))
        await self.is_open.wait()
        return []
