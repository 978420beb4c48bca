"""What must hold, always: looked at with every commit, every frame, every turn and every second of a
history.

The database's rows, the agents' hands and the network's connections are the truth here; what the
orchestrators believe is only looked at where a promise is about it. A broken promise raises Violation.
"""

from dataclasses import fields
from typing import TYPE_CHECKING, Any
from uuid import UUID

from curta_server.core.invariants import check
from curta_server.core.plan import Plan
from curta_server.settings import Settings
from tests.simulation.database import Database, Expression, JournalEntry, Transaction
from tests.simulation.handouts import NAP_S, Handouts, Story, TermSeen
from tests.simulation.loops import Violation, World
from tests.support import exact, reference

if TYPE_CHECKING:
    from tests.simulation.agents import Agent
    from tests.simulation.orchestrators import Orchestrator

CLOSED_S = 6.0
SILENT_S = 11.0
"""The design's: a closed agent's tasks are ready again within the one, a silent one's within the other."""

INBOX_S = 0.1
CHECK_EVERY = 4
"""Turns of a dispatcher; its core's invariants cost more than a turn."""


class Promises(Handouts):
    """All of them, for one history."""

    def __init__(self, world: World, database: Database, settings: Settings) -> None:
        super().__init__(world, database, settings)
        self._turns = 0
        database.on_commit = self.committing

    def orchestrator_at(self, url: str) -> "Orchestrator | None":
        return self.by_url.get(url)

    # --- expressions --------------------------------------------------------------------------------

    def submitted(self, draft: Any, plan: Plan) -> None:
        """On its way into the table."""
        if draft.id not in self.stories:
            value = reference.evaluate(reference.parse(draft.text))
            self.stories[draft.id] = Story(
                draft.id, draft.text, draft.owner, plan, exact.outcomes(plan), value
            )

    def accepted(self, id: UUID) -> None:
        """The user has his 200."""
        row = self.database.expressions.get(id)
        if row is None:
            raise Violation(f"expression {id} was accepted and is not in the table")
        story = self.stories[id]
        if row.text != story.text:
            raise Violation(f"expression {id} is in the table with another text")
        story.is_accepted = True

    def committing(self, transaction: Transaction) -> None:
        """Just before its writes count."""
        database = self.database
        term = transaction.writes.get(("leadership", 1))
        for epoch in transaction.epochs:
            if epoch != database.leadership.epoch:
                now = database.leadership.epoch
                raise Violation(f"a write of term {epoch} after term {now} began: {list(transaction.writes)}")
        if term is not None and term.epoch not in (database.leadership.epoch, database.leadership.epoch + 1):
            raise Violation("a term was skipped or taken back")
        for (table, key), row in transaction.writes.items():
            old = database.tables[table].get(key)
            if table == "journal":
                self._check_row(old, row)
            elif table == "expressions":
                self._check_expression(transaction, old, row)

    def _check_row(self, old: JournalEntry | None, row: JournalEntry) -> None:
        if old is not None:
            raise Violation(f"the row of {row.expression}.{row.task} changes: {old} to {row}")
        story = self.stories[row.expression]
        name = f"{row.expression}.{row.task}"
        wanted = exact.wire(story.outcomes[row.task])
        if row.value != wanted:
            raise Violation(f"{name} is {wanted}, and the journal says {row.value}")
        push = self.pushes.get(name, {}).get(row.attempt)
        if push is None or push.agent.id != str(row.agent):
            raise Violation(f"{name}#{row.attempt} was never handed to {row.agent}, and is in the journal")
        self.tasks += 1
        self.stored_s[row.expression, row.task] = self.world.now

    def _check_expression(self, transaction: Transaction, old: Expression | None, row: Expression) -> None:
        if old is None:
            return
        if old.finished_us is not None:
            changed = [f.name for f in fields(row) if getattr(old, f.name) != getattr(row, f.name)]
            if changed:
                raise Violation(f"the final expression {row.id} changes: {changed}")
        if old.status == "running" and row.status == "queued":
            raise Violation(f"expression {row.id} is queued again")
        if row.started_us is not None and row.started_us < row.created_us:
            raise Violation(f"expression {row.id} started before it was made")
        story = self.stories[row.id]
        if row.status == "done" and old.status != "done":
            root = len(story.plan) - 1
            if row.value != exact.wire(story.value):
                raise Violation(f"{story.text} is {exact.wire(story.value)}, and not {row.value}")
            if transaction.get("journal", (row.id, root)) is None:
                raise Violation(f"expression {row.id} is done without its root's row")
            if row.tasks_done != row.tasks:
                raise Violation(f"expression {row.id} is done with {row.tasks_done} of {row.tasks} tasks")
        elif row.status == "failed" and old.status != "failed":
            self._check_failure(transaction, story, row)

    def _check_failure(self, transaction: Transaction, story: Story, row: Expression) -> None:
        expression, _, number = str(row.error_task).rpartition(".")
        if expression != str(row.id):
            raise Violation(f"expression {row.id} failed by a foreign task {row.error_task}")
        task = int(number)
        match row.error_code:
            case "division_by_zero":
                operands = [
                    exact.operand(story.plan, story.outcomes, of) for of in _operands(story.plan, task)
                ]
                if story.plan.operations[task] != 3 or operands[1] != 0:
                    raise Violation(f"{row.error_task} of {story.text} does not divide by zero")
                if transaction.get("journal", (row.id, task)) is None:
                    raise Violation(f"{row.error_task} divides by zero, and has no row")
            case "too_large":
                longest = max((len(exact.wire(value) or "") for value in story.outcomes), default=0)
                total = sum(len(exact.wire(value) or "") for value in story.outcomes)
                if longest <= self.settings.value_digits_max and total <= self.settings.values_bytes_max:
                    raise Violation(f"{story.text} is not too large")
            case "agents_failed":
                failures, pushes = story.failures.get(task, 0), story.pushes.get(task, 0)
                if failures < self.settings.failures_max and pushes < self.settings.losses_max:
                    raise Violation(
                        f"{row.error_task} failed {failures} times, was handed out {pushes} times:"
                        f" {row.error_message}"
                    )
            case other:
                raise Violation(f"expression {row.id} failed with {other}")

    # --- orchestrators ------------------------------------------------------------------------------

    def began(self, orchestrator: "Orchestrator", epoch: int) -> None:
        """A term begins there."""
        now = self.world.now
        self.terms[orchestrator.name] = TermSeen(
            epoch,
            now,
            {str(row.id) for row in self.database.tables["agents"].values() if row.connected},
            {row.id for row in self.database.expressions.values() if row.status == "running"},
            now,
        )
        self.world.note(orchestrator.name, "leads term", epoch)
        self.world.count("terms")

    def after_turn(self, orchestrator: "Orchestrator") -> None:
        """Between two turns of a dispatcher."""
        self._turns += 1
        if self._turns % CHECK_EVERY == 0:
            self.check_core(orchestrator)

    def check_core(self, orchestrator: "Orchestrator") -> None:
        term = orchestrator.dispatcher.term
        if term is not None:
            try:
                check(term.scheduler)
            except AssertionError as error:
                raise Violation(f"the core of {orchestrator.name}: {error!r}") from error

    def look(self, orchestrators: "list[Orchestrator]") -> None:
        """Every second."""
        for orchestrator in orchestrators:
            if orchestrator.is_alive and orchestrator.leads:
                self._look_at(orchestrator)

    def _look_at(self, orchestrator: "Orchestrator") -> None:
        now = self.world.now
        dispatcher = orchestrator.dispatcher
        term = dispatcher.term
        assert term is not None
        for agent in term.scheduler.crew.agents.values():
            if not agent.runs:
                continue
            last = self.last.get(agent.id)
            if last is None or last.orchestrator is not orchestrator:
                continue
            if not agent.is_connected and last.ended_s is not None:
                since_s = max(last.ended_s, self.terms[orchestrator.name].began_s)
                # A late tick extends every grace, also one that began at the very moment of waking up.
                if now - since_s > CLOSED_S + 2 * orchestrator.slept_since(since_s - NAP_S):
                    raise Violation(
                        f"{last.agent.name} is gone since {now - last.ended_s:.1f} s, with its tasks"
                    )
            elif agent.is_connected:
                silent_s = now - last.heard_s - 2 * orchestrator.slept_since(last.heard_s - NAP_S)
                if silent_s <= SILENT_S:
                    continue
                raise Violation(
                    f"{last.agent.name} is silent since {now - last.heard_s:.1f} s, with its tasks"
                )
        inbox = dispatcher._inbox
        waited_s = orchestrator.loop.time() - inbox.posted_s
        if inbox and waited_s > INBOX_S + orchestrator.slept_since(now - waited_s):
            raise Violation(f"{orchestrator.name} has left an event lying")
        if term.journal.backlog > self.settings.journal_backlog_max + 500:
            raise Violation(f"the journal's backlog of {orchestrator.name} is {term.journal.backlog}")
        for link in dispatcher.links:
            outbox: Any = link.outbox
            if len(outbox._tasks) > link.guest.slots:
                raise Violation(f"{len(outbox._tasks)} tasks wait in an outbox for {link.guest.slots} slots")

    # --- at the end ---------------------------------------------------------------------------------

    def still_open(self) -> list[Expression]:
        return [row for row in self.database.expressions.values() if row.finished_us is None]

    def settled(self, orchestrators: "list[Orchestrator]", agents: "list[Agent]") -> str | None:
        """What has still not come to rest after everything ended; None where all is well."""
        for orchestrator in orchestrators:
            if not orchestrator.is_alive or not orchestrator.leads:
                continue
            term = orchestrator.dispatcher.term
            assert term is not None
            scheduler = term.scheduler
            if scheduler.executions or scheduler.users:
                return f"{orchestrator.name} keeps expressions in memory"
            held = {agent.id: agent.held for agent in scheduler.crew.agents.values() if agent.held}
            if held:
                return f"{orchestrator.name} counts slots as taken: {held}"
            if len(scheduler.early):
                return f"{orchestrator.name} keeps results of nothing"
            if term.journal.backlog or term.loader._loaded or term.loader._tasks:
                return f"{orchestrator.name} counts what is not there"
        for agent in agents:
            if not agent.is_dead and not agent.is_frozen and agent.is_here:
                if agent.open or agent.results:
                    return f"{agent.name} still holds {list(agent.open)} {list(agent.results)}"
        return None


def _operands(plan: Plan, task: int) -> tuple[int, int]:
    return plan.left[task], plan.right[task]
