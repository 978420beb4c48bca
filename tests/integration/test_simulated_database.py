"""The simulation's model of PostgreSQL against PostgreSQL: the same calls of the store, the same answers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from curta_server import leadership, store
from curta_server.core.expression import parse
from curta_server.core.plan import build
from curta_server.errors import NotLeading
from tests.simulation.database import Database
from tests.simulation.driver import Wire, connect
from tests.simulation.engines import Engine
from tests.simulation.loops import Loop, World
from tests.simulation.statements import catalogue
from tests.support.drafts import rows

OPERATIONS = {"addition": 1000, "subtraction": 1000, "multiplication": 2000, "division": 2000}
DURATIONS = (1000, 1000, 2000, 2000)
FUTURE_US = 4_000_000_000_000_000
"""Later than whatever either clock says."""

ID = UUID("0198a3a0-0000-7000-8000-000000000000")
STEPS = 60
BLOCKED_S = 0.25
"""Who is not answered by then waits for a lock."""

Call = Callable[[Any], Awaitable[Any]]


def id_of(number: int) -> UUID:
    return UUID(int=ID.int + number)


def draft(random: Random) -> store.Draft:
    text = random.choice(["1+2", "3*4-5", "1/0", "2"])
    plan = build(parse(text), DURATIONS)
    client_id = random.choice([None, None, "x", "y", "z"])
    value = "2" if text == "2" else None
    number = random.randrange(12)
    return store.Draft(
        id_of(number), random.choice(["ann", "bob"]), client_id, text, random.random() < 0.7, plan,
        plan.encode(), len(plan), DURATIONS, value, value, None,
    )  # fmt: skip


def calls(random: Random) -> Iterator[tuple[str, Call]]:
    """Calls of the store without end, drawn from the same dice for whoever asks."""
    while True:
        epoch = random.choice([1, 2, 2, 3, 3, 3])
        ids = [id_of(random.randrange(12)) for _ in range(random.randint(1, 4))]
        agents = [str(id_of(100 + n)) for n in random.sample(range(4), random.randint(1, 3))]
        yield random.choice([expression_call, term_call, term_call, agent_call])(random, epoch, ids, agents)


def expression_call(random: Random, epoch: int, ids: list[UUID], agents: list[str]) -> tuple[str, Call]:
    match random.randrange(6):
        case 0 | 1:
            drafts = {one.id: one for one in (draft(random) for _ in range(random.randint(1, 3)))}
            epochs = [random.choice([0, epoch]) for _ in drafts]
            return "insert", lambda c: store.insert_expressions(c, list(drafts.values()), epochs)
        case 2:
            owner = random.choice([None, "ann", "bob"])
            done = random.choice([None, 1])
            return "cancel", lambda c: store.cancel_expression(c, ids[0], owner=owner, tasks_done=done)
        case 3:
            full = random.random() < 0.5
            return "read", lambda c: store.expression(c, ids[0], full=full)
        case 4:
            name, duration_ms = random.choice([*OPERATIONS, "power"]), random.randrange(5000)
            return "set duration", lambda c: store.set_duration(c, name, duration_ms)
        case _:
            return "operations", store.operations


def some_rows(random: Random, epoch: int, ids: list[UUID], agent: str) -> store.JournalColumns:
    """A row or two of each."""
    rows = sorted({(str(id), random.randrange(3)) for id in ids})
    values = [random.choice(["7", "-1/3", None]) for _ in rows]
    count = len(rows)
    return store.JournalColumns(
        [id for id, _ in rows], [task for _, task in rows], values, [agent] * count,
        [epoch << 20 | 1] * count, [0] * count, [FUTURE_US] * count,
    )  # fmt: skip


def term_call(random: Random, epoch: int, ids: list[UUID], agents: list[str]) -> tuple[str, Call]:
    match random.randrange(13):
        case 0 | 1:
            tasks, room = random.choice([0, 2, 100]), random.choice([0, 1, 10])
            loaded = random.choice([{}, {"ann": 3}])
            return "claim", lambda c: store.claim_expressions(
                c, epoch, tasks_budget=tasks, expressions_budget=room, loaded_by_owner=loaded
            )
        case 2:
            return "release", lambda c: store.release_expressions(c, epoch)
        case 3:
            return "return", lambda c: returned(c, epoch, ids)
        case 4:
            return "return strays", lambda c: store.return_strays(c, epoch, ids)
        case 5:
            times = [random.choice([0, FUTURE_US]) for _ in ids]
            some = sorted(set(ids))
            return "mark running", lambda c: store.mark_running(c, epoch, some, times[: len(some)])
        case 6 | 7:
            finals = [final(random, id) for id in sorted(set(ids))]
            last = some_rows(random, epoch, ids, agents[0]) if random.random() < 0.5 else None
            return "end", lambda c: store.end_expressions(c, epoch, finals, last, again=True)
        case 8 | 9:
            columns = some_rows(random, epoch, ids, agents[0])
            return "append", lambda c: store.append_journal(c, epoch, columns, again=True)
        case 10:
            return "hold", lambda c: store.hold_term(c, epoch)
        case 11:
            chunk = random.choice([1, 2, 10])
            return "journal", lambda c: journal(c, ids[0], chunk)
        case _:
            return "look", lambda c: look(c, ids)


async def returned(connection: Any, epoch: int, ids: list[UUID]) -> set[UUID]:
    return set(await store.return_expressions(connection, epoch, ids))


async def journal(connection: Any, id: UUID, chunk: int) -> list[Any]:
    return [rows async for rows in store.journal_of(connection, id, chunk=chunk)]


async def look(connection: Any, ids: list[UUID]) -> list[Any]:
    return [
        await store.open_expressions(connection, ids),
        await store.final_statuses(connection, ids),
        await store.any_waiting(connection),
        await store.cancelled_since(connection, 0),
    ]


def final(random: Random, id: UUID) -> store.Final:
    started_us = random.choice([None, 0, FUTURE_US])
    if random.random() < 0.5:
        return store.Final(id, "done", 2, FUTURE_US, started_us, "7", "7", None)
    return store.Final(id, "failed", 1, 0, started_us, None, None, None, "too_large", "so it is", f"{id}.0")


def agent_call(random: Random, epoch: int, ids: list[UUID], agents: list[str]) -> tuple[str, Call]:
    match random.randrange(6):
        case 0:
            seen = [
                store.AgentSeen(id, "a", str(ID), "ann", 2, random.choice([(), ("addition",)]), "1", 5, 6)
                for id in agents
            ]
            return "save agents", lambda c: store.save_agents(c, seen)
        case 1:
            lost = {id: random.choice([0, 1_200_000_000_000_000]) for id in agents}
            return "lost", lambda c: store.mark_lost(c, lost)
        case 2:
            return "connected", store.connected_agents
        case 3:
            after = random.choice([None, UUID(agents[0])])
            return "list agents", lambda c: store.list_agents(c, after=after, limit=3, lost_s=1e9)
        case 4:
            return "drain", lambda c: store.drain_agent(c, UUID(agents[0]))
        case _:
            return "remove", lambda c: store.remove_agent(c, UUID(agents[0]))


# --- two databases, one script ------------------------------------------------------------------------------


class Simulated:
    """A script's run on the model."""

    def __init__(self) -> None:
        self.world = World(1)
        self.database = Database(self.world, OPERATIONS)
        self.wire = Wire(self.world, self.database, catalogue())
        self.loop = Loop(self.world, "script")

    def run(self, script: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        engine = Engine(self.wire, self.loop, self.loop, name="script", pool_size=5)

        async def own() -> Any:
            return await script(engine, self._connect)

        task = self.loop.create_task(own())
        while not task.done():
            self.world.run(self.world.now + 0.01)
        return task.result()

    async def _connect(self) -> Any:
        return await connect(self.wire, self.loop, self.loop, name="script", statement_timeout_s=30)


def on_postgres(url: str, script: Callable[[Any, Any], Awaitable[Any]]) -> Any:
    async def own() -> Any:
        engine = store.create_engine(url, pool_size=5, name="script")
        try:
            return await script(engine, lambda: store.connect(url, name="script", statement_timeout_s=30))
        finally:
            await engine.dispose()

    return asyncio.run(own())


def plain(answer: Any) -> Any:
    """Without what the two clocks say."""
    if isinstance(answer, datetime):
        return "a moment"
    if is_dataclass(answer) and not isinstance(answer, type):
        return {name: plain(value) for name, value in asdict(answer).items()}
    if isinstance(answer, dict):
        return {plain(key): plain(value) for key, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [plain(one) for one in answer]
    if isinstance(answer, set):
        return sorted(map(str, answer))
    return answer


async def begin_term(connection: Any) -> None:
    async with connection.transaction():
        await connection.execute(leadership._LOCK_ROW)
        await connection.fetchrow(leadership._BEGIN_TERM, ID, "http://here", "secret")


@pytest.mark.parametrize("seed", range(8))
def test_calls_one_after_the_other_give_the_same_answers(database_url: str, seed: int) -> None:
    async def script(engine: Any, connect: Any) -> list[Any]:
        random = Random(seed)
        connection = await connect()
        answers: list[Any] = []
        terms = 0
        for (name, call), _ in zip(calls(random), range(STEPS), strict=False):
            if terms < 3 and random.random() < 0.15:
                terms += 1
                await begin_term(connection)
            async with engine.begin() as transaction:
                try:
                    answers.append((name, plain(await call(transaction))))
                except NotLeading:
                    answers.append((name, "not leading"))
        row = await connection.fetchrow(leadership._LOOK)
        answers.append((row["epoch"], row["leader"], row["url"], row["secret"], row["is_free"]))
        await connection.close()
        return answers

    simulated = Simulated().run(script)
    real = on_postgres(database_url, script)
    for ours, theirs in zip(simulated, real, strict=True):
        assert ours == theirs
    assert len({name for name, *_ in real}) > 8


def test_a_row_that_is_there_already_is_an_error_unless_it_may_be(database_url: str) -> None:
    async def script(engine: Any, connect: Any) -> list[Any]:
        connection = await connect()
        await begin_term(connection)
        seen: list[Any] = []
        for tasks, again in ((range(3), False), (range(2, 5), False), (range(2, 5), True)):
            try:
                async with engine.begin() as transaction:
                    await store.append_journal(transaction, 1, rows(ID, tasks), again=again)
                seen.append("stored")
            except Exception as error:
                seen.append((store.is_duplicate(error), store.is_outage(error)))
            async with engine.connect() as transaction:
                seen.append(await journal(transaction, ID, 10))
        await connection.close()
        return seen

    seen = Simulated().run(script)
    assert seen == on_postgres(database_url, script)
    assert seen[::2] == ["stored", (True, False), "stored"]


@pytest.mark.parametrize("seed", range(16))
def test_transactions_side_by_side_wait_for_each_other_alike(database_url: str, seed: int) -> None:
    """Two transactions take turns, and a take-over comes in between: who waits, for whom, and what then."""

    async def script(engine: Any, connect: Any) -> list[Any]:
        random = Random(seed)
        first = await connect()
        await begin_term(first)
        source = calls(Random(1000 + seed))
        async with engine.begin() as transaction:
            for (name, call), _ in zip(source, range(25), strict=False):
                with suppress(NotLeading):
                    if name in ("insert", "save agents"):
                        await call(transaction)
        seen: list[Any] = []

        async def one(name: str, transaction: Any, call: Call) -> Any:
            try:
                return plain(await call(transaction))
            except NotLeading:
                return "not leading"

        left, right = engine.begin(), engine.begin()
        async with engine.connect(), engine.connect():
            pass  # who connects first would be taken for one who waits for a lock
        async with left as a:
            held = [
                (name, await one(name, a, call)) for (name, call), _ in zip(source, range(2), strict=False)
            ]
            seen += held
            took = asyncio.create_task(begin_term(first)) if random.random() < 0.5 else None
            if took is not None:
                await asyncio.wait([took], timeout=BLOCKED_S)
                seen.append(("take-over waits", not took.done()))

            async def beside() -> list[Any]:
                async with right as b:
                    pairs = zip(source, range(2), strict=False)
                    return [(name, await one(name, b, call)) for (name, call), _ in pairs]

            other = asyncio.create_task(beside())
            await asyncio.wait([other], timeout=BLOCKED_S)
            seen.append(("other waits", not other.done()))
        await asyncio.wait([task for task in (other, took) if task is not None], timeout=5)
        for task in (other, took):
            if task is not None:
                try:
                    seen.append(task.result())
                except (asyncpg.DeadlockDetectedError, Exception) as error:
                    seen.append(type(error).__name__)
        await first.close()
        return seen

    assert Simulated().run(script) == on_postgres(database_url, script)
