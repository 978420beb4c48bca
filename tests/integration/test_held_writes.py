"""A write of an old leader that was under way when another one took over arrives late: nothing is written.

Nothing but the epoch stands between it and the table here: the old leader still believes in itself, its
connection is open, and the database has just not seen the bytes yet.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from curta_server import leadership, pulse
from tests.integration.orchestrators import any_orchestrator, orchestrator
from tests.integration.test_outages import socket_of, through
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy
from tests.support.waiting import until

FOREVER_S = 600.0

_JOURNAL = "FROM pg_stat_activity WHERE application_name LIKE 'curta journal %' AND state = 'idle'"


class OldLeader:
    """The first leader's way to the database, which can be held, and the database itself."""

    def __init__(self, postgres: PostgresServer, database_url: str, proxy: Proxy) -> None:
        self._postgres = postgres
        self._name = database_url.partition("@/")[2].partition("?")[0]
        self._proxy = proxy
        self.url = through(proxy, database_url)

    def sql(self, query: str) -> str:
        return self._postgres.sql(query, database=self._name)

    def hold_its_writes(self) -> None:
        self._proxy.hold(from_target=False)

    def release(self) -> None:
        self._proxy.release()

    def lose_the_lock(self) -> None:
        """As when the one connection that the lead hangs on is lost, and no other."""
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        assert self.sql(f"{ended} AND application_name LIKE 'curta leadership %'") == "t"

    def epoch(self) -> int:
        return int(self.sql("SELECT epoch FROM leadership"))

    def has_stored_the_start(self, expression: str) -> bool:
        """Then its journal has nothing more to write before the next result comes."""
        status = self.sql(f"SELECT status FROM expressions WHERE id = '{expression}'")
        return status == "running" and self.last_asked() != ""

    def last_asked(self) -> str:
        """When its last statement began, of a journal that waits for nothing; empty while none does."""
        return self.sql(f"SELECT max(query_start) {_JOURNAL} AND datname = current_database()")


@pytest.fixture
async def old(
    postgres: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OldLeader]:
    # It is not to find out by itself before the write arrives.
    for place, name in (
        (pulse, "ANSWER_S"),
        (pulse, "EVERY_S"),
        (leadership, "TRUST_S"),
        (leadership, "_BEAT_TIMEOUT_S"),
    ):
        monkeypatch.setattr(place, name, FOREVER_S)
    with Proxy(socket_of(database_url)) as proxy:
        yield OldLeader(postgres, database_url, proxy)


@pytest.mark.parametrize(
    ("text", "result", "computed"),
    [("1-2-3-4-5-6-7-8-9-10", "-53", 3), ("2+3", "5", 0)],
    ids=["of results", "of an end"],
)
async def test_a_write_of_an_old_term_that_arrives_in_the_next_one_changes_nothing(
    old: OldLeader, database_url: str, text: str, result: str, computed: int
) -> None:
    async with orchestrator(old.url) as first, first.agent() as agent:
        # Once before, so that the journal's statements are known to its connection, and one message each.
        await agent.join()
        warm = asyncio.create_task(agent.serve())
        assert (await first.admin.compute("1+1"))["result"] == "2"
        warm.cancel()
        submitted = await first.admin.submit(text, optimize=False)
        for _ in range(computed):
            (task,) = await agent.tasks(1)
            await agent.answer(task)
            await agent.acked(task)
        (task,) = await agent.tasks(1)
        await until(lambda: old.has_stored_the_start(submitted["id"]))
        term = old.epoch()
        before = old.sql("SELECT count(*) FROM journal")
        asked = old.last_asked()

        old.hold_its_writes()
        await agent.answer(task)
        old.lose_the_lock()
        async with any_orchestrator(database_url) as second:
            await until(second.is_leading)
            assert old.epoch() == term + 1
            assert old.last_asked() == asked, "the write was not held"

            old.release()
            await until(lambda: old.last_asked() not in ("", asked))
            assert old.sql("SELECT count(*) FROM journal") == before
            assert (await second.admin.show(submitted["id"]))["status"] == "running"
            code, _ = await agent.closed()  # by the answer to the write: nothing else tells its leader
            assert code == 1013

            async with second.agent() as other:
                await other.join()
                serving = asyncio.create_task(other.serve())
                ended = await second.admin.final(submitted["id"])
                serving.cancel()
        assert ended["result"] == result
