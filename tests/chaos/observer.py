"""Reads the database while everything else breaks: rows of the journal that change, work that stalls, and who
led when. Its connection is its own and breaks with PostgreSQL alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg

from tests.chaos.chronicle import Chronicle

LOOK_S = 0.25
# The last one: the server's farewell arrived between two of asyncpg's own messages.
_AWAY = OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
# Connections of an orchestrator are named, and the name ends with its id. So PostgreSQL itself writes down
# who finishes tasks or expressions without leading; the statement holds the leader's row, so that nobody else
# begins to lead meanwhile.
_GUARD = """
    CREATE TABLE trespasses (at timestamptz, what text, application text, leader text);
    CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO trespasses
        SELECT clock_timestamp(), TG_TABLE_NAME, current_setting('application_name'), leader::text
        FROM leadership
        WHERE leader IS NULL OR current_setting('application_name') NOT LIKE '%' || leader::text;
        RETURN NULL;
    END $$;
    CREATE TRIGGER guard AFTER INSERT ON journal FOR EACH ROW EXECUTE FUNCTION guard();
    CREATE TRIGGER guard AFTER UPDATE ON expressions FOR EACH ROW
        WHEN (NEW.status IN ('done', 'failed')) EXECUTE FUNCTION guard();
"""
_TRESPASSES = "SELECT at::text, what, application, leader FROM trespasses"
RECENT_S = 30.0
"""Rows that were finished so short a time ago are read again and again; all of them at the end."""
COMPARE_S = 1.0
WORTH_NOTING_S = 3.0

_PROGRESS = "SELECT (SELECT count(*) FROM journal), (SELECT epoch FROM leadership WHERE id = 1)"
_CONNECTED = "SELECT id::text FROM agents WHERE connected"
_ALL = """
    SELECT expression_id::text, task, value, agent::text, attempt, extract(epoch FROM started_at)::float8,
           extract(epoch FROM finished_at)::float8
    FROM journal
"""
_RECENT = f"{_ALL} WHERE finished_at > clock_timestamp() - interval '{RECENT_S:.0f} s'"


class Row(NamedTuple):
    """A row of the journal, all of it."""

    expression: str
    task: int
    value: str | None
    agent: str
    attempt: int
    started_at: float
    finished_at: float


@dataclass(slots=True)
class Began:
    """A term of leadership: it began between two moments; these agents were known to be connected then."""

    epoch: int
    not_before: float
    not_after: float
    expected: frozenset[str]


class Observer:
    """`open_count` says how many accepted expressions are not final: whether there is work to be done."""

    def __init__(self, database_url: str, chronicle: Chronicle, open_count: Callable[[], int]) -> None:
        self._url = database_url
        self._chronicle = chronicle
        self._open_count = open_count
        self.rows: dict[tuple[str, int], Row] = {}
        self.terms: dict[int, Began] = {}
        self.longest_stall_s = 0.0
        self.flows_s: list[float] = []
        """After each kill of a leader, until rows were committed again."""
        self._count = 0
        self._progress_at = time.monotonic()
        self._kills: list[tuple[float, int | None]] = []
        """Not flowing yet: when, and the count of rows soon after it."""
        self._looked_at = time.time()
        self._connected: frozenset[str] = frozenset()

    async def guard(self) -> None:
        """Before anything breaks: have PostgreSQL watch who writes."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(_GUARD)
        finally:
            await connection.close()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                connection = await asyncpg.connect(self._url, timeout=5, command_timeout=20)
                try:
                    await self._look(connection)
                finally:
                    connection.terminate()
            except _AWAY:
                self._note_stall()
                await asyncio.sleep(LOOK_S)

    def leader_was_killed(self) -> None:
        self._kills.append((time.monotonic(), None))

    async def _look(self, connection: asyncpg.Connection) -> None:
        compared_at = 0.0
        while True:
            ((count, epoch),) = await connection.fetch(_PROGRESS)
            self._note_progress(count)
            if epoch not in self.terms:
                self.terms[epoch] = Began(epoch, self._looked_at, time.time(), self._connected)
                self._chronicle.note(f"term {epoch} has begun")
            self._looked_at = time.time()
            self._connected = frozenset(row["id"] for row in await connection.fetch(_CONNECTED))
            if time.monotonic() - compared_at >= COMPARE_S:
                compared_at = time.monotonic()
                self.compare([Row(*row) for row in await connection.fetch(_RECENT)])
                self._report_trespasses(await connection.fetch(_TRESPASSES))
            await asyncio.sleep(LOOK_S)

    async def read_all(self) -> None:
        """At the end: every row that was ever seen is there, as it was."""
        connection = await asyncpg.connect(self._url)
        try:
            rows = [Row(*row) for row in await connection.fetch(_ALL)]
            self._report_trespasses(await connection.fetch(_TRESPASSES))
        finally:
            await connection.close()
        self.compare(rows)
        if len(rows) != len(self.rows):
            found = {(row.expression, row.task) for row in rows}
            lost = [row for name, row in self.rows.items() if name not in found]
            counts = f"{len(rows)} rows of {len(found)} tasks"
            self._chronicle.finding(f"the journal has {counts}; {len(lost)} are gone: {lost[:3]}")

    def compare(self, rows: list[Row]) -> None:
        for row in rows:
            known = self.rows.setdefault((row.expression, row.task), row)
            if known != row:
                self._chronicle.finding(f"a row of the journal has changed: {known} is now {row}")

    def _report_trespasses(self, rows: Sequence[asyncpg.Record]) -> None:
        for at, what, application, leader in rows:
            self._chronicle.finding(f"at {at} {application} wrote to {what} while {leader} led")

    def _note_progress(self, count: int) -> None:
        now = time.monotonic()
        if count > self._count or not self._open_count():
            if now - self._progress_at >= WORTH_NOTING_S:
                self._chronicle.note(f"no task was stored for {now - self._progress_at:.1f} s")
            self._progress_at = now
        self._count = count
        self._note_stall()
        for kill in list(self._kills):
            killed_at, soon_after = kill
            if soon_after is None:
                # What was being committed at the kill is no new flow.
                self._kills[self._kills.index(kill)] = (killed_at, count)
            elif count > soon_after:
                self._kills.remove(kill)
                self.flows_s.append(now - killed_at)
                self._chronicle.note(f"tasks flow again {now - killed_at:.1f} s after a kill of the leader")

    def _note_stall(self) -> None:
        self.longest_stall_s = max(self.longest_stall_s, time.monotonic() - self._progress_at)
