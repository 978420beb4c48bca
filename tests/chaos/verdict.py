"""What must hold at the end of a run, compared with exact arithmetic; and who was handed what of whose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import asyncpg

from curta_server.core.plan import Plan
from tests.chaos.chronicle import Chronicle
from tests.chaos.clients import Ledger
from tests.chaos.observer import Began, Observer
from tests.chaos.witnesses import Hold, Visit, Witness
from tests.support import exact

GRACE_S = 4.0
"""A witness that was away for less is as good as present: the orchestrator waits for 5 s, and a busy machine
may need the rest."""
MARGIN_S = 1.0
"""Between what two processes think of one moment, on a busy machine."""
LIMIT_FACTOR, LIMIT_EXTRA_S = 2.0, 30.0
"""As in the orchestrator's settings: an attempt older than this may get a second one beside it."""
ASLEEP_S = 5.0
"""A witness that did not beat for so long was asleep itself and proves nothing."""

_EXPRESSIONS = """
    SELECT id::text, client_id, text, plan, status, value, error_code, tasks, tasks_done FROM expressions
"""


class Presence(NamedTuple):
    """A witness was there for its leader from `began_at` to `ended_at`, blips within the grace included.

    `from_the_start`: it was back before the leader handed out what earlier terms had begun.
    """

    epoch: int
    began_at: float
    ended_at: float
    from_the_start: bool


async def judge(
    database_url: str, ledger: Ledger, observer: Observer, witnesses: Sequence[Witness], chronicle: Chronicle
) -> dict[str, int]:
    """Report whatever does not hold as a finding; returns how many expressions ended how."""
    await observer.read_all()
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(_EXPRESSIONS)
    finally:
        await connection.close()
    _judge_expressions(rows, ledger, observer, chronicle)
    for witness in witnesses:
        for finding in (
            *repeats_of_live_work(witness, witnesses, observer),
            *false_acks(witness, observer),
        ):
            chronicle.finding(finding)
    return dict(Counter(row["status"] for row in rows))


def _judge_expressions(
    rows: Sequence[asyncpg.Record], ledger: Ledger, observer: Observer, chronicle: Chronicle
) -> None:
    by_client_id = {row["client_id"]: row for row in rows}
    if len(by_client_id) != len(rows):
        chronicle.finding("a client's id stands for several expressions in the table")
    journal: dict[str, dict[int, str | None]] = {}
    for (expression, task), settled in observer.rows.items():
        journal.setdefault(expression, {})[task] = settled.value
    for client_id, accepted in ledger.accepted.items():
        row = by_client_id.get(client_id)
        if row is None or row["id"] != accepted.id:
            chronicle.finding(f"{client_id!r} was accepted as {accepted.id} and is not in the table")
            continue
        told = accepted.final
        if told is None or row["status"] != told["status"]:
            chronicle.finding(f"{client_id!r} is {row['status']} and its user was told {told}")
        value = exact.wire(accepted.exercise.value)
        if row["status"] == "done" and row["value"] != value:
            chronicle.finding(f"{client_id!r}: {row['text']} is {value}, stored is {row['value']}")
    for row in rows:
        _judge_tasks(row, journal.pop(row["id"], {}), chronicle)
    if journal:
        chronicle.finding(f"the journal has rows of unknown expressions: {list(journal)[:3]}")


def _judge_tasks(row: asyncpg.Record, journal: Mapping[int, str | None], chronicle: Chronicle) -> None:
    """Each row of the journal against exact arithmetic, and the end of the expression against its rows."""
    plan = Plan.decode(row["plan"], row["text"])
    values = exact.outcomes(plan)
    for task, value in journal.items():
        if exact.wire(values[task]) != value:
            chronicle.finding(f"{row['id']}.{task} is {values[task]}, the journal has {value}")
    if row["status"] == "done" and len(plan) and plan.root >> 1 not in journal:
        chronicle.finding(f"{row['id']} is done without a row of its root")
    if row["status"] == "failed" and None not in journal.values():
        chronicle.finding(f"{row['id']} failed with {row['error_code']} without a row that says so")


def false_acks(witness: Witness, observer: Observer) -> Iterator[str]:
    """Results that a witness was told to forget although nothing of their task was durable: somebody began
    the task afterwards and settled it."""
    for hold in witness.holds:
        expression, _, task = hold.task.rpartition(".")
        row = observer.rows.get((expression, int(task)))
        if row is None or row.attempt <= hold.attempt:
            continue
        if row.started_at > hold.acked_at + MARGIN_S:
            yield (
                f"{witness.name} was told at {hold.acked_at:.2f} to forget attempt {_named(hold.attempt)} of "
                f"{hold.task}, which was settled by {_named(row.attempt)}, begun at {row.started_at:.2f}"
            )


# --- no second attempt of live work -----------------------------------------------------------------


class Rival(NamedTuple):
    """Another attempt of a task, and when it was handed out (or later: when its agent came back with it)."""

    attempt: int
    agent: str
    at: float


def repeats_of_live_work(witness: Witness, witnesses: Sequence[Witness], observer: Observer) -> Iterator[str]:
    """Attempts handed out while a witness was there and at work on the same task, before its limit.

    The rule: where a witness holds attempt a of a task, nobody is handed a higher attempt of it as long as
    the witness is present in the term of that attempt and a is younger than its limit; that its result was
    sent meanwhile is one reason more.
    Presence bridges gaps within the grace, and begins with the term where the witness was back before the
    recovered tasks are handed out. What others were handed is known from the other witnesses' notes, and from
    the journal, which names the attempt that settled a task. What an orchestrator takes away from a witness
    (drops, cancels) it must not hand out again in the same term.
    """
    if witness.longest_pause_s > ASLEEP_S:
        return
    presences = list(_presences(witness, observer.terms))
    rivals: dict[str, list[Rival]] = {}
    for other in witnesses:
        for hold in other.holds:
            rivals.setdefault(hold.task, []).append(Rival(hold.attempt, hold.agent, hold.came_at))
    for hold in witness.holds:
        expression, _, task = hold.task.rpartition(".")
        row = observer.rows.get((expression, int(task)))
        found = list(rivals[hold.task])
        if row is not None:
            found.append(Rival(row.attempt, row.agent, row.started_at))
        for rival in found:
            if rival.attempt > hold.attempt and _is_live(hold, rival, presences):
                yield (
                    f"{witness.name} was there and held attempt {_named(hold.attempt)} of {hold.task} "
                    f"from {hold.came_at:.2f} to {hold.went_at:.2f}, "
                    f"but {_named(rival.attempt)} was handed to {rival.agent} at {rival.at:.2f}"
                )


def _is_live(hold: Hold, rival: Rival, presences: Sequence[Presence]) -> bool:
    epoch = rival.attempt >> 20
    covering = [
        one for one in presences if one.epoch == epoch and one.began_at + MARGIN_S <= rival.at <= one.ended_at
    ]
    if not covering or rival.at <= hold.came_at + MARGIN_S:
        return False
    presence = covering[0]
    if hold.attempt >> 20 == epoch:
        if presence.began_at > hold.came_at:
            return False  # it was away in between, and may have been lost then
    elif not presence.from_the_start or not hold.came_at < presence.began_at < hold.went_at:
        return False
    if not presence.began_at <= min(hold.went_at, rival.at) <= presence.ended_at:
        return False  # taken away in another term than the rival's
    return rival.at - hold.came_at < LIMIT_FACTOR * hold.duration_s + LIMIT_EXTRA_S


def _presences(witness: Witness, terms: Mapping[int, Began]) -> Iterator[Presence]:
    visits = [_with_epoch(visit, terms) for visit in witness.visits]
    at = 0
    while at < len(visits):
        first = last = visits[at]
        at += 1
        if not first.epoch:
            continue
        while (
            at < len(visits)
            and visits[at].epoch == first.epoch
            and visits[at].came_at - last.went_at < GRACE_S
        ):
            last = visits[at]
            at += 1
        term = terms.get(first.epoch)
        from_the_start = (
            term is not None and witness.id in term.expected and first.came_at - term.not_before < GRACE_S
        )
        yield Presence(first.epoch, first.came_at, last.went_at, from_the_start)


def _with_epoch(visit: Visit, terms: Mapping[int, Began]) -> Visit:
    """An agent that was handed nothing is told no epoch; whose term it was is known all the same, if none
    was about to begin."""
    if visit.epoch:
        return visit
    begun = [term for term in terms.values() if term.not_before <= visit.came_at]
    last = max(begun, key=lambda term: term.epoch, default=None)
    if last is None or visit.came_at < last.not_after:
        return visit
    return replace(visit, epoch=last.epoch)


def _named(attempt: int) -> str:
    return f"{attempt >> 20}/{attempt & 0xFFFFF}"
