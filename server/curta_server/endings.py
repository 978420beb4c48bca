"""How rows and ends go to the journal: an expression's end beside its root's row, its value also for people.

Made by the dispatcher for one term. Rows are the scheduler's runs; an end becomes a row of the table here,
and one whose value takes long to render waits for that, and its root's row with it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

from curta_server import store
from curta_server.core import events
from curta_server.core.crew import Run
from curta_server.core.execution import Execution
from curta_server.journal import Journal
from curta_wire import numbers
from curta_wire.offload import Offload

LARGE_DIGITS: Final = 20_000
"""Longer values are rendered for people in a child process."""

ENDING_ROWS: Final = 200
"""An expression's end overtakes the rows of others if so few of its own are not durable yet."""


class Endings:
    """`executions` are the expressions in memory, `tasks` the group of the term, `clock_us` the database's
    time."""

    def __init__(
        self,
        journal: Journal,
        executions: Mapping[str, Execution],
        offload: Offload,
        tasks: asyncio.TaskGroup,
        clock_us: Callable[[], int],
    ) -> None:
        self._journal = journal
        self._executions = executions
        self._offload = offload
        self._tasks = tasks
        self._clock_us = clock_us

    def write(self, runs: Sequence[Run], finals: Sequence[events.Final]) -> None:
        """Give the rows and ends of one turn to the journal, or to the rendering. Never waits."""
        ready: list[store.Final] = []
        ending: dict[Execution, store.Final] = {}
        for final in finals:
            execution = self._executions.get(final.expression)
            if execution is None:
                continue  # cancelled in the same turn: the table has its end
            if final.value is not None and len(final.value) > LARGE_DIGITS:
                own = [run for run in runs if run.execution is execution and run.task == execution.root]
                runs = [run for run in runs if run not in own]
                self._tasks.create_task(self._render_and_write(own, execution, final))
            else:
                rendered = numbers.decimal(final.value) if final.value is not None else (None, None)
                end = self._row(execution, final, rendered)
                if len(execution.uncommitted) <= ENDING_ROWS:
                    ending[execution] = end
                else:
                    ready.append(end)
        if ending:
            runs = [run for run in runs if run.execution not in ending]
            own = [run for execution in ending for run in execution.uncommitted.values()]
            self._journal.append_ends(own, list(ending.values()))
        if runs or ready:
            self._journal.append(runs, ready)

    async def _render_and_write(self, runs: list[Run], execution: Execution, final: events.Final) -> None:
        assert final.value is not None
        rendered = await self._offload.run_anyway(numbers.decimal, final.value)
        self._journal.append(runs, [self._row(execution, final, rendered)])

    def _row(
        self, execution: Execution, final: events.Final, rendered: tuple[str | None, str | None]
    ) -> store.Final:
        error = final.error
        # Division by zero has a row, too, but is nothing that was done.
        uncommitted = sum(run.value is not None for run in execution.uncommitted.values())
        return store.Final(
            id=UUID(execution.id),
            status="done" if error is None else "failed",
            tasks_done=len(execution.plan) if error is None else execution.committed + uncommitted,
            finished_us=self._clock_us(),
            started_us=self._journal.started_us(execution.id),
            value=final.value,
            result=rendered[0],
            exact=rendered[1],
            error_code=error.code if error is not None else None,
            error_message=error.message if error is not None else None,
            error_task=error.task if error is not None else None,
        )
