"""What PostgreSQL takes in of bare journal rows: one connection, one statement and commit for each batch.

The statement has the shape of the journal's (`curta_server.store.journal`), without the check of the term;
the arrays are made before the clock starts. Called by the scenario `limits`.
"""

import time
from uuid import uuid4

import asyncpg

BATCH = 2_000
"""Rows in one commit at full speed: CURTA_JOURNAL_ROWS_MAX."""

_TABLE = """
CREATE TABLE IF NOT EXISTS yardstick_rows (
    expression_id uuid, task integer, value text, agent uuid NOT NULL, attempt bigint NOT NULL,
    started_at timestamptz NOT NULL, finished_at timestamptz NOT NULL, PRIMARY KEY (expression_id, task))
"""
_APPEND = """
INSERT INTO yardstick_rows (expression_id, task, value, agent, attempt, started_at, finished_at)
SELECT d.expression_id, d.task, d.value, d.agent, d.attempt,
       'epoch'::timestamptz + d.started_us * interval '1 microsecond',
       'epoch'::timestamptz + d.finished_us * interval '1 microsecond'
FROM unnest($1::text::uuid[], $2::text::integer[], $3::text::text[], $4::text::uuid[], $5::text::bigint[],
            $6::text::bigint[], $7::text::bigint[])
     AS d (expression_id, task, value, agent, attempt, started_us, finished_us)
ON CONFLICT DO NOTHING
"""


async def measure(url: str, rows: int) -> float:
    """Rows a second, durable."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_TABLE)
        append = await connection.prepare(_APPEND)
        batches = _batches(rows)
        began = time.perf_counter()
        for batch in batches:
            await append.fetch(*batch)
        return rows / (time.perf_counter() - began)
    finally:
        await connection.close()


def _batches(rows: int) -> list[tuple[str, ...]]:
    """The seven columns of each batch, as PostgreSQL writes arrays. Within it tasks come in any order, as
    they do from agents."""
    expression, agents = uuid4(), [uuid4() for _ in range(10)]
    now_us = time.time_ns() // 1000
    batches = []
    for first in range(0, rows, BATCH):
        tasks = sorted(range(first, min(first + BATCH, rows)), key=lambda task: task * 7919 % BATCH)
        columns = (
            [expression] * len(tasks),
            tasks,
            [task * 37 for task in tasks],
            [agents[task % 10] for task in tasks],
            [2**20 + task for task in tasks],
            [now_us + task for task in tasks],
            [now_us + task + 900 for task in tasks],
        )
        batches.append(tuple("{" + ",".join(map(str, column)) + "}" for column in columns))
    return batches
