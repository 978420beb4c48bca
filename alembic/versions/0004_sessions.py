"""Sessions: who is signed in with a browser.

A release before this one knows no cookies: while both run side by side, it answers a browser's request 401.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UP = [
    """
    CREATE TABLE sessions (
        digest bytea CONSTRAINT sessions_pkey PRIMARY KEY,
        id uuid NOT NULL CONSTRAINT sessions_id_key UNIQUE,
        token_id uuid NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX sessions_token_id_expires_at_index ON sessions (token_id, expires_at)",
    """
    COMMENT ON TABLE sessions IS
    'Browsers that are signed in; digest is the SHA-256 of the cookie''s secret, which is stored nowhere.'
    """,
    "COMMENT ON COLUMN sessions.expires_at IS 'put off by use; the token may end it sooner'",
]

DOWN = ["DROP TABLE sessions"]


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
