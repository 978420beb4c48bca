"""Deleting what is old, a batch at a time. What is open is never touched."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# The rows of one expression can be millions: a batch is counted in rows of the journal.
_JOURNAL_ROWS = text("""
    DELETE FROM journal WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM journal WHERE expression_id = ANY (CAST(:ids AS uuid[])) LIMIT :limit))
""")

# By leaps through the journal's key. Ids are ordered by time, so whatever ended before then stands below
# `:below`, and of the rest of those below only few are left: the ones that are open or ended late. Rows whose
# expression is gone (written by a leader that had not heard of it) go too.
_WITH_JOURNAL = text("""
    WITH RECURSIVE named AS (
        (SELECT expression_id FROM journal ORDER BY expression_id LIMIT 1)
        UNION ALL
        SELECT (SELECT j.expression_id FROM journal AS j
                WHERE j.expression_id > named.expression_id ORDER BY j.expression_id LIMIT 1)
        FROM named WHERE named.expression_id < :below
    )
    SELECT n.expression_id FROM named AS n LEFT JOIN expressions AS e ON e.id = n.expression_id
    WHERE n.expression_id < :below AND (e.id IS NULL OR e.finished_at < :before)
    LIMIT :limit
""")

_EXPIRED = text("""
    SELECT id FROM expressions WHERE finished_at IS NOT NULL AND finished_at < :before
    ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
""")

_DELETE = text("DELETE FROM expressions WHERE id = ANY (CAST(:ids AS uuid[])) AND finished_at IS NOT NULL")

_SKEW = timedelta(days=1)
"""Ids carry their maker's clock, the rest of a row the database's."""

_EXPRESSIONS_MAX = 1_000
"""So many expressions are looked at in one batch."""


async def prune_journals(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete up to `limit` journal rows of expressions that ended before then; returns how many: 0 means no
    more."""
    found = await connection.execute(
        _WITH_JOURNAL, {"before": before, "below": _first_id(before + _SKEW), "limit": _EXPRESSIONS_MAX}
    )
    ids = list(found.scalars())
    if not ids:
        return 0
    return (await connection.execute(_JOURNAL_ROWS, {"ids": ids, "limit": limit})).rowcount


async def prune_expressions(connection: AsyncConnection, before: datetime, limit: int) -> tuple[int, int]:
    """Delete up to `limit` rows, the journals of expressions that ended before then first, then those
    themselves.

    Returns how many expressions and how many journal rows; (0, 0) means no more.
    """
    found = await connection.execute(_EXPIRED, {"before": before, "limit": min(limit, _EXPRESSIONS_MAX)})
    ids = list(found.scalars())
    if not ids:
        return 0, 0
    rows = (await connection.execute(_JOURNAL_ROWS, {"ids": ids, "limit": limit})).rowcount
    if rows == limit:
        return 0, rows  # more of them may be there
    return (await connection.execute(_DELETE, {"ids": ids})).rowcount, rows


def _first_id(moment: datetime) -> UUID:
    """The lowest id that can have been made then: a UUIDv7 begins with milliseconds since 1970 in 48 bits."""
    return UUID(int=max(0, round(moment.timestamp() * 1000)) << 80)
