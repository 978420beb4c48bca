"""What the statements of a leader do: the leadership's row and the lock beside it, claims, ends, the
journal."""

from collections import namedtuple
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg

from tests.simulation.database import LEADERSHIP, UPDATE, Expression, JournalEntry, Transaction

Waiting = namedtuple("Waiting", "id owner tasks")
Claimed = namedtuple("Claimed", "id owner text plan tasks durations status started_us optimize")
Status = namedtuple("Status", "id status")


# --- the leadership's row, and the lock beside it -----------------------------------------------------------


def look(transaction: Transaction, _: Any) -> list[Any]:
    database = transaction.database
    row = transaction.get(*LEADERSHIP)
    age_s = None if row.beat_us is None else (database.clock_us - row.beat_us) / 1_000_000
    return [
        {
            "epoch": row.epoch,
            "leader": row.leader,
            "url": row.url,
            "secret": row.secret,
            "age_s": age_s,
            "clock_us": database.clock_us,
            "is_free": database.advisory is None,
        }
    ]


def end_leader(transaction: Transaction, arguments: Any) -> list[Any]:
    database = transaction.database
    ended = []
    for backend in list(database.backends.values()):
        is_meant = backend is database.advisory or backend.name.endswith(arguments[0])
        if is_meant and backend is not transaction.backend:
            database.end(backend)
            ended.append({"pg_terminate_backend": True})
    return ended


def try_lock(transaction: Transaction, _: Any) -> list[Any]:
    database = transaction.database
    if database.advisory is None:
        database.advisory = transaction.backend
    return [{"pg_try_advisory_lock": database.advisory is transaction.backend}]


def lock_row(transaction: Transaction, _: Any) -> list[Any]:
    transaction.lock(LEADERSHIP, UPDATE)
    row = transaction.get(*LEADERSHIP)
    return [{"epoch": row.epoch, "leader": row.leader}]


def begin_term(transaction: Transaction, arguments: Any) -> list[Any]:
    transaction.lock(LEADERSHIP)
    clock_us = transaction.database.clock_us
    row = transaction.get(*LEADERSHIP)
    secret = arguments[2] if len(arguments) > 2 else None
    transaction.change(
        *LEADERSHIP,
        epoch=row.epoch + 1,
        leader=arguments[0],
        url=arguments[1],
        secret=secret,
        beat_us=clock_us,
    )
    return [{"epoch": row.epoch + 1, "clock_us": clock_us}]


def beat(transaction: Transaction, arguments: Any) -> list[Any]:
    epoch, leader = arguments
    row = transaction.get(*LEADERSHIP)
    if (row.epoch, row.leader) != (epoch, leader):
        return []
    transaction.lock(LEADERSHIP)
    row = transaction.get(*LEADERSHIP)
    if (row.epoch, row.leader) != (epoch, leader):
        return []
    transaction.change(*LEADERSHIP, beat_us=transaction.database.clock_us)
    return [{"clock_us": transaction.database.clock_us}]


def resign(transaction: Transaction, arguments: Any) -> list[Any]:
    if transaction.get(*LEADERSHIP).epoch != arguments[0]:
        return []
    transaction.lock(LEADERSHIP)
    if transaction.get(*LEADERSHIP).epoch == arguments[0]:
        transaction.change(*LEADERSHIP, leader=None, url=None, secret=None, beat_us=None)
    return []


def notify(transaction: Transaction, arguments: Any) -> list[Any]:
    transaction.notices += arguments[1]
    return []


# --- what a leader does to expressions ----------------------------------------------------------------------


def _release(transaction: Transaction, is_meant: Callable[[Expression], bool]) -> list[UUID]:
    released = []
    for row in transaction.rows("expressions"):
        if row.finished_us is None and is_meant(row):
            transaction.lock(("expressions", row.id))
            row = transaction.get("expressions", row.id)
            if row.finished_us is None and is_meant(row):
                transaction.change("expressions", row.id, epoch=0)
                released.append(row.id)
    return released


def release(transaction: Transaction, given: Any) -> list[Any]:
    epoch = given["epoch"]
    if not transaction.leads(epoch):
        return [(0,)]
    _release(transaction, lambda row: row.epoch not in (0, epoch))
    return [(1,)]


def release_some(transaction: Transaction, given: Any) -> list[Any]:
    epoch, ids = given["epoch"], set(given["ids"])
    if not transaction.leads(epoch):
        return [(0, [])]
    return [(1, _release(transaction, lambda row: row.id in ids and row.epoch == epoch))]


def release_strays(transaction: Transaction, given: Any) -> list[Any]:
    epoch, held = given["epoch"], set(given["held"])
    if not transaction.leads(epoch):
        return [(0, 0)]
    return [(1, len(_release(transaction, lambda row: row.id not in held and row.epoch == epoch)))]


def _waiting(transaction: Transaction) -> list[Expression]:
    rows = [row for row in transaction.rows("expressions") if row.finished_us is None and row.epoch == 0]
    return sorted(rows, key=lambda row: (row.created_us, row.id))


def interrupted(transaction: Transaction, given: Any) -> list[Any]:
    rows = [row for row in _waiting(transaction) if row.status == "running"]
    rows.sort(key=lambda row: (row.started_us, row.id))
    return [Waiting(row.id, row.owner, row.tasks) for row in rows[: given["limit"]]]


def owners(transaction: Transaction, _: Any) -> list[Any]:
    return [(owner,) for owner in sorted({row.owner for row in _waiting(transaction)})]


def oldest(transaction: Transaction, given: Any) -> list[Any]:
    rows = [row for row in _waiting(transaction) if row.status == "queued"]
    found = []
    for owner in given["owners"]:
        own = [row for row in rows if row.owner == owner][: given["each"]]
        found += [Waiting(row.id, row.owner, row.tasks) for row in own]
    return found


def claim(transaction: Transaction, given: Any) -> list[Any]:
    epoch, ids = given["epoch"], set(given["ids"])
    if not transaction.leads(epoch):
        return []
    claimed = []
    for row in _waiting(transaction):
        key = ("expressions", row.id)
        if row.id in ids and transaction.is_free(key):
            transaction.lock(key)
            new = transaction.change(*key, epoch=epoch)
            claimed.append(
                Claimed(
                    new.id,
                    new.owner,
                    new.text,
                    new.plan,
                    new.tasks,
                    new.durations,
                    new.status,
                    new.started_us,
                    new.optimize,
                )
            )
    return claimed


def is_leading(transaction: Transaction, given: Any) -> list[Any]:
    row = transaction.get(*LEADERSHIP)
    return [(row.epoch,)] if row.epoch == given["epoch"] else []


def hold(transaction: Transaction, given: Any) -> list[Any]:
    return [(given["epoch"],)] if transaction.leads(given["epoch"]) else []


def mark_running(transaction: Transaction, given: Any) -> list[Any]:
    if not transaction.leads(given["epoch"]):
        return [(0,)]
    for id in given["ids"]:
        row = transaction.get("expressions", id)
        if row is not None and row.finished_us is None and row.status == "queued":
            transaction.lock(("expressions", id))
    for id, started_us in zip(given["ids"], given["started_us"], strict=True):
        row = transaction.get("expressions", id)
        if row is not None and row.finished_us is None and row.status == "queued":
            transaction.change(
                "expressions", id, status="running", started_us=max(row.created_us, started_us)
            )
    return [(1,)]


_END_COLUMNS = (
    "ids", "statuses", "tasks_done", "ended_us", "begun_us", "numbers", "results", "exacts",
    "error_codes", "error_messages", "error_tasks",
)  # fmt: skip


def end(transaction: Transaction, given: Any) -> list[Any]:
    return _end(transaction, given, again=False)


def end_again(transaction: Transaction, given: Any) -> list[Any]:
    return _end(transaction, given, again=True)


def _end(transaction: Transaction, given: Any, *, again: bool) -> list[Any]:
    if not transaction.leads(given["epoch"]):
        return [(0, [])]
    ends = list(zip(*(given[name] for name in _END_COLUMNS), strict=True))
    for id, *_ in ends:
        row = transaction.get("expressions", id)
        if row is not None and row.finished_us is None:
            transaction.lock(("expressions", id))
    _append(transaction, given, again=again)
    finished = []
    for id, status, tasks_done, finished_us, started_us, value, result, exact, code, message, task in ends:
        row = transaction.get("expressions", id)
        if row is None or row.finished_us is not None:
            continue
        started = row.started_us
        if started is None and started_us is not None:
            started = max(row.created_us, started_us)
        transaction.change(
            "expressions", id, status=status, tasks_done=tasks_done, value=value, result=result, exact=exact,
            error_code=code, error_message=message, error_task=task,
            finished_us=max(row.created_us, finished_us), started_us=started,
        )  # fmt: skip
        finished.append(id)
    return [(1, finished)]


def cancelled(transaction: Transaction, given: Any) -> list[Any]:
    return [
        (row.id,)
        for row in transaction.rows("expressions")
        if row.status == "cancelled" and row.finished_us >= given["since_us"]
    ]


def still_open(transaction: Transaction, given: Any) -> list[Any]:
    rows = (transaction.get("expressions", id) for id in given["ids"])
    return [(row.id,) for row in rows if row is not None and row.finished_us is None]


def any_waiting(transaction: Transaction, _: Any) -> list[Any]:
    return [(min(1, len(_waiting(transaction))),)]


def final(transaction: Transaction, given: Any) -> list[Any]:
    rows = (transaction.get("expressions", id) for id in given["ids"])
    return [Status(row.id, row.status) for row in rows if row is not None and row.finished_us is not None]


# --- the journal --------------------------------------------------------------------------------------------


def append(transaction: Transaction, given: Any) -> list[Any]:
    return _append(transaction, given, again=False)


def append_again(transaction: Transaction, given: Any) -> list[Any]:
    return _append(transaction, given, again=True)


def _append(transaction: Transaction, given: Any, *, again: bool) -> list[Any]:
    if not transaction.leads(given["epoch"]):
        return [(0,)]
    columns = [
        given[name][1:-1].split(",")
        for name in ("expression_ids", "tasks", "values", "agents", "attempts", "started_us", "finished_us")
    ]
    rows = [
        JournalEntry(
            UUID(expression), int(task), None if value == "NULL" else value, UUID(agent), int(attempt),
            int(started_us), int(finished_us),
        )
        for expression, task, value, agent, attempt, started_us, finished_us in zip(*columns, strict=True)
        if expression
    ]  # fmt: skip
    for row in rows:
        if transaction.get("journal", (row.expression, row.task)) is None:
            transaction.lock(("journal", (row.expression, row.task)))
    for row in rows:
        key = (row.expression, row.task)
        if transaction.get("journal", key) is None:
            transaction.insert("journal", key, row)
        elif not again:  # otherwise ON CONFLICT DO NOTHING
            raise asyncpg.UniqueViolationError("duplicate key value violates unique constraint")
    return [(1,)]


def chunk(transaction: Transaction, given: Any) -> list[Any]:
    id = UUID(str(given["expression_id"]))
    rows = [row for row in transaction.rows("journal") if row.expression == id and row.task > given["after"]]
    rows = sorted(rows, key=lambda row: row.task)[: given["chunk"]]
    return [([row.task for row in rows] or None, [row.value for row in rows] or None)]
