"""What the journal puts into one commit, and in which order. No database."""

import asyncio
from itertools import chain
from uuid import UUID

import pytest
from tests.support.drafts import draft
from tests.support.journals import RememberingJournal
from tests.support.waiting import until

from curta_server import store
from curta_server.core.crew import Agent, Run
from curta_server.core.execution import Execution
from curta_server.journal import COMMIT_BYTES
from curta_server.settings import Settings

EPOCH = 3
AGENT = "0198a3a0-0000-7000-8000-0000000000aa"


def execution_of(text: str) -> Execution:
    one = draft(text)
    return Execution(str(one.id), one.plan, one.durations)


def store_id(execution: Execution) -> UUID:
    return UUID(execution.id)


def row(execution: Execution, task: int, value: str) -> Run:
    run = Run(execution, task, execution.name(task), EPOCH << 20 | 1, Agent(AGENT, {}), 0, 0, 0.0)
    run.value = value
    execution.uncommitted[task] = run
    return run


async def test_large_values_go_into_commits_of_a_bounded_size() -> None:
    journal = RememberingJournal(EPOCH, Settings())
    ending, other = (execution_of("1+2*3+4*5") for _ in range(2))
    value = "7" * (COMMIT_BYTES // 3)
    final = store.Final(store_id(ending), "done", 4, 0, value=value, result=value)
    rows = [row(execution, task, value) for task in range(4) for execution in (ending, other)]
    journal.append(rows, [final])
    for _ in range(4):
        journal.append([row(execution_of("1+2"), 0, value)], [])
    running = asyncio.create_task(journal.run())
    await journal.flushed()
    running.cancel()
    commits = journal.commits
    assert sum(len(columns) for columns, _ in commits) == 12 and journal.backlog == 0
    with_ends = [columns for columns, finals in commits if finals]
    assert len(with_ends) == 1
    assert with_ends[0].tasks[-1] == ending.root and with_ends[0].expression_ids[-1] == ending.id
    others = [columns for columns, finals in commits if not finals]
    assert max(len(columns) for columns in others) <= 3


async def test_the_end_of_a_small_expression_overtakes_the_rows_of_a_large_one() -> None:
    journal = RememberingJournal(EPOCH, Settings(journal_rows_max=2))
    large, small = execution_of("1+2*3+4*5+6*7"), execution_of("8+9*10")
    journal.append([row(large, task, "1") for task in range(2)], [])
    journal.append([row(small, 0, "90")], [])
    journal.append([row(large, task, "1") for task in range(2, 4)], [])
    end = store.Final(store_id(small), "done", 2, 0, value="98", result="98")
    journal.append_ends([small.uncommitted[0], row(small, small.root, "98")], [end])
    running = asyncio.create_task(journal.run())
    await journal.flushed()
    running.cancel()
    first, finals = journal.commits[0]
    assert finals == [end]
    rows = zip(first.tasks, first.expression_ids, strict=True)
    assert [task for task, id in rows if id == small.id] == [0, 1]
    assert sum(len(columns) for columns, _ in journal.commits) == 6
    assert journal.backlog == 0


async def test_ends_go_alone_every_second_time_and_rows_never_wait_longer() -> None:
    journal = RememberingJournal(EPOCH, Settings())
    large, small = execution_of("1+2*3+4*5+6*7"), [execution_of("1+2") for _ in range(4)]
    end = [store.Final(store_id(one), "done", 1, 0, value="3", result="3") for one in small]
    journal.append([row(large, 0, "6")], [])
    for number, (one, final) in enumerate(zip(small, end, strict=True), 1):
        journal.append_ends([row(one, 0, "3")], [final])
        await journal._write_some()
        journal.append([row(large, number, "20")], [])
    assert [len(columns) for columns, _ in journal.commits] == [1, 3, 1, 3]
    assert [finals for _, finals in journal.commits] == [[final] for final in end]


@pytest.mark.parametrize("commits_before", [0, 1])
async def test_rows_that_an_end_brings_along_are_not_stored_again(commits_before: int) -> None:
    journal = RememberingJournal(EPOCH, Settings())
    journal.is_open.clear()
    execution = execution_of("1+2*3+4*5")
    runs = [row(execution, task, "1") for task in range(4)]
    final = store.Final(store_id(execution), "done", 4, 0, value="1", result="1")
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
        running = tasks.create_task(journal.run())
        for run in runs[:3]:
            journal.append([run], [])
        if commits_before:
            await until(lambda: bool(journal.commits))
        journal.append_ends(runs, [final])
        journal.is_open.set()
        await journal.flushed()
        running.cancel()
    commits = [list(columns.tasks) for columns, _ in journal.commits]
    assert sorted(run.task for run in journal.stored) == [0, 1, 2, 3]
    assert sorted(chain.from_iterable(commits)) == [0, 1, 2, 3]
    assert commits[commits_before][-1] == 3
    assert journal.backlog == 0 and not journal.is_full
