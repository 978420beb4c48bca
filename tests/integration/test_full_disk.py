"""The database has no room: what needs room is refused and says why, what is computed waits, and everything
goes on by itself once there is room."""

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.integration.orchestrators import Orchestrator, orchestrator
from tests.support.foreign import ForeignAgent
from tests.support.postgres import PostgresServer
from tests.support.waiting import until

BACKLOG_MAX = 6
SLOTS = 4


class Disk:
    """As PostgreSQL tells of a full one: every row that would take room is refused."""

    def __init__(self, sql: Callable[[str], str]) -> None:
        self._sql = sql
        sql(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$"
        )

    def fill(self) -> None:
        for table in ("expressions", "journal", "tokens", "agents"):
            self._sql(f"CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION no_room()")

    def clear(self) -> None:
        for table in ("expressions", "journal", "tokens", "agents"):
            self._sql(f"DROP TRIGGER no_room ON {table}")


@pytest.fixture
def disk(postgres: PostgresServer, database_url: str) -> Iterator[Disk]:
    name = database_url.partition("@/")[2].partition("?")[0]
    yield Disk(lambda statement: postgres.sql(statement, database=name))


async def metric(one: Orchestrator, name: str) -> float:
    text = (await one.admin.http.get("/metrics")).text
    (value,) = [line.split()[-1] for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(value)


async def test_a_full_disk_refuses_new_work_keeps_results_and_goes_on_by_itself(
    database_url: str, disk: Disk
) -> None:
    async with (
        orchestrator(database_url, journal_backlog_max=BACKLOG_MAX, journal_rows_max=1) as one,
        one.agent(slots=SLOTS) as agent,
    ):
        await agent.join()
        text = "*".join(f"({a}+{a + 1})" for a in range(1, 101))
        submitted = await one.admin.submit(text)
        tasks = await agent.tasks(SLOTS)
        await asyncio.to_thread(disk.fill)

        computed = await compute_until_nothing_comes(one, agent, tasks)
        # One batch is being written, one row more than the backlog's limit has made it full, and what the
        # agent had in its hands by then came in.
        assert BACKLOG_MAX < len(computed) <= BACKLOG_MAX + 2 * SLOTS + 1
        assert await metric(one, "curta_journal_backlog_rows") == len(computed)
        await until(lambda: pending(one))

        for method, path, body in (
            ("POST", "/expressions", {"expression": "1+1"}),
            ("POST", "/tokens", {"name": "eve", "role": "user"}),
            ("DELETE", f"/expressions/{submitted['id']}", None),
        ):
            problem = await one.admin.problem(method, path, status=503, json=body)
            assert problem["detail"] == "The database's disk is full."
        shown = await one.admin.show(submitted["id"])
        assert shown["tasks"]["done"] == 0
        assert (await one.admin.http.get("/leaderz")).status_code == 200

        await asyncio.to_thread(disk.clear)
        for task in computed:
            await agent.acked(task)
        serving = asyncio.create_task(agent.serve())
        ended = await one.admin.final(submitted["id"])
        expected = 1
        for a in range(1, 101):
            expected *= 2 * a + 1
        assert ended["result"] == str(expected)
        assert (await one.admin.compute("1+1"))["result"] == "2"
        assert await metric(one, "curta_journal_pending_seconds") == 0
        serving.cancel()


async def compute_until_nothing_comes(
    one: Orchestrator, agent: ForeignAgent, tasks: list[dict[str, object]]
) -> list[dict[str, object]]:
    """Answer each task as it comes; all that were answered when no more come."""
    computed = []
    while tasks:
        for task in tasks:
            await agent.answer(task)
            computed.append(task)
        await agent.beat()
        try:
            tasks = (await agent.expect("tasks", within_s=0.5))["tasks"]
        except TimeoutError:
            tasks = []
    return computed


async def pending(one: Orchestrator) -> bool:
    """Whether an alert can see that results cannot be stored."""
    return await metric(one, "curta_journal_pending_seconds") > 1


async def test_a_database_that_only_reads_is_not_ready(database_url: str, postgres: PostgresServer) -> None:
    name = database_url.partition("@/")[2].partition("?")[0]
    async with orchestrator(database_url) as one:
        assert (await one.admin.http.get("/readyz")).status_code == 200
        postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

        async def says_why() -> bool:
            # Just cut off, it may say for a moment that the database cannot be reached.
            answer: httpx.Response = await one.admin.http.get("/readyz")
            assert answer.status_code == 503
            return bool(answer.json()["detail"] == "The database only reads at the moment.")

        await until(says_why)
        problem = await one.admin.problem("POST", "/expressions", status=503, content="1+1")
        assert problem["detail"] == "The database only reads at the moment."
        assert (await one.admin.http.get("/expressions")).status_code == 200
        postgres.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

        async def is_ready() -> bool:
            return (await one.admin.http.get("/readyz")).status_code == 200

        await until(is_ready)
