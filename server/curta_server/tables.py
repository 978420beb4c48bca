"""The tables, as SQLAlchemy Core sees them: the one description of the schema, and Alembic's metadata.

The store's statements are written against these names; the migrations repeat them on purpose, so that an old
revision never changes when this file does, and a test compares the two. Nothing here runs SQL.

All rows of an expression carry its id as the leading key column, so that `expressions` and `journal` can be
partitioned or distributed by it.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_index",
    }
)

HEAD_CHARACTERS = 200
"""So much of a text is kept beside it, for lists and for searching."""

_MOMENT = DateTime(timezone=True)

leadership = Table(
    "leadership",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    Column("leader", Uuid),
    Column("url", Text),
    Column("beat", _MOMENT),
    Column("secret", Text, comment="opens the leader to its followers, for this term only"),
    CheckConstraint("id = 1", name="single"),
    comment="One row: who leads, since which term, and when it last said so. An advisory lock is beside it.",
)

orchestrators = Table(
    "orchestrators",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("url", Text, nullable=False),
    Column("seen", _MOMENT, nullable=False),
    comment="Which orchestrators are there and where their peers reach them; "
    "each writes its row every few seconds.",
)

operations = Table(
    "operations",
    metadata,
    Column("name", Text, primary_key=True),
    Column("symbol", Text, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("position", SmallInteger, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", _MOMENT, nullable=False, server_default=text("clock_timestamp()")),
    Column("expires_at", _MOMENT),
    Column("revoked_at", _MOMENT),
    Column("last_used_at", _MOMENT),
    UniqueConstraint("digest"),
    CheckConstraint("role IN ('viewer', 'user', 'admin', 'agent')", name="role"),
    comment="Bearer tokens; digest is the SHA-256 of the secret, which is stored nowhere.",
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("id", Uuid, nullable=False),
    Column("token_id", Uuid, nullable=False),
    Column("created_at", _MOMENT, nullable=False, server_default=text("clock_timestamp()")),
    Column("expires_at", _MOMENT, nullable=False, comment="put off by use; the token may end it sooner"),
    UniqueConstraint("id"),
    Index("sessions_token_id_expires_at_index", "token_id", "expires_at"),
    comment="Browsers that are signed in; digest is the SHA-256 of the cookie's secret, "
    "which is stored nowhere.",
)

expressions = Table(
    "expressions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("client_id", Text),
    Column("text", Text, nullable=False),
    Column("head", Text, nullable=False, comment="the first 200 characters of text"),
    Column("text_length", Integer, nullable=False, comment="in characters"),
    Column("optimize", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("plan", LargeBinary, nullable=False, comment="compressed by its encoder, so stored as it is"),
    Column("tasks", Integer, nullable=False),
    Column("tasks_done", Integer, nullable=False, server_default=text("0")),
    Column("durations", ARRAY(BigInteger), nullable=False, comment="milliseconds at submission, as in plans"),
    Column(
        "epoch",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="the term whose leader holds it in memory; 0 waits here",
    ),
    Column("value", Text, comment="the exact value, as a wire number"),
    Column("result", Text, comment="for people"),
    Column("exact", Text, comment="the fraction, where result is rounded"),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("error_task", Text),
    Column("created_at", _MOMENT, nullable=False, server_default=text("clock_timestamp()")),
    Column("started_at", _MOMENT),
    Column("finished_at", _MOMENT),
    UniqueConstraint("owner", "client_id"),
    CheckConstraint("status IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="status"),
    Index("expressions_status_id_index", "status", "id"),
    Index("expressions_owner_status_id_index", "owner", "status", "id"),
    # In the order of claims, which no other index has: see store.terms.
    Index(
        "expressions_waiting_index",
        "owner",
        "created_at",
        "id",
        postgresql_where=text("finished_at IS NULL AND epoch = 0"),
    ),
    # After a restart the ones that ran come first, and must be found among many that never did.
    Index(
        "expressions_interrupted_index",
        "started_at",
        "id",
        postgresql_where=text("finished_at IS NULL AND epoch = 0 AND status = 'running'"),
    ),
    # What the leader holds: few, whatever waits or has ended.
    Index("expressions_held_index", "epoch", postgresql_where=text("finished_at IS NULL AND epoch <> 0")),
    Index("expressions_finished_at_index", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
)

journal = Table(
    "journal",
    metadata,
    Column("expression_id", Uuid, primary_key=True),
    Column("task", Integer, primary_key=True, autoincrement=False),
    Column("value", Text, comment="a wire number; null is a division by zero"),
    Column("agent", Uuid, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("started_at", _MOMENT, nullable=False),
    Column("finished_at", _MOMENT, nullable=False),
    comment="Append-only: one row for each finished task. No foreign key: it would cost a lock for each.",
)

agents = Table(
    "agents",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("token_id", Uuid, nullable=False),
    Column("owner", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("operations", ARRAY(Text), nullable=False),
    Column("version", Text, nullable=False, server_default=text("''")),
    Column("connected", Boolean, nullable=False),
    Column("draining", Boolean, nullable=False, server_default=text("false")),
    Column("connected_at", _MOMENT, nullable=False),
    Column("seen_at", _MOMENT, nullable=False),
    Column("lost_at", _MOMENT),
    Column("removed_until", _MOMENT),
    comment="Written rarely and in batches; who lives is known by the leader's memory alone.",
)
