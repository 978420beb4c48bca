"""What docs/operations.md says can be done: its names exist, its statements run, a restore ends so."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from curta_server import metrics
from curta_server.views import Stats
from tests.integration.orchestrators import orchestrator
from tests.support.postgres import NEWEST, PostgresServer, programs

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_every_metric_of_the_page_is_exposed() -> None:
    states = dict.fromkeys(("lost", "queued"), 0)
    exposed = metrics.exposition(Stats(True, states, states, 0, 0, 0, 0), states).decode()
    # A labelled counter shows nothing before it has counted.
    exposed += " ".join(f"{family.name}_total" for family in metrics.registry.collect())
    names = set(re.findall(r"\bcurta_[a-z_]+", PAGE)) - {"curta_restored"}  # a database
    assert names and {name for name in names if name not in exposed} == set()


def test_every_variable_of_the_page_is_documented() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert {name for name in re.findall(r"\bCURTA_[A-Z_]+", PAGE) if name not in settings} == set()


def test_every_statement_of_the_page_runs(postgres: PostgresServer, database_url: str) -> None:
    name = database_url.partition("@/")[2].partition("?")[0]
    blocks = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        postgres.sql(block, database=name)


@pytest.fixture
def restored_url(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.database(template="template0")
    yield url
    postgres.drop(url)


async def test_after_a_restore_agents_keep_what_they_were_handed_in_the_time_that_is_lost(
    postgres: PostgresServer, database_url: str, restored_url: str, tmp_path: Path
) -> None:
    found = programs(NEWEST)
    assert found is not None
    dump, restore = found / "pg_dump", found / "pg_restore"
    if not dump.exists():
        if shutil.which("pg_dump") is None:
            pytest.skip("pg_dump is not installed here")
        dump, restore = Path("pg_dump"), Path("pg_restore")
    backup = tmp_path / "curta.dump"
    async with orchestrator(database_url) as one:
        submitted = await one.admin.submit("2+3")
        run(dump, "--format=custom", f"--file={backup}", database_url)
    async with orchestrator(database_url) as one, one.agent() as agent:
        await agent.join()
        (task,) = await agent.tasks(1)
        await one.admin.submit("3+4")  # which the restore forgets
        held, id = task, agent.id

    run(restore, "--clean", "--if-exists", "--no-owner", f"--dbname={restored_url}", str(backup))
    (statement,) = re.findall(r"UPDATE leadership .*?;", PAGE)
    postgres.sql(statement, database=restored_url.partition("@/")[2].partition("?")[0])
    async with orchestrator(restored_url) as one, one.agent(agent=id) as agent:
        welcome = await agent.join(held=[{"task": held["task"], "attempt": held["attempt"]}])
        assert welcome["drop"] == []
        await agent.answer(held)
        await agent.acked(held)
        ended = await one.admin.final(submitted["id"])
        assert ended["result"] == "5"
        (shown,) = await one.admin.tasks(submitted["id"])
        assert shown["attempt"] == held["attempt"]
        assert len((await one.admin.ask("GET", "/expressions"))["items"]) == 1


def run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=60)
