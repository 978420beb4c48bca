"""The leader's shell at its edges: what crosses in one turn, and what there is too much of. No database."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from tests.support.drafts import DURATIONS, draft
from tests.support.waiting import until

from curta_server import store
from curta_server.core.crew import Agent, Run
from curta_server.core.events import Answer, Answered, Asked, Cancelled, Event, Loaded, Named
from curta_server.core.execution import Execution
from curta_server.core.scheduler import Scheduler
from curta_server.dispatcher import Dispatcher, Term, rules
from curta_server.endings import LARGE_DIGITS, Endings
from curta_server.feed import Feed
from curta_server.history import History
from curta_server.journal import COMMIT_BYTES, Journal
from curta_server.loader import FRESH_SLICE, Loader
from curta_server.pull import PullAgents
from curta_server.pull_link import PullLink, PullOutbox
from curta_server.roster import Guest
from curta_server.settings import Settings
from curta_wire import numbers
from curta_wire.frames import OPERATIONS, Assignment
from curta_wire.offload import Offload, OffloadFull

EPOCH = 3
AGENT = "0198a3a0-0000-7000-8000-0000000000aa"
ENGINE = store.create_engine("postgresql://nobody@127.0.0.1:1/nothing", pool_size=1, name="never connected")


class RememberingJournal(Journal):
    """Keeps its commits instead of storing them."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            ENGINE, EPOCH, settings, clock=lambda s: round(s * 1e6), stored=lambda runs, ended: None
        )
        self.commits: list[tuple[store.JournalColumns, list[store.Final]]] = []

    async def _commit(
        self, columns: store.JournalColumns, finals: Sequence[store.Final], started: dict[str, int]
    ) -> list[str]:
        if columns.tasks or finals:
            self.commits.append((columns, list(finals)))
        return []


class BusyOffload(Offload):
    """Full for the first few calls, then carries them out on the spot."""

    def __init__(self, full: int) -> None:
        super().__init__(1, 1)
        self.full = full

    async def run(self, function: Any, *args: Any) -> Any:
        if self.full:
            self.full -= 1
            raise OffloadFull("test")
        return function(*args)


class Rig:
    """A dispatcher that leads, with one pulling agent and a journal that remembers."""

    def __init__(self, dispatcher: Dispatcher, journal: RememberingJournal, link: PullLink) -> None:
        self.dispatcher = dispatcher
        self.journal = journal
        self.link = link

    async def task(self) -> Assignment:
        """Submit one addition, and see it handed out."""
        self.dispatcher.stored(EPOCH, [draft()])
        self.dispatcher.post(Asked(AGENT, self.link.number, 1))
        await self.dispatcher.settled()
        return self.link.outbox.tasks.pop()


@asynccontextmanager
async def leading(offload: Offload) -> AsyncIterator[Rig]:
    settings = Settings()
    dispatcher = Dispatcher(
        settings,
        journal_engine=ENGINE,
        engine=ENGINE,
        feed=Feed(),
        offload=offload,
        clock=cast(Any, SimpleNamespace(offset_s=0.0)),
        peers=lambda: [],
    )
    journal = RememberingJournal(settings)
    scheduler = Scheduler(EPOCH, rules(settings), DURATIONS, now=time.monotonic())
    guest = Guest(id=AGENT, name="a", token_id=AGENT, owner="a", slots=1, operations=OPERATIONS, pulls=True)
    link = PullLink(1, guest, asyncio.Lock())
    async with asyncio.TaskGroup() as tasks:
        endings = Endings(journal, scheduler.executions, offload, tasks, dispatcher.now_us)
        history = History(scheduler, journal, dispatcher.us)
        dispatcher._term = Term(
            EPOCH, scheduler, journal, loader(settings, dispatcher.post), endings, history
        )
        running = [tasks.create_task(dispatcher._take_turns()), tasks.create_task(journal.run())]
        dispatcher.join(link, [])
        async with asyncio.timeout(5):
            yield Rig(dispatcher, journal, link)
        for task in running:
            task.cancel()
    offload.close()


def loader(settings: Settings, post: Any) -> Loader:
    made = Loader(
        ENGINE, EPOCH, settings, post=post, clock_us=lambda: 0, values_bytes=lambda: 0, durations=DURATIONS
    )
    made._may_wait = False  # as after the first look at an empty table
    return made


async def test_an_expression_that_ends_and_is_cancelled_in_one_turn_stays_cancelled() -> None:
    async with leading(BusyOffload(0)) as rig:
        task = await rig.task()
        rig.dispatcher.post(Answered(AGENT, 1, [Answer(task.task, task.attempt, "3")]))
        rig.dispatcher.cancelled(task.task.rpartition(".")[0])
        await rig.dispatcher.settled()
        await rig.journal.flushed()
        assert rig.journal.commits == [] and rig.journal.backlog == 0


async def test_a_large_result_waits_for_its_turn_when_many_are_being_rendered() -> None:
    async with leading(BusyOffload(2)) as rig:
        task = await rig.task()
        value = "7" * (LARGE_DIGITS + 1)
        rig.dispatcher.post(Answered(AGENT, 1, [Answer(task.task, task.attempt, value)]))
        await until(lambda: bool(rig.journal.commits))
        ((columns, (final,)),) = rig.journal.commits
        assert columns.values == [value] and final.result == numbers.decimal(value)[0]


async def test_one_commit_is_promised_no_more_tasks_than_there_is_room_for() -> None:
    room = loader(Settings(loaded_tasks_max=100), lambda event: None)
    drafts = [draft(tasks=30) for _ in range(5)]
    assert [room.hold(one) for one in drafts] == [EPOCH] * 3 + [0] * 2


async def test_a_promise_that_no_commit_kept_takes_no_room() -> None:
    room = loader(Settings(loaded_tasks_max=100), lambda event: None)
    assert room.hold(draft(tasks=90)) == EPOCH
    await asyncio.sleep(0)
    assert room.hold(draft(tasks=90)) == EPOCH


async def test_thousands_of_new_expressions_come_into_memory_in_slices() -> None:
    posted: list[Event] = []
    room = loader(Settings(), posted.append)
    drafts = [draft() for _ in range(FRESH_SLICE + 2)]
    room.stored(drafts)
    assert len(posted) == FRESH_SLICE
    room.cancelled(str(drafts[-1].id))
    await until(lambda: len(posted) == FRESH_SLICE + 2)
    assert isinstance(posted[-2], Cancelled) and isinstance(posted[-1], Loaded)
    assert posted[-1].execution.id == str(drafts[-2].id), "what was cancelled on the way never came"
    assert len(room._loaded) == FRESH_SLICE + 1


async def test_large_values_go_into_commits_of_a_bounded_size() -> None:
    journal = RememberingJournal(Settings())
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


async def test_two_requests_with_one_result_both_hear_of_it_though_one_of_them_went_away() -> None:
    outbox = PullOutbox()
    named = Named("x.0", 1)
    gone, there = outbox.expect_ack(named), outbox.expect_ack(named)
    outbox.forget(named, gone)
    outbox.ack([named])
    assert there.done() and not gone.done()


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


async def test_the_end_of_a_small_expression_overtakes_the_rows_of_a_large_one() -> None:
    journal = RememberingJournal(Settings(journal_rows_max=2))
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
    journal = RememberingJournal(Settings())
    large, small = execution_of("1+2*3+4*5+6*7"), [execution_of("1+2") for _ in range(4)]
    end = [store.Final(store_id(one), "done", 1, 0, value="3", result="3") for one in small]
    journal.append([row(large, 0, "6")], [])
    for number, (one, final) in enumerate(zip(small, end, strict=True), 1):
        journal.append_ends([row(one, 0, "3")], [final])
        await journal._write_some()
        journal.append([row(large, number, "20")], [])
    assert [len(columns) for columns, _ in journal.commits] == [1, 3, 1, 3]
    assert [finals for _, finals in journal.commits] == [[final] for final in end]


async def test_what_nobody_fetched_in_time_is_not_given_to_a_pulling_agent_that_comes_late() -> None:
    async with leading(BusyOffload(0)) as rig:
        pull = PullAgents(rig.dispatcher, ENGINE)
        pull._links[AGENT] = rig.link
        token = cast(Any, SimpleNamespace(id=UUID(AGENT), name="a"))
        rig.link.outbox.push([Assignment("x.0", EPOCH << 20 | 1, "addition", ("1", "2"), 0)])
        assert await pull.take(token, None, 1, None, 0.0) == [], "it is in other hands by now"
        rig.dispatcher.stored(EPOCH, [draft()])
        (task,) = await pull.take(token, None, 1, None, 1.0)
        assert task.task != "x.0"
