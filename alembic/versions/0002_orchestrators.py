"""Several orchestrators: who is there, and the secret by which a term's followers reach its leader.

A release before this one neither writes nor reads either. When it leads, the secret of an earlier term stays
in the row, and opens nothing: whoever began that term leads no more.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = [
    """
    CREATE TABLE orchestrators (
        id uuid CONSTRAINT orchestrators_pkey PRIMARY KEY,
        url text NOT NULL,
        seen timestamptz NOT NULL
    )
    """,
    """
    COMMENT ON TABLE orchestrators IS
    'Which orchestrators are there and where their peers reach them; each writes its row every few seconds.'
    """,
    # Last, because it locks the row that every leader's write looks at. No default, so it is over at once.
    "ALTER TABLE leadership ADD COLUMN secret text",
    "COMMENT ON COLUMN leadership.secret IS 'opens the leader to its followers, for this term only'",
]

DOWN = [
    "ALTER TABLE leadership DROP COLUMN secret",
    "DROP TABLE orchestrators",
]


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
