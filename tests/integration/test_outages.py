"""Which of the database's errors mean "later" and which mean a defect; and that silence is noticed."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import pulse, store
from curta_server.pulse import Pulse
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy
from tests.support.waiting import until


async def raised(engine: AsyncEngine, state: str) -> BaseException:
    """The error as it arrives when PostgreSQL itself says this."""
    statement = text(f"DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{state}'; END $$")
    with pytest.raises(Exception) as caught:
        async with engine.begin() as connection:
            await connection.execute(statement)
    return caught.value


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("08006", "cannot be reached"),
        ("25006", "only reads"),
        ("25P03", "cannot be reached"),
        ("25P04", "cannot be reached"),
        ("40001", "cannot be reached"),
        ("40003", "cannot be reached"),
        ("40P01", "cannot be reached"),
        ("53000", "cannot be reached"),
        ("53100", "disk is full"),
        ("53200", "out of memory"),
        ("53300", "no connection left"),
        ("55000", "cannot be reached"),
        ("55P03", "cannot be reached"),
        ("57014", "takes too long"),
        ("57P01", "is stopping"),
        ("57P02", "cannot be reached"),
        ("57P03", "starting or stopping"),
        ("57P05", "cannot be reached"),
        ("58000", "cannot be reached"),
        ("58030", "cannot be reached"),
    ],
)
async def test_what_will_pass_is_an_outage_and_has_a_sentence(
    engine: AsyncEngine, state: str, sentence: str
) -> None:
    error = await raised(engine, state)
    assert store.is_outage(error)
    assert sentence in store.outage_sentence(error)


@pytest.mark.parametrize(
    "state",
    ["22003", "22P05", "23502", "23505", "25001", "25P02", "42601", "42P01", "54000", "P0001", "XX000"],
)
async def test_what_is_wrong_with_us_or_the_data_is_no_outage(engine: AsyncEngine, state: str) -> None:
    assert not store.is_outage(await raised(engine, state))


async def test_a_database_that_only_reads_is_an_outage_for_writers(
    postgres: PostgresServer, database_url: str
) -> None:
    name = database_url.partition("@/")[2].partition("?")[0]
    postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    engine = store.create_engine(database_url, pool_size=1, name="curta test")
    with pytest.raises(Exception) as caught:
        async with engine.begin() as connection:
            await store.set_duration(connection, "addition", 5)
    assert store.is_outage(caught.value)
    await engine.dispose()


async def test_the_last_connection_being_taken_is_an_outage(
    postgres: PostgresServer, database_url: str
) -> None:
    name = database_url.partition("@/")[2].partition("?")[0]
    # Superusers have no limit, so somebody else has to ask.
    postgres.sql(f"CREATE ROLE {name}_guest LOGIN")
    postgres.sql(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    engine = store.create_engine(
        database_url.replace("postgres:@", f"{name}_guest:@"), pool_size=1, name="curta test"
    )
    try:
        with pytest.raises(Exception) as caught:
            async with engine.connect():
                pass
        assert store.is_outage(caught.value)
        assert "no connection left" in store.outage_sentence(caught.value)
    finally:
        await engine.dispose()
        postgres.sql(f"DROP ROLE {name}_guest")


class Asked:
    """A pulse and a pool through a proxy."""

    def __init__(self, proxy: Proxy, database_url: str) -> None:
        url = through(proxy, database_url)
        id = uuid4()
        self.pulse = Pulse(url, id=id)
        self.engine = store.create_engine(
            url, pool_size=2, name=f"curta {id}", is_silent=self.pulse.is_silent
        )


def through(proxy: Proxy, database_url: str) -> str:
    name = database_url.partition("@/")[2].partition("?")[0]
    return f"postgresql://postgres:@127.0.0.1:{proxy.port}/{name}"


@pytest.fixture
async def asked(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Asked, Proxy]]:
    monkeypatch.setattr(pulse, "EVERY_S", 0.05)
    monkeypatch.setattr(pulse, "ANSWER_S", 0.3)
    with Proxy(socket_of(database_url)) as proxy:
        one = Asked(proxy, database_url)
        running = asyncio.create_task(one.pulse.run())
        try:
            yield one, proxy
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            proxy.cut()
            await one.engine.dispose()


def socket_of(database_url: str) -> str:
    return f"{database_url.partition('host=')[2]}/.s.PGSQL.5432"


async def ask(engine: AsyncEngine) -> object:
    async with engine.connect() as connection:
        return await connection.scalar(text("SELECT 1"))


async def test_who_waits_for_a_database_that_went_silent_is_told_and_the_next_at_once(
    asked: tuple[Asked, Proxy],
) -> None:
    one, proxy = asked
    assert await ask(one.engine) == 1
    proxy.hold()
    began = time.monotonic()
    # More than there are connections: some wait for an answer, some for a place.
    for error in await asyncio.gather(*(ask(one.engine) for _ in range(5)), return_exceptions=True):
        assert isinstance(error, Exception) and store.is_outage(error)
    assert time.monotonic() - began < 3
    assert one.pulse.is_silent()
    began = time.monotonic()
    with pytest.raises(Exception) as caught:
        await ask(one.engine)
    assert store.is_outage(caught.value) and time.monotonic() - began < 0.2
    proxy.release()
    await until(lambda: not one.pulse.is_silent())
    assert await ask(one.engine) == 1


async def test_a_database_that_refuses_speaks_for_itself(asked: tuple[Asked, Proxy]) -> None:
    one, proxy = asked
    assert await ask(one.engine) == 1
    proxy.refuse()
    with pytest.raises(Exception) as caught:
        await ask(one.engine)
    assert store.is_outage(caught.value)
    assert not one.pulse.is_silent()
    proxy.accept()
    assert await ask(one.engine) == 1


async def test_one_dead_connection_is_not_taken_for_a_silent_database(
    asked: tuple[Asked, Proxy], caplog: pytest.LogCaptureFixture
) -> None:
    one, proxy = asked
    await until(lambda: one.pulse._connection is not None)
    dead = one.pulse._connection
    # Its answers are lost, others' come.
    proxy.on_to_target(b"SELECT 1", lambda: dead._transport.pause_reading())  # type: ignore[union-attr]
    await until(lambda: one.pulse._connection not in (None, dead))
    assert await ask(one.engine) == 1
    assert "does not answer" not in caplog.text


@pytest.mark.parametrize("how", ["silent", "refusing"])
async def test_a_host_that_is_away_does_not_keep_from_the_next_one(
    database_url: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("curta_server.store.engine.CONNECT_TIMEOUT_S", 0.3)
    name = database_url.partition("@/")[2].partition("?")[0]
    with Proxy(socket_of(database_url)) as first, Proxy(socket_of(database_url)) as second:
        url = (
            f"postgresql://postgres:@127.0.0.1:{first.port},127.0.0.1:{second.port}/{name}"
            "?target_session_attrs=read-write"
        )
        for proxy in (first, second, first):
            proxy.hold() if how == "silent" else proxy.refuse()

            async def answers() -> bool:
                try:
                    connection = await store.connect(url, name="curta test", statement_timeout_s=1)
                except TimeoutError:
                    return False
                found = await connection.fetchval("SELECT 1")
                await connection.close()
                return bool(found == 1)

            assert await until(answers) < 2
            began = time.monotonic()
            assert await answers(), "it does not remember who answered"
            assert time.monotonic() - began < 0.3
            proxy.release()
            proxy.accept()


async def test_where_only_standbys_are_left_it_is_an_outage(
    postgres: PostgresServer, database_url: str
) -> None:
    name = database_url.partition("@/")[2].partition("?")[0]
    postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(Exception) as caught:
        await store.connect(
            database_url + "&target_session_attrs=read-write", name="curta test", statement_timeout_s=1
        )
    assert store.is_outage(caught.value)
