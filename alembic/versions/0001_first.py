"""The first schema: leadership, operations, tokens, expressions, journal, agents.

In SQL, so that what an old revision does can never change with a file of ours.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UP = [
    """
    CREATE TABLE leadership (
        id smallint CONSTRAINT leadership_pkey PRIMARY KEY CONSTRAINT leadership_single_check CHECK (id = 1),
        epoch bigint NOT NULL DEFAULT 0,
        leader uuid,
        url text,
        beat timestamptz
    )
    """,
    """
    COMMENT ON TABLE leadership IS
    'One row: who leads, since which term, and when it last said so. An advisory lock is beside it.'
    """,
    "INSERT INTO leadership (id) VALUES (1)",
    """
    CREATE TABLE operations (
        name text CONSTRAINT operations_pkey PRIMARY KEY,
        symbol text NOT NULL,
        duration_ms bigint NOT NULL,
        position smallint NOT NULL
    )
    """,
    """
    INSERT INTO operations (name, symbol, duration_ms, position) VALUES
        ('addition', '+', 1000, 0), ('subtraction', '-', 1000, 1),
        ('multiplication', '*', 2000, 2), ('division', '/', 2000, 3)
    """,
    """
    CREATE TABLE tokens (
        id uuid CONSTRAINT tokens_pkey PRIMARY KEY,
        name text NOT NULL,
        role text NOT NULL CONSTRAINT tokens_role_check CHECK (role IN ('viewer', 'user', 'admin', 'agent')),
        digest bytea NOT NULL CONSTRAINT tokens_digest_key UNIQUE,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz,
        revoked_at timestamptz,
        last_used_at timestamptz
    )
    """,
    """
    COMMENT ON TABLE tokens IS 'Bearer tokens; digest is the SHA-256 of the secret, which is stored nowhere.'
    """,
    """
    CREATE TABLE expressions (
        id uuid CONSTRAINT expressions_pkey PRIMARY KEY,
        owner text NOT NULL,
        client_id text,
        text text NOT NULL,
        head text NOT NULL,
        text_length integer NOT NULL,
        optimize boolean NOT NULL,
        status text NOT NULL CONSTRAINT expressions_status_check
            CHECK (status IN ('queued', 'running', 'done', 'failed', 'cancelled')),
        plan bytea NOT NULL,
        tasks integer NOT NULL,
        tasks_done integer NOT NULL DEFAULT 0,
        durations bigint[] NOT NULL,
        epoch bigint NOT NULL DEFAULT 0,
        value text,
        result text,
        exact text,
        error_code text,
        error_message text,
        error_task text,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        started_at timestamptz,
        finished_at timestamptz,
        CONSTRAINT expressions_owner_client_id_key UNIQUE (owner, client_id)
    )
    """,
    "ALTER TABLE expressions ALTER COLUMN plan SET STORAGE EXTERNAL",
    "COMMENT ON COLUMN expressions.head IS 'the first 200 characters of text'",
    "COMMENT ON COLUMN expressions.text_length IS 'in characters'",
    "COMMENT ON COLUMN expressions.plan IS 'compressed by its encoder, so stored as it is'",
    "COMMENT ON COLUMN expressions.durations IS 'milliseconds at submission, as in plans'",
    "COMMENT ON COLUMN expressions.epoch IS 'the term whose leader holds it in memory; 0 waits here'",
    "COMMENT ON COLUMN expressions.value IS 'the exact value, as a wire number'",
    "COMMENT ON COLUMN expressions.result IS 'for people'",
    "COMMENT ON COLUMN expressions.exact IS 'the fraction, where result is rounded'",
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
    "CREATE INDEX expressions_finished_at_index ON expressions (finished_at) WHERE finished_at IS NOT NULL",
    """
    CREATE TABLE journal (
        expression_id uuid,
        task integer,
        value text,
        agent uuid NOT NULL,
        attempt bigint NOT NULL,
        started_at timestamptz NOT NULL,
        finished_at timestamptz NOT NULL,
        CONSTRAINT journal_pkey PRIMARY KEY (expression_id, task)
    )
    """,
    """
    COMMENT ON TABLE journal IS
    'Append-only: one row for each finished task. No foreign key: it would cost a lock for each.'
    """,
    "COMMENT ON COLUMN journal.value IS 'a wire number; null is a division by zero'",
    """
    CREATE TABLE agents (
        id uuid CONSTRAINT agents_pkey PRIMARY KEY,
        name text NOT NULL,
        token_id uuid NOT NULL,
        owner text NOT NULL,
        slots integer NOT NULL,
        operations text[] NOT NULL,
        version text NOT NULL DEFAULT '',
        connected boolean NOT NULL,
        draining boolean NOT NULL DEFAULT false,
        connected_at timestamptz NOT NULL,
        seen_at timestamptz NOT NULL,
        lost_at timestamptz,
        removed_until timestamptz
    )
    """,
    """
    COMMENT ON TABLE agents IS
    'Written rarely and in batches; who lives is known by the leader''s memory alone.'
    """,
]

DOWN = [
    f"DROP TABLE {name}"
    for name in ("agents", "journal", "expressions", "tokens", "operations", "leadership")
]


def upgrade() -> None:
    for statement in UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWN:
        op.execute(statement)
