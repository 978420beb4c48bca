"""Every statement of the store, and what does it on the simulated tables.

Keyed by the statements themselves, so that the store's own functions run unchanged: their loops, their
choices, their checks. A handler takes every lock it needs before it writes anything, for it is run again
from the start when it had to wait. A statement that is not here is an error that names it.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from curta_server import leadership as leading
from curta_server import notices
from curta_server.store import agents, expressions, finals, journal, orchestrators, terms, tokens
from tests.simulation import row_statements as rows
from tests.simulation import term_statements as does
from tests.simulation.database import Transaction

# The package has a function of this name.
operations = import_module("curta_server.store.operations")

Handler = Callable[[Transaction, Any], list[Any]]


def catalogue() -> dict[Any, Handler]:
    """The handlers by statement: by its text where it is sent as text, else by its identity."""
    by_module: Iterable[tuple[Any, dict[str, Handler]]] = (
        (
            leading,
            {
                "_LOOK": does.look,
                "_END_LEADER": does.end_leader,
                "_TRY_LOCK": does.try_lock,
                "_LOCK_ROW": does.lock_row,
                "_BEGIN_TERM": does.begin_term,
                "_BEAT": does.beat,
                "_RESIGN": does.resign,
            },
        ),
        (notices, {"_SEND": does.notify}),
        (
            terms,
            {
                "_RELEASE": does.release,
                "_RELEASE_SOME": does.release_some,
                "_RELEASE_STRAYS": does.release_strays,
                "_INTERRUPTED": does.interrupted,
                "_OWNERS": does.owners,
                "_OLDEST": does.oldest,
                "_CLAIM": does.claim,
                "_IS_LEADING": does.is_leading,
                "_HOLD": does.hold,
                "_MARK_RUNNING": does.mark_running,
                "_CANCELLED": does.cancelled,
                "_OPEN": does.still_open,
                "_ANY_WAITING": does.any_waiting,
            },
        ),
        (finals, {"_END": does.end, "_END_AGAIN": does.end_again, "_FINAL": does.final}),
        (journal, {"_APPEND": does.append, "_APPEND_AGAIN": does.append_again, "_CHUNK": does.chunk}),
        (
            expressions,
            {
                "_INSERT": rows.insert,
                "_BY_IDS": rows.by_ids,
                "_BY_CLIENT_IDS": rows.by_client_ids,
                "_CANCEL": rows.cancel,
                "_STATUS": rows.status,
            },
        ),
        (operations, {"_ALL": rows.all_operations, "_SET": rows.set_duration}),
        (
            agents,
            {
                "_SAVE": rows.save_agents,
                "_LOST": rows.lost,
                "_CONNECTED": rows.connected,
                "_RECENT": rows.recent,
                "_DRAIN": rows.drain,
                "_REMOVE": rows.remove,
            },
        ),
        (tokens, {"_UNUSABLE": rows.unusable}),
        (
            orchestrators,
            {
                "_APPEAR": rows.appear,
                "_PRESENT": rows.present,
                "_DISAPPEAR": rows.disappear,
                "_FORGET": rows.nothing,
            },
        ),
    )
    found: dict[Any, Handler] = {"SELECT 1": rows.nothing}
    for module, handlers in by_module:
        for name, handler in handlers.items():
            statement = getattr(module, name)
            found[statement if isinstance(statement, str) else id(statement)] = handler
    for full, statement in expressions._ONE.items():
        found[id(statement)] = rows.one(full)
    return found
