"""What the statements about rows do that everybody writes and reads: expressions, operations, agents,
tokens, orchestrators."""

from collections import namedtuple
from collections.abc import Callable
from typing import Any
from uuid import UUID

from curta_server.store import expressions
from tests.simulation.database import LEADERSHIP, Agent, Expression, Transaction
from tests.simulation.times import datetime_of

Inserted = namedtuple("Inserted", "id created_at epoch")


# --- expressions as users see them --------------------------------------------------------------------------


def insert(transaction: Transaction, given: Any) -> list[Any]:
    epochs = [epoch for epoch in given["epochs"] if epoch > 0]
    current = transaction.get(*LEADERSHIP).epoch
    if current in epochs and not transaction.leads(current):
        current = 0
    columns = (
        "ids", "owners", "client_ids", "texts", "optimizes", "plans", "tasks", "additions", "subtractions",
        "multiplications", "divisions", "epochs", "values", "results", "exacts",
    )  # fmt: skip
    rows = list(zip(*(given[name] for name in columns), strict=True))
    known = {(row.owner, row.client_id) for row in transaction.rows("expressions") if row.client_id}
    for id, owner, client_id, *_ in rows:
        # A row that is there is met, and not locked; one that is being inserted elsewhere is waited for.
        if transaction.get("expressions", id) is None and (owner, client_id) not in known:
            transaction.lock(("expressions", id))
            if client_id is not None:
                transaction.lock(("expressions of clients", (owner, client_id)))
    stored: list[Any] = []
    for id, owner, client_id, text, optimize, plan, tasks, a, s, m, d, epoch, value, result, exact in rows:
        if transaction.get("expressions", id) is not None or (owner, client_id) in known:
            continue
        if client_id is not None:
            known.add((owner, client_id))
        now_us = transaction.database.clock_us
        is_held = epoch > 0 and value is None and epoch == current
        row = Expression(
            id, owner, client_id, text, optimize, "queued" if value is None else "done", plan, tasks,
            (a, s, m, d), epoch if is_held else 0, value, result, exact, now_us,
            finished_us=None if value is None else now_us,
        )  # fmt: skip
        transaction.insert("expressions", id, row)
        stored.append(Inserted(id, datetime_of(now_us), row.epoch))
    return stored


def by_ids(transaction: Transaction, given: Any) -> list[Any]:
    rows = (transaction.get("expressions", id) for id in given["ids"])
    return [Inserted(row.id, datetime_of(row.created_us), row.epoch) for row in rows if row is not None]


def by_client_ids(transaction: Transaction, given: Any) -> list[Any]:
    rows = {(row.owner, row.client_id): row for row in transaction.rows("expressions") if row.client_id}
    found = []
    columns = ("owners", "client_ids", "texts", "optimizes")
    for place, (owner, client_id, text, optimize) in enumerate(
        zip(*(given[name] for name in columns), strict=True), 1
    ):
        row = rows.get((owner, client_id))
        if row is not None:
            is_same = row.text == text and row.optimize == optimize
            found.append((place, is_same, *_shown(row, full=False)))
    return found


def one(full: bool) -> Callable[[Transaction, Any], list[Any]]:
    def read(transaction: Transaction, given: Any) -> list[Any]:
        row = transaction.get("expressions", given["id"])
        return [] if row is None else [_shown(row, full=full)]

    return read


def _shown(row: Expression, *, full: bool) -> tuple[Any, ...]:
    short = expressions.SHORT_CHARACTERS
    text, result, exact = row.text, row.result, row.exact
    if not full:
        text = None  # type: ignore[assignment]
        result = None if result is None else result[:short]
        exact = None if exact is None else exact[:short]
    return (
        row.id, row.owner, row.client_id, row.text[:200], len(row.text), row.optimize, row.status, row.tasks,
        row.tasks_done, list(row.durations), row.epoch, row.error_code, row.error_message, row.error_task,
        datetime_of(row.created_us), datetime_of(row.started_us), datetime_of(row.finished_us), text, result,
        exact,
    )  # fmt: skip


def cancel(transaction: Transaction, given: Any) -> list[Any]:
    row = transaction.get("expressions", given["id"])
    if row is None or row.finished_us is not None or given["owner"] not in (None, row.owner):
        return []
    transaction.lock(("expressions", row.id))
    row = transaction.get("expressions", given["id"])
    if row.finished_us is not None:
        return []
    done = given["tasks_done"]
    if done is None:
        done = len(transaction.database.rows_of(row.id))
    transaction.change(
        "expressions",
        row.id,
        status="cancelled",
        finished_us=transaction.database.clock_us,
        tasks_done=done,
    )
    return [(row.id,)]


def status(transaction: Transaction, given: Any) -> list[Any]:
    row = transaction.get("expressions", given["id"])
    if row is None or given["owner"] not in (None, row.owner):
        return []
    return [(row.status,)]


# --- operations, agents, tokens -----------------------------------------------------------------------------

SYMBOLS = {"addition": "+", "subtraction": "-", "multiplication": "*", "division": "/"}


def all_operations(transaction: Transaction, _: Any) -> list[Any]:
    return [(name, symbol, transaction.get("operations", name)) for name, symbol in SYMBOLS.items()]


def set_duration(transaction: Transaction, given: Any) -> list[Any]:
    name = given["name"]
    if name not in SYMBOLS:
        return []
    transaction.lock(("operations", name))
    transaction.writes[("operations", name)] = given["duration_ms"]
    return [(name, SYMBOLS[name], given["duration_ms"])]


def save_agents(transaction: Transaction, given: Any) -> list[Any]:
    columns = (
        "ids", "names", "token_ids", "owners", "slots", "operations", "versions", "connected_us", "seen_us",
    )  # fmt: skip
    rows = list(zip(*(given[name] for name in columns), strict=True))
    for id, *_ in rows:
        transaction.lock(("agents", UUID(id)))
    for id, name, token, owner, slots, offers, version, connected_us, seen_us in rows:
        known = transaction.get("agents", UUID(id))
        row = Agent(
            UUID(id), name, UUID(token), owner, slots, offers.split(",") if offers else [], version, True,
            known.draining if known is not None else False, connected_us, seen_us,
            removed_until_us=known.removed_until_us if known is not None else None,
        )  # fmt: skip
        transaction.insert("agents", row.id, row)
    return []


def lost(transaction: Transaction, given: Any) -> list[Any]:
    found = {UUID(str(id)): us for id, us in zip(given["ids"], given["lost_us"], strict=True)}
    for id in found:
        transaction.lock(("agents", id))
    for id, lost_us in found.items():
        row = transaction.get("agents", id)
        if row is not None and row.connected:
            transaction.change("agents", id, connected=False, lost_us=lost_us)
    return []


def connected(transaction: Transaction, _: Any) -> list[Any]:
    return [(row.id,) for row in transaction.rows("agents") if row.connected]


def recent(transaction: Transaction, given: Any) -> list[Any]:
    since_us = transaction.database.clock_us - given["lost_s"] * 1_000_000
    rows = [
        row
        for row in transaction.rows("agents")
        if (row.connected or (row.lost_us is not None and row.lost_us > since_us))
        and (given["after"] is None or row.id > given["after"])
    ]
    return [
        (
            row.id, row.name, row.token_id, row.owner, row.slots, row.operations, row.version, row.connected,
            row.draining, datetime_of(row.connected_us), datetime_of(row.seen_us), datetime_of(row.lost_us),
            datetime_of(row.removed_until_us),
        )
        for row in sorted(rows, key=lambda row: row.id)[: given["limit"]]
    ]  # fmt: skip


def drain(transaction: Transaction, given: Any) -> list[Any]:
    if transaction.get("agents", given["id"]) is None:
        return []
    transaction.lock(("agents", given["id"]))
    transaction.change("agents", given["id"], draining=True)
    return [(given["id"],)]


def remove(transaction: Transaction, given: Any) -> list[Any]:
    id = given["id"]
    if transaction.get("agents", id) is None:
        return []
    transaction.lock(("agents", id))
    row, now_us = transaction.get("agents", id), transaction.database.clock_us
    transaction.change(
        "agents",
        id,
        connected=False,
        lost_us=now_us if row.lost_us is None else row.lost_us,
        removed_until_us=now_us + round(given["seconds"] * 1_000_000),
    )
    return [(id,)]


def unusable(transaction: Transaction, given: Any) -> list[Any]:
    return [(id,) for id in given["ids"] if transaction.get("tokens", id) != "usable"]


def appear(transaction: Transaction, given: Any) -> list[Any]:
    transaction.lock(("orchestrators", given["id"]))
    row = (given["id"], given["url"], transaction.database.clock_us)
    transaction.insert("orchestrators", given["id"], row)
    return []


def present(transaction: Transaction, given: Any) -> list[Any]:
    since_us = transaction.database.clock_us - given["fresh_s"] * 1_000_000
    rows = sorted(
        row for row in transaction.rows("orchestrators") if row[2] is not None and row[2] > since_us
    )
    now_us = transaction.database.clock_us
    return [(id, url, (now_us - seen_us) / 1_000_000) for id, url, seen_us in rows[: given["limit"]]]


def disappear(transaction: Transaction, given: Any) -> list[Any]:
    transaction.lock(("orchestrators", given["id"]))
    transaction.insert("orchestrators", given["id"], (given["id"], "", None))  # as good as deleted
    return []


def nothing(transaction: Transaction, _: Any) -> list[Any]:
    return []
