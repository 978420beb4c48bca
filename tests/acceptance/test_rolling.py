"""A rolling restart of two orchestrators under load: clients retry at most, agents compute nothing twice."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import httpx
import pytest

from tests.support.client import Client
from tests.support.processes import ADMIN, Cluster, free_port, wait_until
from tests.support.waiting import until

pytestmark = pytest.mark.acceptance

CLIENTS = 20
AGENTS = 3
LONG_S = 12
"""Longer than it takes to replace both orchestrators, so that the same attempt lives under both."""

PATIENCE_S = 10.0
"""Tasks flow again within this after a leader went, and so does everything else."""


class Patron:
    """Submits an expression with an id of its own, waits for its end, checks it, and begins anew.

    It talks to both orchestrators in turn. A connection that fails and a 503 are tried again at the other
    one; any other answer than 200 fails the test, 404 for what was accepted above all.
    """

    def __init__(self, number: int, urls: list[str]) -> None:
        self._random = random.Random(number)
        self._urls = itertools.cycle(urls if number % 2 else urls[::-1])
        self._number = number
        self.finished: list[dict[str, Any]] = []
        self.retries: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        headers = {"Authorization": f"Bearer {ADMIN}"}
        async with httpx.AsyncClient(headers=headers, timeout=20) as http:
            while not stop.is_set():
                await self._see_through(http)

    async def _see_through(self, http: httpx.AsyncClient) -> None:
        text, value = self._expression()
        id = f"{self._number}/{len(self.finished)}"
        made = await self._ask(http, "POST", "/expressions", json={"expression": text, "id": id})
        while True:
            shown = await self._ask(http, "GET", f"/expressions/{made['id']}", params={"wait": 5})
            assert shown["client_id"] == id
            if shown["finished_at"] is not None:
                break
        assert (shown["status"], Fraction(shown["exact"] or shown["result"])) == ("done", value), (
            text,
            shown,
        )
        self.finished.append(shown)

    async def _ask(self, http: httpx.AsyncClient, method: str, path: str, **options: Any) -> dict[str, Any]:
        began = time.monotonic()
        while True:
            url = next(self._urls)
            try:
                answer = await http.request(method, url + path, **options)
            except httpx.TransportError as error:
                why = repr(error)
            else:
                if answer.status_code == 200:
                    body: dict[str, Any] = answer.json()
                    return body
                assert answer.status_code == 503, (method, path, answer.status_code, answer.text)
                assert int(answer.headers["retry-after"]) >= 1
                why = answer.text
            self.retries.append(f"{method} {why}")
            assert time.monotonic() - began < PATIENCE_S, f"{method} {path} in vain: {self.retries[-5:]}"
            await asyncio.sleep(self._random.uniform(0.05, 0.2))

    def _expression(self) -> tuple[str, Fraction]:
        """Some sums of products, of numbers that nobody else uses."""
        text, value = "", Fraction(0)
        for _ in range(self._random.randint(2, 5)):
            left, right = (self._random.randint(1, 10**9) for _ in range(2))
            operator = self._random.choice("*/")
            text += f"+{left}{operator}{right}"
            value += Fraction(left * right if operator == "*" else Fraction(left, right))
        return text[1:], value


def computed(ports: list[int]) -> int:
    """How many tasks the agents have computed, whatever became of their values."""
    count = 0.0
    for port in ports:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        count += sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith(("curta_agent_tasks_total{", "curta_agent_faults_total{"))
        )
    return round(count)


def roll(cluster: Cluster) -> None:
    """Replace one orchestrator after the other, each when the one before is ready."""
    for number in range(len(cluster.urls)):
        code, took_s = cluster.servers[number].terminate()
        assert code == 0 and took_s < 5
        cluster.start_server(number)
        wait_until(lambda number=number: cluster.get("/readyz", number).status_code == 200, "it is ready")
        cluster.leader()


async def test_a_rolling_restart_under_load_loses_and_repeats_nothing_and_costs_clients_a_retry(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(2)
    ports = [free_port() for _ in range(AGENTS)]
    for number, port in enumerate(ports):
        cluster.start_agent(f"agent-{number}", slots=4, settings={"CURTA_HTTP": str(port)})
    async with Client(cluster.url, ADMIN) as admin:
        await admin.set_durations(multiplication=20, division=100, addition=50, subtraction=LONG_S * 1000)
        long = await admin.submit("1000-1")
        running: list[dict[str, Any]] = []

        async def runs() -> bool:
            running[:] = await admin.running(long["id"])
            return len(running) == 1

        await until(runs)
    patrons = [Patron(number, cluster.urls) for number in range(CLIENTS)]

    async def all_finish_more() -> None:
        """Return when every client has seen an expression through that it began after now."""
        before = [len(patron.finished) for patron in patrons]
        await until(
            lambda: all(len(p.finished) >= n + 2 for p, n in zip(patrons, before, strict=True)), within_s=30
        )

    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for patron in patrons:
            group.create_task(patron.run(stop))
        await all_finish_more()
        await asyncio.to_thread(roll, cluster)
        await all_finish_more()
        stop.set()

    async with Client(cluster.urls[1], ADMIN) as admin:
        ended = await admin.final(long["id"], within_s=LONG_S)
        assert ended["result"] == "999"
        (task,) = await admin.tasks(long["id"])
        assert task["attempt"] == running[0]["attempt"], "it was begun again"
        finished = [shown for patron in patrons for shown in patron.finished]
        for shown in finished:
            assert (await admin.show(shown["id"]))["result"] == shown["result"]
    assert int(cluster.sql("SELECT count(*) FROM expressions")) == len(finished) + 1
    assert cluster.sql("SELECT count(*) FROM expressions WHERE status <> 'done'") == "0"
    assert computed(ports) == int(cluster.sql("SELECT count(*) FROM journal")), "something was computed twice"
