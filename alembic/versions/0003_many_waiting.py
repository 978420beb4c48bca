"""Indexes for a table in which millions wait or have ended.

Lists by status and by owner get indexes that hold both, and what waits is kept in the order in which it is
claimed, which no other index has: so no statistics can lead the planner through everybody's rows instead.
Building them blocks writes for about a second a million expressions.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UP = [
    "DROP INDEX expressions_owner_id_index, expressions_open_index, expressions_waiting_index,"
    " expressions_interrupted_index",
    "CREATE INDEX expressions_status_id_index ON expressions (status, id)",
    "CREATE INDEX expressions_owner_status_id_index ON expressions (owner, status, id)",
    """
    CREATE INDEX expressions_waiting_index ON expressions (owner, created_at, id)
    WHERE finished_at IS NULL AND epoch = 0
    """,
    """
    CREATE INDEX expressions_interrupted_index ON expressions (started_at, id)
    WHERE finished_at IS NULL AND epoch = 0 AND status = 'running'
    """,
    "CREATE INDEX expressions_held_index ON expressions (epoch) WHERE finished_at IS NULL AND epoch <> 0",
]

DOWN = [
    "DROP INDEX expressions_status_id_index, expressions_owner_status_id_index, expressions_waiting_index,"
    " expressions_interrupted_index, expressions_held_index",
    "CREATE INDEX expressions_owner_id_index ON expressions (owner, id)",
    """
    CREATE INDEX expressions_waiting_index ON expressions (owner, id)
    WHERE finished_at IS NULL AND epoch = 0
    """,
    """
    CREATE INDEX expressions_interrupted_index ON expressions (id)
    WHERE finished_at IS NULL AND epoch = 0 AND status = 'running'
    """,
    "CREATE INDEX expressions_open_index ON expressions (id) WHERE finished_at IS NULL",
]


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
