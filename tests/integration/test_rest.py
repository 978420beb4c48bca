"""REST on a real server (uvicorn as in production) and a real PostgreSQL; only the leader is a stand-in."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import httpx
import pytest
import uvicorn
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from curta_server.api import Services, create_app
from curta_server.credentials import Credentials
from curta_server.feed import Feed
from curta_server.intake import Intake
from curta_server.leading import Leading
from curta_server.planning import Planning
from curta_server.settings import Settings
from curta_wire.offload import Offload
from tests.support.fakes import (
    FakeDispatcher,
    FakeForwarding,
    FakeLeadership,
    FakeNotices,
    FakePull,
    FakeThere,
)
from tests.support.postgres import PostgresServer
from tests.support.waiting import until


class QuietServer(uvicorn.Server):
    """uvicorn without signal handlers: pytest has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@dataclass
class Site:
    """A running orchestrator's REST side; clients of each role."""

    url: str
    engine: AsyncEngine
    dispatcher: FakeDispatcher
    feed: Feed
    secrets: dict[str, str]
    clients: dict[str, httpx.AsyncClient]

    async def submit(self, text: str, by: str = "user", **options: Any) -> dict[str, Any]:
        answer = await self.clients[by].post("/expressions", content=text.encode(), **options)
        assert answer.status_code == 200, answer.text
        return cast("dict[str, Any]", answer.json())


@pytest.fixture
async def site(engine: AsyncEngine) -> AsyncIterator[Site]:
    settings = Settings(body_bytes_max=1_000_000, inline_text_bytes=1000)
    feed, credentials = Feed(), Credentials(engine)
    dispatcher = FakeDispatcher(feed)
    intake = Intake(
        engine,
        hold=lambda _: 0,
        on_stored=lambda *_: None,
        on_waiting=lambda: None,
        changed=feed.changed,
        statement_timeout_s=settings.statement_timeout_s,
    )
    offload = Offload(1, 8)
    app = create_app(
        Services(
            settings=settings,
            engine=engine,
            dispatcher=cast("Any", dispatcher),
            pull=cast("Any", FakePull()),
            feed=feed,
            intake=intake,
            credentials=credentials,
            planning=Planning(settings, offload),
            checks=offload,
            leadership=cast("Any", None),
            leading=Leading(dispatcher, FakeThere(), FakeLeadership(), FakeNotices()),
            forwarding=cast("Any", FakeForwarding()),
            agent_board=cast("Any", None),
            stats_board=cast("Any", None),
        )
    )
    server = QuietServer(
        uvicorn.Config(
            app, loop="none", http="httptools", ws="none", lifespan="off", log_config=None, access_log=False
        )
    )
    secrets = {}
    await credentials.bootstrap("", "")
    for role, name in (
        ("user", "anna"),
        ("other", "bert"),
        ("admin", "root"),
        ("viewer", "guest"),
        ("agent", "m"),
    ):
        _, secrets[role] = await credentials.create(name, "user" if role == "other" else role)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        tasks = [asyncio.create_task(intake.run()), asyncio.create_task(server.serve([listening]))]
        clients = {
            role: httpx.AsyncClient(
                base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=20, trust_env=False
            )
            for role, secret in secrets.items()
        }
        await until(lambda: server.started)
        try:
            yield Site(url, engine, dispatcher, feed, secrets, clients)
        finally:
            for client in clients.values():
                await client.aclose()
            server.should_exit = True
            await tasks[1]
            tasks[0].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            offload.close()


async def _finish(site: Site, id: str, result: str, exact: str | None = None) -> None:
    async with site.engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE expressions SET status = 'done', value = :result, result = :result, exact = :exact,"
                " finished_at = clock_timestamp(), tasks_done = tasks WHERE id = :id"
            ),
            {"id": id, "result": result, "exact": exact},
        )


async def test_what_was_submitted_is_found_again(site: Site) -> None:
    user = site.clients["user"]
    body = await site.submit("2+2*2")
    answer = await user.get(f"/expressions/{body['id']}")
    assert answer.json() == body
    assert body["created_at"].endswith("Z")
    assert (body["tasks"], body["status"]) == ({"total": 2, "done": 0, "running": 0}, "queued")
    assert (await user.get("/expressions")).json() == {"items": [body], "next": None}


async def test_curl_s_form_type_is_taken_literally(site: Site) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for sent in ("2 + 2 * 2", "1+%2B", "a=1+2"):
        answer = await site.clients["user"].post("/expressions", content=sent, headers=headers)
        assert answer.status_code == (200 if sent == "2 + 2 * 2" else 400)
    assert answer.json()["position"] == 0


async def test_a_chunked_body_is_a_body(site: Site) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for part in (b"2+", b"2", b"*2"):
            yield part

    answer = await site.clients["user"].post("/expressions", content=chunks())
    assert answer.json()["expression"] == "2+2*2"

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"1" * 50_000

    with contextlib.suppress(httpx.WriteError):
        answer = await site.clients["user"].post("/expressions", content=endless())
        assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too_long")


async def test_a_body_that_is_too_large_is_413(site: Site) -> None:
    with contextlib.suppress(httpx.WriteError):
        answer = await site.clients["user"].post("/expressions", content=b"1" * 1_000_001)
        assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too_long")
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_fifty_requests_with_one_id_create_one_expression(site: Site) -> None:
    headers = {"Idempotency-Key": "order 66"}
    bodies = await asyncio.gather(*(site.submit("1+2", headers=headers) for _ in range(50)))
    assert len({body["id"] for body in bodies}) == 1
    answer = await site.clients["user"].post("/expressions", content="1+3", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/id_reused")
    other = await site.submit("1+3", by="other", headers=headers)
    assert other["owner"] == "bert"


async def test_a_batch_is_stored_in_order(site: Site) -> None:
    items = [{"expression": f"{i}+1"} for i in range(3000)]
    items[7] = {"expression": "7+"}
    answer = await site.clients["user"].post("/expressions/batch", json={"expressions": items})
    found = answer.json()["items"]
    assert found[7]["type"] == "/problems/invalid_expression"
    assert [one.get("expression") for one in found if "title" not in one] == [
        one["expression"] for one in items if one["expression"] != "7+"
    ]
    assert [one["id"] for one in found if "id" in one] == sorted(one["id"] for one in found if "id" in one)


async def test_pages_walk_through_all_of_a_users_expressions(site: Site) -> None:
    ids = [(await site.submit(f"{i}+1"))["id"] for i in range(7)]
    await site.submit("1+1", by="other")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await site.clients["user"].get("/expressions", params={"limit": "3", **cursor})).json()
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == ids[::-1]
    everybodys = (await site.clients["viewer"].get("/expressions")).json()["items"]
    assert len(everybodys) == 8


async def test_a_search_takes_its_words_literally(site: Site) -> None:
    for sent in ("1e2+1", "12+1"):
        await site.submit(sent)
    for q, count in (("1E2", 1), ("%", 0), ("_", 0), ("\\", 0), ("+1", 2), ("'", 0)):
        page = (await site.clients["user"].get("/expressions", params={"q": q})).json()
        assert len(page["items"]) == count, q


async def test_a_waiting_look_ends_with_the_expression(site: Site) -> None:
    id = (await site.submit("1+2"))["id"]
    waiting = asyncio.create_task(site.clients["user"].get(f"/expressions/{id}?wait=20"))
    await until(lambda: bool(site.feed._watches))
    await _finish(site, id, "3")
    site.feed.publish_final(id)
    body = (await waiting).json()
    assert (body["status"], body["result"], body["tasks"]["done"]) == ("done", "3", 1)


async def test_long_texts_and_results_are_cut_in_lists(site: Site) -> None:
    id = (await site.submit("1+" * 1000 + "1"))["id"]
    await _finish(site, id, "7" * 5000, "1/" + "7" * 5000)
    full = (await site.clients["user"].get(f"/expressions/{id}")).json()
    assert (len(full["expression"]), len(full["result"]), full["truncated"]) == (2001, 5000, [])
    (listed,) = (await site.clients["user"].get("/expressions")).json()["items"]
    assert listed["truncated"] == ["expression", "result", "exact"]
    assert len(listed["result"]) == 200
    cut = (await site.clients["user"].get(f"/expressions/{id}?full=false")).json()
    assert cut == listed


async def test_cancelling_is_for_the_owner_and_admins(site: Site) -> None:
    id = (await site.submit("1+2"))["id"]
    assert (await site.clients["other"].delete(f"/expressions/{id}")).status_code == 404
    assert (await site.clients["user"].delete(f"/expressions/{id}")).json()["status"] == "cancelled"
    assert (await site.clients["admin"].delete(f"/expressions/{id}")).json()["status"] == "cancelled"
    done = (await site.submit("5"))["id"]
    assert (await site.clients["user"].delete(f"/expressions/{done}")).status_code == 409


async def test_the_plan_is_read_from_the_table_with_its_journal(site: Site) -> None:
    id = (await site.submit("(1+2)*(3+4)"))["id"]
    async with site.engine.begin() as connection:
        await connection.execute(
            text("INSERT INTO journal VALUES (:id, 0, :value, :id, 5, clock_timestamp(), clock_timestamp())"),
            {"id": UUID(id), "value": "3" * 300},
        )
    body = (await site.clients["user"].get(f"/expressions/{id}/tasks")).json()
    states = {item["task"].rpartition(".")[2]: item for item in body["items"]}
    assert {name: item["state"] for name, item in states.items()} == {
        "0": "done", "1": "ready", "2": "waiting",
    }  # fmt: skip
    assert (states["0"]["value"], states["0"]["truncated"]) == ("3" * 200, ["value"])


async def test_a_large_plan_is_shown_in_part(site: Site) -> None:
    id = (await site.submit("+".join(map(str, range(20_000)))))["id"]
    body = (await site.clients["user"].get(f"/expressions/{id}/tasks")).json()
    assert len(body["items"]) == 2000
    assert sum(item["below"] for item in body["items"]) == 19_999 - 2000


async def test_a_token_made_by_an_admin_works_until_it_is_revoked(site: Site) -> None:
    made = (await site.clients["admin"].post("/tokens", json={"name": "zoe", "role": "user"})).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    user = site.clients["user"]
    assert (await user.get("/operations", headers=headers)).status_code == 200
    assert (await site.clients["admin"].delete(f"/tokens/{made['id']}")).status_code == 200
    answer = await user.get("/operations", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/unauthorized")
    listed = (await site.clients["admin"].get("/tokens")).json()["items"]
    admin = next(token["id"] for token in listed if token["role"] == "admin")
    answer = await site.clients["admin"].delete(f"/tokens/{admin}")
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/last_admin")


async def test_durations_are_stored(site: Site) -> None:
    answer = await site.clients["user"].put("/operations/division", json={"duration_ms": 17})
    assert answer.json() == {"name": "division", "symbol": "/", "duration_ms": 17}
    listed = (await site.clients["viewer"].get("/operations")).json()["items"]
    assert [one["duration_ms"] for one in listed] == [1000, 1000, 2000, 17]


async def test_heads_have_no_body_and_health_is_open(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url, trust_env=False) as anybody:
        for path in ("/healthz", "/readyz", "/leaderz", "/metrics", "/docs", "/openapi.json"):
            answer = await anybody.head(path)
            assert (answer.status_code, answer.content) == (200, b"")
            assert (await anybody.get(path)).status_code == 200
        assert (await anybody.get("/expressions")).status_code == 401


async def test_a_client_that_goes_away_loses_nothing(site: Site) -> None:
    sending = asyncio.create_task(site.submit("1+2", headers={"Idempotency-Key": "gone"}))
    await asyncio.sleep(0)
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    again = await site.submit("1+2", headers={"Idempotency-Key": "gone"})
    async with site.engine.connect() as connection:
        assert len(await store.list_expressions(connection)) == 1
    assert again["client_id"] == "gone"


async def test_without_a_database_it_is_503_and_recovers_by_itself(
    site: Site, postgres: PostgresServer
) -> None:
    id = (await site.submit("1+2"))["id"]
    user = site.clients["user"]
    postgres.kill()
    try:
        for method, path in (("GET", f"/expressions/{id}"), ("GET", "/operations"), ("POST", "/expressions")):
            answer = await user.request(method, path, content=b"1+2" if method == "POST" else None)
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        assert (await user.get("/readyz")).status_code == 503
        assert (await user.get("/healthz")).status_code == 200
        assert (await user.get("/metrics")).status_code == 200
    finally:
        postgres.start()
    assert (await user.get(f"/expressions/{id}")).json()["id"] == id
    await site.submit("1+2")
    assert (await user.get("/readyz")).status_code == 200
