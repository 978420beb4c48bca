"""The leader's shell at its edges: what crosses in one turn, and what there is too much of. No database."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from tests.support.drafts import DURATIONS, draft
from tests.support.journals import ENGINE, RememberingJournal
from tests.support.waiting import until

from curta_server.clock import DatabaseClock
from curta_server.core.events import Answer, Answered, Asked, Cancelled, Event, Loaded, Named
from curta_server.core.scheduler import Scheduler
from curta_server.dispatcher import Dispatcher, Term, rules
from curta_server.endings import LARGE_DIGITS, Endings
from curta_server.feed import Feed
from curta_server.history import History
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
        clock=DatabaseClock(),
        peers=lambda: [],
    )
    journal = RememberingJournal(EPOCH, settings)
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


async def test_two_requests_with_one_result_both_hear_of_it_though_one_of_them_went_away() -> None:
    outbox = PullOutbox()
    named = Named("x.0", 1)
    gone, there = outbox.expect_ack(named), outbox.expect_ack(named)
    outbox.forget(named, gone)
    outbox.ack([named])
    assert there.done() and not gone.done()


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
