"""Every promise broken on purpose: what the simulation is worth is what it catches.

A mutant is a patch of the code under test (or of the database) that a plausible slip would come to. `make
mutants` lives through histories with each of them until a promise is seen broken, and says after how many
and which; one that survives is a hole in the simulation.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

from curta_server import dispatcher, journal, store
from curta_server.core import execution, gate, hands, liveness, scheduler
from curta_server.core.acks import Acks
from curta_server.core.crew import Agent, Run
from curta_server.core.events import Beaten, Left, Named
from curta_server.endings import Endings
from curta_server.intake import Intake
from curta_server.journal import Journal
from curta_server.loader import Loader
from curta_server.roster import Roster
from tests.simulation import database, term_statements
from tests.simulation.runner import histories
from tests.simulation.times import datetime_of

SEEDS_MAX = 2_000

Mutant = Callable[[ExitStack], None]


def _put(stack: ExitStack, place: Any, name: str, thing: object) -> None:
    stack.enter_context(mock.patch.object(place, name, thing))


# --- the terms ----------------------------------------------------------------------------------------------


def skip_the_epoch_check(stack: ExitStack) -> None:
    """A write of a term that is over is let through."""

    def leads(transaction: database.Transaction, epoch: int) -> bool:
        transaction.epochs.add(epoch)
        return True

    _put(stack, database.Transaction, "leads", leads)


def check_the_epoch_without_a_lock(stack: ExitStack) -> None:
    """The epoch is compared, but the row is not held: a take-over may come between check and commit."""

    def leads(transaction: database.Transaction, epoch: int) -> bool:
        transaction.epochs.add(epoch)
        return bool(transaction.get(*database.LEADERSHIP).epoch == epoch)

    _put(stack, database.Transaction, "leads", leads)


def number_attempts_without_the_epoch(stack: ExitStack) -> None:
    """A new term counts from one again."""

    def next_attempt(own: execution.Execution, task: int, epoch: int) -> int:
        return 1 << 20 | own.attempts.get(task, 0) + 1

    _put(stack, execution.Execution, "next_attempt", next_attempt)


def recover_without_waiting(stack: ExitStack) -> None:
    """A new leader hands out everything at once."""
    begin = gate.Gate.__init__

    def never_closed(own: gate.Gate, *arguments: Any) -> None:
        begin(own, *arguments)
        own.is_closed = False

    _put(stack, gate.Gate, "__init__", never_closed)


def forget_to_release(stack: ExitStack) -> None:
    """What the last term held stays marked as held."""

    async def release(*_: object) -> None: ...

    _put(stack, store, "release_expressions", release)


# --- what is durable ----------------------------------------------------------------------------------------


def acknowledge_before_the_commit(stack: ExitStack) -> None:
    """An agent is told at once that its result is stored."""
    settle = scheduler.Scheduler._settle

    def settle_and_say(own: scheduler.Scheduler, run: Run) -> None:
        own.acks.now(run.agent.id, (run.name, run.attempt))
        settle(own, run)

    _put(stack, scheduler.Scheduler, "_settle", settle_and_say)


def acknowledge_the_unwanted_at_once(stack: ExitStack) -> None:
    """A second result of a task is waved through before the first one's row is durable."""

    def in_time(own: Acks, _: object, __: object, agent: str, named: tuple[str, int]) -> None:
        own.now(agent, named)

    _put(stack, Acks, "in_time", in_time)


def answer_before_the_commit(stack: ExitStack) -> None:
    """A user gets his 200 while the insert is under way."""
    submit = Intake.submit

    async def answer(own: Intake, drafts: Any) -> list[Any]:
        asyncio.get_running_loop().create_task(submit(own, drafts))
        return [store.Stored(draft.id, datetime_of(0), 0) for draft in drafts]  # type: ignore[arg-type]

    _put(stack, Intake, "submit", answer)


def take_an_unknown_commit_for_done(stack: ExitStack) -> None:
    """A batch whose connection broke is not written again."""
    repeat = Journal._repeat

    async def once(own: Journal, columns: Any, finals: Any, started: Any) -> list[str]:
        try:
            return await repeat(own, columns, finals, started)
        except _Unknown:
            return [str(final.id) for final in finals]

    _put(stack, Journal, "_repeat", once)
    _put(stack, journal, "store", _Impatient())


class _Unknown(Exception):
    """A commit's outcome is not known."""


class _Impatient:
    """The store, for one who takes no outage for what it is."""

    def is_outage(self, error: BaseException) -> bool:
        if store.is_outage(error):
            raise _Unknown from error
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(store, name)


def skip_on_conflict(stack: ExitStack) -> None:
    """A row that is there already is written over."""
    get, append = database.Transaction.get, term_statements._append

    def blind(own: database.Transaction, table: str, key: Any) -> Any:
        return None if table == "journal" else get(own, table, key)

    def over(transaction: database.Transaction, given: Any, *, again: bool) -> list[Any]:
        with mock.patch.object(database.Transaction, "get", blind):
            return append(transaction, given, again=again)

    _put(stack, term_statements, "_append", over)


def end_without_the_roots_row(stack: ExitStack) -> None:
    """The final status goes first, in a transaction of its own."""
    append = Journal.append_ends

    def ends_first(own: Journal, runs: Any, finals: Any) -> None:
        append(own, (), finals)
        own.append(runs, ())

    _put(stack, Journal, "append_ends", ends_first)


def forget_the_final(stack: ExitStack) -> None:
    """Failures of expressions are decided and not written."""
    write = Endings.write

    def no_failures(own: Endings, runs: Any, finals: Any) -> None:
        write(own, runs, [final for final in finals if final.error is None])

    _put(stack, Endings, "write", no_failures)


def forget_what_was_missed(stack: ExitStack) -> None:
    """A final update that hits no row is not read back."""

    async def nothing(*_: object) -> dict[Any, str]:
        return {}

    _put(stack, store, "final_statuses", nothing)


# --- tasks and agents ---------------------------------------------------------------------------------------


def forget_a_requeue(stack: ExitStack) -> None:
    """A lost agent's tasks are nobody's."""
    requeue = hands.Hands.requeue

    def sometimes(own: hands.Hands, run: Run) -> None:
        if not run.agent.is_lost:
            requeue(own, run)

    _put(stack, hands.Hands, "requeue", sometimes)


def ignore_the_session_number(stack: ExitStack) -> None:
    """What an old connection's end says counts for the new one."""
    left = liveness.Liveness.left

    def any_session(own: liveness.Liveness, event: Left) -> None:
        agent = own.agents.get(event.agent)
        if agent is not None:
            event = Left(event.agent, agent.session, event.bye)
        left(own, event)

    _put(stack, liveness.Liveness, "left", any_session)


def drop_the_grace(stack: ExitStack) -> None:
    """A closed socket is a lost agent."""
    _change_rules(stack, grace_s=0.0)


def drop_the_lease(stack: ExitStack) -> None:
    """A silent agent is waited for for ever."""
    _change_rules(stack, lease_s=1e9)


def hurry(stack: ExitStack) -> None:
    """A second attempt is handed out as soon as the first one's duration is over."""
    _change_rules(stack, limit_factor=0.5, limit_extra_s=0.0)


def _change_rules(stack: ExitStack, **changed: float) -> None:
    rules = dispatcher.rules
    _put(stack, dispatcher, "rules", lambda settings: replace(rules(settings), **changed))  # type: ignore[arg-type]


def free_values_early(stack: ExitStack) -> None:
    """An operand is freed with the first of its uses."""
    count = execution.Execution._count_committed

    def count_and_free(own: execution.Execution, task: int) -> None:
        count(own, task)
        for reference in (own.plan.left[task], own.plan.right[task]):
            if reference >= 0:
                own.values[reference >> 1] = None

    _put(stack, execution.Execution, "_count_committed", count_and_free)


def believe_everybody(stack: ExitStack) -> None:
    """A result counts, whoever the attempt was handed to."""
    _put(stack, hands.Hands, "was_handed", lambda *_: True)


def hand_out_beyond_the_slots(stack: ExitStack) -> None:
    """One more than the agent has."""
    free = property(
        lambda agent: agent.slots + 1 - agent.held if agent.is_connected and not agent.draining else 0
    )
    _put(stack, Agent, "free", free)


def never_miss_what_is_not_held(stack: ExitStack) -> None:
    """A half-deaf agent is not found out."""
    beaten = liveness.Liveness.beaten

    def blind(own: liveness.Liveness, event: Beaten) -> None:
        agent = own.agents.get(event.agent)
        runs = agent.runs.values() if agent is not None else ()
        held = dict.fromkeys([*event.held, *(Named(run.name, run.attempt) for run in runs)])
        beaten(own, Beaten(event.agent, event.session, held, event.seen))

    _put(stack, liveness.Liveness, "beaten", blind)


def go_on_with_what_was_cancelled(stack: ExitStack) -> None:
    """Cancellations never reach the leader."""
    _put(stack, Loader, "cancelled", lambda *_: None)


def hold_what_there_is_no_room_for(stack: ExitStack) -> None:
    """Expressions are claimed, and lost on the way into memory."""
    recover = Loader._recover

    async def often(own: Loader, row: Any) -> None:
        if row.id.int % 3:
            await recover(own, row)

    _put(stack, Loader, "_recover", often)


def forget_a_drain(stack: ExitStack) -> None:
    """A drained agent that comes back gets tasks again."""
    _put(stack, Roster, "is_draining", lambda *_: False)


def fold_nothing(stack: ExitStack) -> None:
    """A recovery computes again what the journal has."""

    def fold(own: execution.Execution, rows: Any) -> None: ...

    _put(stack, execution.Execution, "fold", fold)


MUTANTS: dict[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        skip_the_epoch_check,
        check_the_epoch_without_a_lock,
        number_attempts_without_the_epoch,
        recover_without_waiting,
        forget_to_release,
        acknowledge_before_the_commit,
        acknowledge_the_unwanted_at_once,
        answer_before_the_commit,
        take_an_unknown_commit_for_done,
        skip_on_conflict,
        end_without_the_roots_row,
        forget_the_final,
        forget_what_was_missed,
        forget_a_requeue,
        ignore_the_session_number,
        drop_the_grace,
        drop_the_lease,
        hurry,
        free_values_early,
        believe_everybody,
        hand_out_beyond_the_slots,
        never_miss_what_is_not_held,
        go_on_with_what_was_cancelled,
        hold_what_there_is_no_room_for,
        forget_a_drain,
        fold_nothing,
    )
}


def apply(name: str, stack: ExitStack) -> None:
    """Break it, in this process."""
    MUTANTS[name](stack)


def survive(name: str, seeds: int, processes: int) -> tuple[int, str | None]:
    """How many histories the mutant lived through, and what it broke; None where it was not caught."""
    count = 0
    for outcome in histories(range(1, seeds + 1), processes=processes, prepare=partial(apply, name)):
        count += 1
        if outcome.violation is not None:
            return count, f"seed {outcome.seed}: {outcome.violation}"
    return count, None


def main() -> int:
    """The exit code: 1 where a mutant survived."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation.mutants", *sys.argv[1:]])
    survivors = 0
    for name in sys.argv[1:] or MUTANTS:
        began = time.monotonic()
        count, caught = survive(name, SEEDS_MAX, os.cpu_count() or 1)
        survivors += caught is None
        took_s = time.monotonic() - began
        sys.stdout.write(f"{name:<36} {count:>5} histories, {took_s:4.0f} s  {caught or 'SURVIVES'}\n")
        sys.stdout.flush()
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
