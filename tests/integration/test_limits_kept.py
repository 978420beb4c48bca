"""Limits of tokens and users, asked of a running orchestrator: 429 or 503 with `Retry-After`, nothing done,
and nobody else affected."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from websockets.exceptions import InvalidStatus

from curta_server import quota
from curta_server.credentials import Credentials
from curta_server.errors import Problem
from curta_server.quota import Quota
from tests.integration.orchestrators import Orchestrator, orchestrator
from tests.support.client import Client
from tests.support.drafts import scalar
from tests.support.waiting import until

MIB = 1024 * 1024


@contextlib.asynccontextmanager
async def town(
    database_url: str, engine: AsyncEngine, **settings: Any
) -> AsyncIterator[tuple[Orchestrator, Client, Client]]:
    """An orchestrator with these limits, and two users."""
    async with orchestrator(database_url, **settings) as server:
        _, one = await Credentials(engine).create("anna", "user")
        _, other = await Credentials(engine).create("bert", "user")
        async with server.client(one) as anna, server.client(other) as bert:
            yield server, anna, bert


def batch(count: int, text: str = "1+{}") -> dict[str, Any]:
    return {"expressions": [{"expression": text.format(n)} for n in range(count)]}


async def refused(asking: Any, status: int = 429) -> int:
    """The seconds after which to try again, of an answer that must be a refusal."""
    answer: httpx.Response = await asking
    code = {429: "too_many_requests", 503: "unavailable"}[status]
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{code}"), answer.text
    wait_s = int(answer.headers["Retry-After"])
    assert wait_s >= 1
    return wait_s


async def test_submissions_are_let_in_at_their_rate(database_url: str, engine: AsyncEngine) -> None:
    async with town(database_url, engine, submissions_per_s=1.0) as (_, anna, bert):
        for _ in range(2):
            await anna.submit("1+2")
        wait_s = await refused(anna.http.post("/expressions", content="1+2"))
        await refused(anna.http.post("/plan", content="1+2"))
        await bert.submit("1+2")
        await anna.ask("GET", "/expressions")
        assert await scalar(engine, "SELECT count(*) FROM expressions") == 3

        async def passes() -> bool:
            return (await anna.http.post("/expressions", content="1+2")).status_code == 200

        await until(passes, within_s=wait_s + 1)


async def test_a_batch_beyond_the_rate_is_refused_whole_and_passes_when_it_is_sent_again(
    database_url: str, engine: AsyncEngine
) -> None:
    async with town(database_url, engine, submissions_per_s=10.0) as (_, anna, _):
        # More than may come at once, and yet it passes, for nothing came before.
        answer = await anna.ask("POST", "/expressions/batch", json=batch(30))
        assert len(answer["items"]) == 30
        assert await refused(anna.http.post("/expressions/batch", json=batch(10))) == 2
        assert await scalar(engine, "SELECT count(*) FROM expressions") == 30

        async def passes() -> bool:
            return (await anna.http.post("/expressions/batch", json=batch(10))).status_code == 200

        assert await until(passes, within_s=5) > 1
        assert await scalar(engine, "SELECT count(*) FROM expressions") == 40


async def test_open_expressions_are_limited_for_each_user(database_url: str, engine: AsyncEngine) -> None:
    async with town(database_url, engine, open_expressions_max=5) as (server, anna, bert):
        first = [(await anna.submit(f"{n}+1"))["id"] for n in range(4)]
        await refused(anna.http.post("/expressions/batch", json=batch(2)))
        await anna.submit("7+7")
        await refused(anna.http.post("/expressions", content="1+2"))
        # What ends at once is not open; what is not accepted neither; others have their own.
        assert (await anna.submit("17"))["status"] == "done"
        await anna.problem("POST", "/expressions", status=400, content="1+")
        for n in range(5):
            await bert.submit(f"{n}+2")
        await refused(bert.http.post("/expressions", content="1+2"))
        for id in first:
            await anna.ask("DELETE", f"/expressions/{id}")

        async def passes() -> bool:
            return (await anna.http.post("/expressions/batch", json=batch(4))).status_code == 200

        await until(passes, within_s=3)
        await refused(anna.http.post("/expressions", content="1+2"))
        assert await scalar(engine, "SELECT count(*) FROM expressions WHERE finished_at IS NULL") == 10
        await server.admin.ask("GET", "/readyz")


async def test_what_is_sent_again_opens_nothing(database_url: str, engine: AsyncEngine) -> None:
    async with town(database_url, engine, open_expressions_max=3) as (_, anna, _):
        first = await anna.submit("8+9", id="again")
        for _ in range(5):
            assert (await anna.submit("8+9", id="again"))["id"] == first["id"]
        # Those counted nothing: there are two places left.
        for n in range(2):
            await anna.submit(f"{n}+1", id=f"open {n}")
        await refused(anna.http.post("/expressions", content="1+2"))
        assert (await anna.submit("8+9", id="again"))["id"] == first["id"], "however much is open"
        await anna.problem("POST", "/expressions", status=422, json={"expression": "9+9", "id": "again"})
        both = [{"expression": "8+9", "id": "again"}, {"expression": "0+1", "id": "open 0"}]
        answer = await anna.ask("POST", "/expressions/batch", json={"expressions": both})
        assert [one["client_id"] for one in answer["items"]] == ["again", "open 0"]
        with_new = {"expressions": [*both, {"expression": "1+2"}]}
        await refused(anna.http.post("/expressions/batch", json=with_new))
        assert await scalar(engine, "SELECT count(*) FROM expressions") == 3


async def test_open_expressions_are_counted_now_and_then_and_never_missed(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = 0
    table = 0

    async def counted(connection: Any, owner: str, most: int) -> int:
        nonlocal counts
        counts += 1
        return table

    monkeypatch.setattr(quota.store, "count_open_of", counted)
    one, other = Quota(engine, 100), Quota(engine, 100)
    for _ in range(60):
        async with one.places("anna", 1):
            table += 1
    assert counts == 1
    # Another orchestrator counts once, and adds its own from there.
    for _ in range(40):
        async with other.places("anna", 1):
            table += 1
    with pytest.raises(Problem, match="open expressions"):
        async with other.places("anna", 1):
            table += 1
    assert counts == 2
    # The first has not heard of them; it does when its count is old.
    monkeypatch.setattr(quota, "STALE_S", 0.0)
    monkeypatch.setattr(quota, "FRESH_S", 0.0)
    one._accounts["anna"].fresh_s = 0.0
    with pytest.raises(Problem):
        async with one.places("anna", 1):
            table += 1
    assert (counts, table) == (3, 100)


async def test_places_of_what_was_not_stored_are_free_again(engine: AsyncEngine) -> None:
    places = Quota(engine, 2)
    for _ in range(5):
        with pytest.raises(ConnectionResetError):
            async with places.places("anna", 2):
                raise ConnectionResetError
    async with places.places("anna", 2):
        with pytest.raises(Problem):
            async with places.places("anna", 1):
                pass


async def test_waiting_requests_are_limited_for_each_token(database_url: str, engine: AsyncEngine) -> None:
    async with town(database_url, engine, waiting_per_token_max=2) as (server, anna, bert):
        id = (await anna.submit("1+2"))["id"]

        async def wait() -> httpx.Response:
            while True:  # the probe below may have the place for a moment
                answer = await anna.http.get(f"/expressions/{id}?wait=20")
                if answer.status_code != 429:
                    return answer

        async def is_full() -> bool:
            return (await anna.http.get(f"/expressions/{id}?wait=0.01")).status_code == 429

        asking = [asyncio.create_task(wait()) for _ in range(2)]
        await until(is_full)
        await refused(anna.http.get(f"/expressions/{id}?wait=20"))
        assert (await anna.show(id))["id"] == id
        own = (await bert.submit("1+2"))["id"]
        await bert.show(own, wait=0.01)
        await server.admin.ask("DELETE", f"/expressions/{id}")
        for each in asking:
            assert (await each).json()["status"] == "cancelled"
        await anna.show(id, wait=1)


async def test_agents_sockets_are_limited_for_each_token(database_url: str, engine: AsyncEngine) -> None:
    async with town(database_url, engine, agents_per_token_max=2) as (server, _, _):
        _, secret = await Credentials(engine).create("m", "agent")
        async with server.agent() as one, server.agent() as two, server.agent() as late:
            await one.join()
            await two.open()  # those that have not said hello count, too
            with pytest.raises(InvalidStatus) as caught:
                await late.open()
            response = caught.value.response
            assert response.status_code == 429 and int(response.headers["Retry-After"]) >= 1
            assert b"too_many_requests" in response.body
            assert response.headers["Cache-Control"] == "no-store", "as of all answers"
            async with server.agent(secret=secret) as other:
                await other.join()
            await one.cut()

            async def opens() -> bool:
                with contextlib.suppress(InvalidStatus):
                    await late.open()
                    return True
                return False

            await until(opens)


# --- memory -----------------------------------------------------------------------------------------------


class Upload:
    """A body that stops before its end until it is told to go on."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.go_on = asyncio.Event()
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.sent < self.size:
            yield b" " * 65536
            self.sent += 65536
        await self.go_on.wait()
        yield b"1+2"


async def test_bodies_that_are_being_read_share_a_budget(database_url: str, engine: AsyncEngine) -> None:
    async with town(database_url, engine, bodies_bytes_max=2 * MIB) as (server, anna, bert):
        upload = Upload(MIB + MIB // 2)
        sending = asyncio.create_task(anna.http.post("/expressions", content=upload))
        await until(lambda: upload.sent >= upload.size)
        with contextlib.suppress(httpx.WriteError):
            await refused(bert.http.post("/expressions", content=b" " * MIB + b"1+2"), 503)
        await bert.submit("1+2")
        answer = await bert.http.post("/expressions", content=b" " * (MIB // 4) + b"1+2")
        assert answer.status_code == 200
        upload.go_on.set()
        assert (await sending).status_code == 200
        answer = await bert.http.post("/expressions", content=b" " * MIB + b"1+2")
        assert answer.status_code == 200
        async with server.client("curta_" + "A" * 43) as nobody:
            uploads = [Upload(MIB // 2) for _ in range(8)]
            hanging = [asyncio.create_task(nobody.http.post("/expressions", content=one)) for one in uploads]
            await until(lambda: all(one.sent for one in uploads))
            # More than there is room for: beyond a little of each, none of it is read.
            answer = await bert.http.post("/expressions", content=b" " * MIB + b"1+2")
            assert answer.status_code == 200
            for one in uploads:
                one.go_on.set()
            assert {(await each).status_code for each in hanging} == {401}


async def test_large_answers_are_within_the_budget_too(database_url: str, engine: AsyncEngine) -> None:
    async with town(database_url, engine, bodies_bytes_max=MIB) as (_, anna, _):
        terms = "+".join(str(n) for n in range(10_000, 60_000))
        id = (await anna.submit(terms))["id"]
        assert len((await anna.show(id))["expression"]) == len(terms)
        upload = Upload(3 * MIB // 4 + 64 * 1024)
        sending = asyncio.create_task(anna.http.post("/expressions", content=upload))
        await until(lambda: upload.sent >= upload.size)

        async def is_full() -> bool:
            return (await anna.http.get(f"/expressions/{id}")).status_code == 503

        await until(is_full)
        await refused(anna.http.get(f"/expressions/{id}"), 503)
        await anna.show(id, full="false")
        upload.go_on.set()
        assert (await sending).status_code == 200
        assert len((await anna.show(id))["expression"]) == len(terms)
