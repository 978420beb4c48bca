"""Who leads: one at a time, whatever happens to the others."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import leadership, store
from curta_server.errors import NotLeading
from curta_server.leadership import Leadership
from tests.support.drafts import begin_term, scalar
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the real times."""
    for name, seconds in (
        ("BEAT_S", 0.2),
        ("POLL_S", 0.1),
        ("FREE_S", 0.4),
        ("TRUST_S", 1.2),
        ("_RETRY_S", 0.05),
    ):
        monkeypatch.setattr(leadership, name, seconds)


class Candidate:
    """A process that would lead, with what became of it."""

    def __init__(self, url: str) -> None:
        self.id = uuid4()
        self.terms: list[int] = []
        self.is_serving = False
        self.fail: asyncio.Event = asyncio.Event()
        self.leadership = Leadership(url, id=self.id, url=f"http://{self.id}", on_term=self._serve)
        self.task = asyncio.create_task(self.leadership.run())

    async def _serve(self, epoch: int) -> None:
        assert self.leadership.epoch == epoch
        self.terms.append(epoch)
        self.is_serving = True
        try:
            await self.fail.wait()
            raise NotLeading("a write was refused")
        finally:
            self.is_serving = False

    @property
    def is_leading(self) -> bool:
        return self.leadership.epoch > 0 and self.is_serving

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@pytest.fixture
async def candidates(database_url: str) -> AsyncIterator["Candidates"]:
    all = Candidates(database_url)
    yield all
    for one in all.made:
        await one.stop()


class Candidates:
    def __init__(self, url: str) -> None:
        self.url = url
        self.made: list[Candidate] = []

    def start(self) -> Candidate:
        self.made.append(Candidate(self.url))
        return self.made[-1]

    async def leader(self) -> Candidate:
        one = self.start()
        await until(lambda: one.is_leading)
        return one


async def end_backends(engine: AsyncEngine, id: UUID) -> None:
    statement = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE :name"
    )
    async with engine.begin() as connection:
        await connection.execute(statement, {"name": f"%{id}"})


async def test_who_starts_alone_leads_at_once(candidates: Candidates, engine: AsyncEngine) -> None:
    began = time.monotonic()
    one = await candidates.leader()
    assert time.monotonic() - began < 0.35
    assert one.terms == [1]
    row = await scalar(engine, "SELECT epoch || ' ' || leader || ' ' || url FROM leadership")
    assert row == f"1 {one.id} http://{one.id}"
    async with engine.connect() as connection:
        assert abs(one.leadership.clock.now_us() - await store.clock_us(connection)) < 100_000


async def test_a_beat_that_waited_long_does_not_put_the_clock_wrong(
    candidates: Candidates, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await candidates.leader()
    clock = one.leadership.clock
    measure, began = clock.measure, time.monotonic()
    took_s: list[float] = []
    told_us: list[int] = []

    def watch(asked_s: float, clock_us: int, answered_s: float) -> None:
        measure(asked_s, clock_us, answered_s)
        took_s.append(answered_s - asked_s)
        told_us.append(clock.us(began))

    monkeypatch.setattr(clock, "measure", watch)
    await until(lambda: len(took_s) > 1)
    async with engine.begin() as other:
        await other.execute(text("SELECT pg_sleep(0.8) FROM leadership FOR UPDATE"))
    await until(lambda: max(took_s) > 0.4)
    assert max(told_us) - min(told_us) < 100_000
    assert one.terms == [1]


async def test_one_leads_and_the_others_know_who(candidates: Candidates) -> None:
    one = await candidates.leader()
    others = [candidates.start() for _ in range(3)]
    await until(lambda: all(other.leadership.leader is not None for other in others))
    assert {other.leadership.leader for other in others} == {leadership.Leader(1, one.id, f"http://{one.id}")}
    assert not any(other.is_serving for other in others)


async def test_beats_keep_a_term_beyond_the_time_of_trust(
    candidates: Candidates, engine: AsyncEngine
) -> None:
    one = await candidates.leader()
    first = await scalar(engine, "SELECT beat FROM leadership")

    async def is_beyond() -> bool:
        found = await scalar(
            engine, f"SELECT beat > '{first}'::timestamptz + interval '1.5 s' FROM leadership"
        )
        return bool(found)

    await until(is_beyond)
    assert one.is_leading and one.terms == [1]


async def test_a_leader_that_stops_in_good_order_hands_over_at_once(candidates: Candidates) -> None:
    one = await candidates.leader()
    other = candidates.start()
    await until(lambda: other.leadership.leader is not None)
    await one.stop()
    assert not one.is_serving
    assert await until(lambda: other.is_leading) < 0.35
    assert other.terms == [2]


async def test_a_term_survives_a_cut_of_its_connection(candidates: Candidates, engine: AsyncEngine) -> None:
    one = await candidates.leader()
    other = candidates.start()
    await until(lambda: other.leadership.leader is not None)
    await end_backends(engine, one.id)

    async def has_the_lock_again() -> bool:
        statement = (
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            f"WHERE locktype = 'advisory' AND application_name LIKE '%{one.id}'"
        )
        return await scalar(engine, statement) == 1

    await until(has_the_lock_again)
    assert one.is_leading and one.terms == [1] and other.terms == []


async def test_who_starts_takes_a_free_lock_from_a_leader_that_died(
    candidates: Candidates, engine: AsyncEngine
) -> None:
    await begin_term(engine, 5)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE leadership SET leader = gen_random_uuid(), beat = clock_timestamp()")
        )
    began = time.monotonic()
    one = await candidates.leader()
    assert time.monotonic() - began < 0.35 and one.terms == [6]


async def test_a_leader_whose_process_died_is_followed_when_its_lock_is_free_for_long_enough(
    candidates: Candidates, engine: AsyncEngine
) -> None:
    holder = await holder_of_the_lock(candidates.url, engine)
    one = candidates.start()
    await until(lambda: one.leadership.leader is not None)
    await holder.close()
    waited = await until(lambda: one.is_leading)
    assert 0.3 < waited < 1.0


async def test_a_leader_that_hangs_is_followed_and_its_connections_end(
    candidates: Candidates, engine: AsyncEngine
) -> None:
    holder = await holder_of_the_lock(candidates.url, engine)
    writing = await store.connect(candidates.url, name=f"curta journal {HUNG}", statement_timeout_s=5)
    await writing.execute("BEGIN")
    await writing.execute("SELECT FROM leadership FOR KEY SHARE")
    one = candidates.start()
    await until(lambda: one.is_leading, within_s=4)
    await until(lambda: holder.is_closed() and writing.is_closed())


HUNG = uuid4()


async def holder_of_the_lock(url: str, engine: AsyncEngine) -> "leadership.Connection":
    """A leader that took the lock, beat once and hangs."""
    connection = await store.connect(url, name=f"curta leadership {HUNG}", statement_timeout_s=5)
    await connection.execute(leadership._TRY_LOCK)
    await connection.execute(
        "UPDATE leadership SET epoch = 3, leader = $1, url = '', beat = clock_timestamp()", HUNG
    )
    return connection


async def test_a_leader_that_cannot_beat_stops_leading_before_others_may(
    candidates: Candidates, engine: AsyncEngine
) -> None:
    one = await candidates.leader()
    async with engine.connect() as connection:
        await connection.begin()
        await connection.execute(text("SELECT FROM leadership FOR UPDATE"))  # beats wait for this
        await until(lambda: not one.is_serving)
        assert one.leadership.epoch == 0
        age_s = await connection.scalar(
            text("SELECT extract(epoch FROM clock_timestamp() - beat)::float8 FROM leadership")
        )
    assert isinstance(age_s, float) and 1.0 < age_s < 1.5


async def test_a_leader_whose_term_was_taken_stops(candidates: Candidates, engine: AsyncEngine) -> None:
    one = await candidates.leader()
    await begin_term(engine, 9)
    await until(lambda: one.terms == [1, 10])


async def test_a_term_whose_write_was_refused_ends_and_another_begins(candidates: Candidates) -> None:
    one = await candidates.leader()
    one.fail.set()
    await until(lambda: len(one.terms) > 1)
    one.fail.clear()


async def test_who_is_stopped_while_it_hands_over_leaves_no_connection_behind(
    candidates: Candidates, engine: AsyncEngine
) -> None:
    one = await candidates.leader()
    connection = one.leadership._connection
    assert connection is not None

    async def waits_for_the_row() -> bool:
        statement = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            f"AND application_name LIKE '%{one.id}' AND query LIKE '%leader = NULL%'"
        )
        return await scalar(engine, statement) == 1

    async with engine.begin() as other:
        await other.execute(text("SELECT FROM leadership FOR UPDATE"))
        one.fail.set()
        await until(waits_for_the_row)
        await one.stop()
    assert connection.is_closed()


async def test_the_epoch_turns_zero_by_the_clock_alone(
    candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await candidates.leader()
    now = time.monotonic()
    monkeypatch.setattr(leadership.time, "monotonic", lambda: now + 60)  # as after a SIGSTOP
    assert one.leadership.epoch == 0
    monkeypatch.undo()
