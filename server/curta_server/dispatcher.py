"""The dispatcher owns the scheduler while this orchestrator leads: one inbox, one loop, and it does what it
is told.

Sessions, routes, journal and loader post events; a turn takes all that gathered, asks the scheduler, and
performs its commands without waiting anywhere: what takes time is the journal's, the loader's or an
outbox's. Between two turns everybody may look (`views`), because nobody else changes anything.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import metrics, store
from curta_server.clock import DatabaseClock
from curta_server.core.crew import Run
from curta_server.core.events import (
    Blocked,
    Commands,
    Drained,
    Event,
    Joined,
    Left,
    Named,
    Removed,
    Stored,
    Ticked,
    Unsent,
)  # fmt: skip
from curta_server.core.scheduler import Rules, Scheduler
from curta_server.endings import Endings
from curta_server.errors import NotLeading, unavailable
from curta_server.feed import Feed
from curta_server.history import History
from curta_server.inbox import Inbox
from curta_server.journal import Journal
from curta_server.link import Link
from curta_server.links import Links
from curta_server.loader import Loader
from curta_server.looking import Looking, operand
from curta_server.roster import Roster
from curta_server.settings import Settings
from curta_wire.frames import OPERATIONS, Assignment, Attempt, Welcome
from curta_wire.offload import Offload

log = structlog.get_logger()

TICK_S = 0.2
LATE_S = 0.1
"""A tick that comes later than this extends the leases by as much."""


@dataclass(slots=True)
class Term:
    """What exists only while leading."""

    epoch: int
    scheduler: Scheduler
    journal: Journal
    loader: Loader
    endings: Endings
    history: History


class Dispatcher(Looking):
    """One for the process; `leading` says whether there is a term now."""

    def __init__(
        self,
        settings: Settings,
        *,
        journal_engine: AsyncEngine,
        engine: AsyncEngine,
        feed: Feed,
        offload: Offload,
        clock: DatabaseClock,
        peers: Callable[[], Sequence[str]],
    ) -> None:
        self._settings = settings
        self._journal_engine = journal_engine
        self._engine = engine
        self._feed = feed
        self._offload = offload
        self._clock = clock
        self._peers = peers
        self._inbox = Inbox()
        self.links = Links()
        self._term: Term | None = None
        self._is_resigning = False
        self._blocked = False
        self.roster = Roster(engine, self.now_us)

    # --- the term ---------------------------------------------------------------------------------

    @property
    def leading(self) -> bool:
        return self._term is not None and not self._is_resigning

    @property
    def term(self) -> Term | None:
        """The term as it is now; for those who look."""
        return self._term

    def leader(self) -> Term:
        """The term. Raises: Problem 503 while this orchestrator does not lead."""
        if self._term is None or self._is_resigning:
            raise unavailable("no orchestrator leads at the moment; try again")
        return self._term

    def now_us(self) -> int:
        """The database's time now."""
        return self._clock.now_us()

    def us(self, monotonic_s: float) -> int:
        return self._clock.us(monotonic_s)

    async def lead(self, epoch: int) -> None:
        """Lead for one term, until cancelled. Raises: NotLeading (perhaps in a group) when the term is
        over."""
        settings = self._settings
        operations, expected, lost_us = await self._read_the_table(epoch)
        durations = [0] * len(OPERATIONS)
        for row in operations:
            durations[OPERATIONS.index(row.name)] = row.duration_ms
        scheduler = Scheduler(
            epoch, rules(settings), durations, expected=map(str, expected), now=time.monotonic()
        )
        for agent, us in lost_us.items():
            scheduler.crew.recall(agent, self._clock.monotonic_s(us))
        journal = Journal(self._journal_engine, epoch, settings, clock=self.us, stored=self._stored)
        loader = Loader(
            self._engine, epoch, settings, post=self.post, clock_us=self.now_us, durations=durations,
            values_bytes=lambda: sum(e.values_bytes for e in scheduler.executions.values()),
        )  # fmt: skip
        history = History(scheduler, journal, self.us)
        self._inbox.clear()
        self._blocked = False
        self._is_resigning = False
        log.info("leading", epoch=epoch, expected_agents=len(expected))
        try:
            async with asyncio.TaskGroup() as tasks:
                endings = Endings(journal, scheduler.executions, self._offload, tasks, self.now_us)
                self._term = Term(epoch, scheduler, journal, loader, endings, history)
                tasks.create_task(self._take_turns(), name="turns")
                tasks.create_task(self._tick(), name="ticks")
                tasks.create_task(journal.run(), name="journal")
                tasks.create_task(loader.run(), name="loader")
                tasks.create_task(self.roster.run(), name="roster")
                tasks.create_task(history.run(), name="history")
                self._feed.changed.touch_everything()
        finally:
            self._term = None
            self._feed.changed.touch_everything()
            self._inbox.clear()
            for link in self.links:
                link.outbox.close(1012 if self._is_resigning else 1013, "this orchestrator stops leading")

    async def _read_the_table(self, epoch: int) -> tuple[list[store.OperationRow], set[UUID], dict[str, int]]:
        """The operations, who is to be waited for, and who is lost since when."""
        while True:
            try:
                async with self._engine.connect() as connection:
                    operations = await store.operations(connection)
                    expected = await store.connected_agents(connection)
                return operations, expected, await self.roster.load(epoch)
            except Exception as error:
                if not store.is_outage(error):
                    raise
                log.warning("a term begins when the database is back", error=repr(error))
                await asyncio.sleep(0.5)

    async def resign(self) -> None:
        """Before an orderly stop: hand out nothing more, make durable and acknowledge what has arrived."""
        if self._term is None:
            return
        self._is_resigning = True
        self.post(Blocked(True))
        self._term.journal.flush_started()
        await self.settled()
        await self._term.journal.flushed()
        await self.settled()
        for link in self.links:
            link.outbox.flush()

    # --- events come in ---------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Something happened; it is dealt with in the next turn. Never waits. Without a term nobody needs to
        know: the next one begins with what the table says and with who says hello."""
        if self._term is not None:
            self._inbox.post(event)

    async def settled(self) -> None:
        """Return when everything posted before has been dealt with (or the term is over)."""
        if self._term is not None:
            await self._inbox.settled()

    def join(self, link: Link, held: Collection[Named]) -> None:
        """A session begins. Raises: Problem 503 where this orchestrator does not lead."""
        self.leader()
        guest = link.guest
        self.links.add(link)
        self.roster.came(guest)
        mask = sum(1 << OPERATIONS.index(operation) for operation in guest.operations)
        self.post(
            Joined(
                guest.id,
                link.number,
                guest.slots,
                mask,
                held,
                draining=self.roster.is_draining(guest.id),
                pulls=guest.pulls,
            )
        )

    def say_bye(self, link: Link) -> None:
        """The agent leaves on purpose: what it still holds is ready at once; its last acks still go out."""
        self.roster.left(link.guest.id)
        self.post(Left(link.guest.id, link.number, bye=True))

    def leave(self, link: Link) -> None:
        """A session is over."""
        self.links.discard(link)
        self.post(Left(link.guest.id, link.number))

    def cancelled(self, expression: str) -> None:
        """The expression was cancelled in the table."""
        self._feed.publish_final(expression)
        if self._term is not None:
            self._term.loader.cancelled(expression)

    def set_duration(self, operation: str, duration_ms: int) -> None:
        """The operation's duration was changed in the table."""
        if self._term is not None:
            self._term.loader.set_duration(OPERATIONS.index(operation), duration_ms)

    async def drain(self, agent: str) -> bool:
        """No new tasks for the agent, also when it comes back. False: no such agent."""
        self.leader()
        if not await self._written(self.roster.drain(agent)):
            return False
        self.post(Drained(agent))
        return True

    async def remove(self, agent: str) -> bool:
        """Disconnect the agent, hand its tasks out again, and keep it out for a while. False: no such
        agent."""
        self.leader()
        if not await self._written(self.roster.remove(agent)):
            return False
        self.post(Removed(agent))
        for link in self.links:
            if link.guest.id == agent:
                self._dismiss(link, 4003, "removed by an admin")
        return True

    async def _written(self, change: Awaitable[bool]) -> bool:
        """What a change of the roster comes to. Raises: Problem 503 where another term has begun meanwhile:
        its leader has read the table already, and is to be told itself."""
        try:
            return await change
        except NotLeading:
            raise unavailable("the leader changed just now; try again") from None

    def revoke(self, link: Link) -> None:
        """The token that let the session in is no longer valid."""
        code, reason = 4001, "the token was revoked"
        if self.links.current(link.guest.id) is link:
            self.roster.left(link.guest.id)
            self.post(Removed(link.guest.id, code, reason))
        self._dismiss(link, code, reason)

    def _dismiss(self, link: Link, code: int, reason: str) -> None:
        """End the session now, also one that the scheduler does not know any more, because it said `bye`."""
        link.outbox.close(code, reason)
        if link.guest.pulls:
            self.leave(link)  # no connection will end for it

    # --- new expressions --------------------------------------------------------------------------

    def hold(self, draft: store.Draft) -> int:
        """The epoch under which this process will hold the expression in memory; 0: it waits in the table."""
        return self._term.loader.hold(draft) if self._term is not None and self.leading else 0

    def stored(self, epoch: int, drafts: Sequence[store.Draft]) -> None:
        """These are durable under the epoch that `hold` said."""
        if self._term is not None and self._term.epoch == epoch:
            self._term.loader.stored(drafts)

    def wake_loader(self) -> None:
        """Something may be new in the table."""
        if self._term is not None:
            self._term.loader.wake()

    # --- turns ------------------------------------------------------------------------------------

    async def _take_turns(self) -> None:
        assert self._term is not None
        scheduler, journal, inbox = self._term.scheduler, self._term.journal, self._inbox
        history = self._term.history
        again = False
        while True:
            if not again:
                await inbox.something()
            else:
                await asyncio.sleep(0)
            posted_s = inbox.posted_s
            events = inbox.take()
            blocked = journal.is_full or self._is_resigning
            if blocked != self._blocked:
                self._blocked = blocked
                events.append(Blocked(blocked))
            commands = scheduler.handle(events, time.monotonic())
            if self._feed.changed.is_looked_at:
                self._feed.changed.turn(events, commands, self._term.loader.owner)
            self._perform(commands)
            again = commands.again or bool(inbox)
            inbox.settle()
            if events:
                took_s = time.perf_counter() - posted_s
                metrics.dispatch_seconds.observe(took_s)
                history.dispatched(took_s)

    def _perform(self, commands: Commands) -> None:
        """Do what the scheduler decided. Only puts things where others take them: nothing here waits."""
        assert self._term is not None
        if commands.journal or commands.finals:
            self._term.endings.write(commands.journal, commands.finals)
        for closed in commands.closes:
            link = self.links.numbered(closed.session)
            if link is not None:
                log.info("closing a session", agent=closed.agent, code=closed.code, reason=closed.reason)
                link.outbox.close(closed.code, closed.reason)
        for welcomed in commands.welcomes:
            link = self.links.numbered(welcomed.session)
            if link is not None:
                link.outbox.welcome(self._welcome(welcomed.keep, welcomed.drop))
        for agent in commands.drains:
            if link := self._link(agent):
                link.outbox.drain()
        for agent, attempts in commands.cancels.items():
            if link := self._link(agent):
                unsent = link.outbox.cancel(attempts)
                if unsent:
                    self.post(Unsent(agent, link.number, unsent))
        for agent, runs in commands.pushes.items():
            if link := self._link(agent):
                link.outbox.push([self.assignment(run) for run in runs])
        for agent, stored in commands.acks.items():
            if link := self._link(agent):
                link.outbox.ack(stored, answers=commands.beats.get(agent, 0))
        for execution in commands.started:
            assert execution.started_s is not None
            self._term.journal.note_started(execution.id, self.us(execution.started_s))
        for expression in commands.dropped:
            self._term.loader.dropped(expression)
            self._feed.publish_final(expression)
        for agent in commands.lost:
            self.roster.lost(agent)
            link = self.links.current(agent)
            if link is not None and link.guest.pulls:
                self.leave(link)  # no connection will end for it
        if commands.unknown:
            self._term.loader.look_up(commands.unknown)

    def _link(self, agent: str) -> Link | None:
        """The session to say it to."""
        assert self._term is not None
        known = self._term.scheduler.crew.agents.get(agent)
        return self.links.heard_of(agent, None if known is None else known.session)

    def _welcome(self, keep: Sequence[Named], drop: Sequence[Named]) -> Welcome:
        settings = self._settings
        return Welcome(
            heartbeat_s=settings.heartbeat_s,
            idle_heartbeat_s=settings.idle_heartbeat_s,
            lease_s=settings.lease_s,
            keep=[Attempt(*one) for one in keep],
            drop=[Attempt(*one) for one in drop],
            peers=list(self._peers()),
        )

    def assignment(self, run: Run) -> Assignment:
        """The task as it goes over the wire, its operands written out with their signs."""
        execution = run.execution
        plan, task = execution.plan, run.task
        return Assignment(
            run.name,
            run.attempt,
            OPERATIONS[plan.operations[task]],
            (operand(execution, plan.left[task]), operand(execution, plan.right[task])),
            run.duration_ms,
        )

    def _stored(self, runs: Sequence[Run], ended: Sequence[str]) -> None:
        counts = [0] * len(OPERATIONS)
        for run in runs:
            counts[run.execution.plan.operations[run.task]] += 1
        for operation, count in enumerate(counts):
            if count:
                metrics.finished_tasks.labels(OPERATIONS[operation]).inc(count)
        if self._term is not None:
            self._term.history.stored(len(runs))
        self.post(Stored(runs, ended))

    # --- time -------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        assert self._term is not None
        due = time.monotonic() + TICK_S
        while True:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            late_s = now - due
            metrics.loop_lag_seconds.observe(max(0.0, late_s))
            due = now + TICK_S
            self._term.journal.flush_started()
            self.post(Ticked(late_s if late_s > LATE_S else 0.0))


def rules(settings: Settings) -> Rules:
    """The scheduler's numbers out of the settings."""
    return Rules(
        lease_s=settings.lease_s,
        grace_s=settings.grace_s,
        pull_lease_s=settings.pull_lease_s,
        limit_factor=settings.limit_factor,
        limit_extra_s=settings.limit_extra_s,
        failures_max=settings.failures_max,
        losses_max=settings.losses_max,
        values_bytes_max=settings.values_bytes_max,
        recovery_quiet_s=settings.recovery_quiet_s,
        recovery_max_s=settings.recovery_max_s,
    )
