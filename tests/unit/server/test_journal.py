"""The journal stores each row once, also one that was on its way when its expression ended."""

import asyncio
from collections.abc import Sequence
from itertools import chain
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from tests.support.waiting import until

from curta_server import store
from curta_server.core.crew import Run
from curta_server.journal import Journal
from curta_server.settings import Settings

ENGINE = store.create_engine("postgresql://nobody@127.0.0.1:1/nothing", pool_size=1, name="never connected")


class SlowJournal(Journal):
    """Keeps its commits instead of storing them, each when it is let."""

    def __init__(self) -> None:
        super().__init__(ENGINE, 1, Settings(), clock=lambda s: round(s * 1e6), stored=self._note)
        self.commits: list[list[int]] = []
        self.stored: list[int] = []
        self.may = asyncio.Semaphore(0)

    def _note(self, runs: Sequence[Run], ended: Sequence[str]) -> None:
        # The scheduler hears of it later, and takes them out of `uncommitted` then.
        self.stored += [run.task for run in runs]

    async def _commit(
        self, columns: store.JournalColumns, finals: Sequence[store.Final], started: dict[str, int]
    ) -> list[str]:
        self.commits.append(list(columns.tasks))
        await self.may.acquire()
        return [str(final.id) for final in finals]


def expression_of(tasks: int) -> tuple[list[Run], store.Final]:
    """An expression whose tasks are all computed, none of them durable; and its end."""
    execution = cast(Any, SimpleNamespace(id=str(uuid4()), uncommitted={}))
    runs = [
        Run(execution, task, f"x.{task}", 1, cast(Any, SimpleNamespace(id=str(uuid4()))), 1, 5, 0.0)
        for task in range(tasks)
    ]
    for run in runs:
        run.value = "1"
        execution.uncommitted[run.task] = run
    final = store.Final(id=execution.id, status="done", tasks_done=tasks, finished_us=0, value="1")
    return runs, final


@pytest.mark.parametrize("commits_before", [0, 1])
async def test_rows_that_an_end_brings_along_are_not_stored_again(commits_before: int) -> None:
    journal = SlowJournal()
    runs, final = expression_of(4)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        running = tasks.create_task(journal.run())
        for run in runs[:3]:
            journal.append([run], [])
        if commits_before:
            await until(lambda: bool(journal.commits))
        journal.append_ends(runs, [final])
        for _ in range(10):
            journal.may.release()
        await journal.flushed()
        running.cancel()
    assert sorted(journal.stored) == [0, 1, 2, 3]
    assert sorted(chain.from_iterable(journal.commits)) == [0, 1, 2, 3]
    assert journal.commits[commits_before][-1] == 3
    assert journal.backlog == 0 and not journal.is_full
