"""Authenticated agents that send anything at all: the orchestrator stays well, and ordinary agents go on.

What they are handed they may answer wrongly (nobody can tell), so they offer division alone, and the
expressions that are computed meanwhile need none. A long run is `make fuzz`.
"""

import asyncio
import json
import os
import random
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import reference
from tests.support.client import Client
from tests.support.foreign import ForeignAgent
from tests.support.postgres import NEWEST, PostgresServers
from tests.support.processes import ADMIN, AGENT, Cluster
from websockets.exceptions import ConnectionClosed, WebSocketException

SECONDS = 600 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 8
HOSTILE = 6
FRAME_BYTES = 4 * 1024 * 1024
CODES = {1000, 1001, 1003, 1007, 1008, 1009, 1013, 4000, 4002}
"""What a session may be closed with for what it says; 1011 would be a defect."""

Frame = dict[str, Any]


class Hostile:
    """One agent that never means well. Reads along to learn names."""

    def __init__(self, url: str, seed: int, names: list[str]) -> None:
        self.chance = random.Random(seed)
        self.names = names
        self.agent = ForeignAgent(url, AGENT, name=f"hostile {seed}", operations=["division"])
        self.codes: set[int] = set()
        self.sent = 0

    def name(self) -> str:
        chance = self.chance
        match chance.randrange(6):
            case 0:
                return f"{uuid.UUID(int=chance.getrandbits(128))}.{chance.randrange(10)}"
            case 1:
                return chance.choice(
                    ["", ".", "x", "x." * 100, "x.-1", "a.99999999999", "\0.1", "é.1", "." * 255]
                )
            case 2:
                return "x" * chance.choices([200, 255, 256, 5_000], [10, 10, 0.1, 0.1])[0]
            case _:
                return f"{chance.choice(self.names)}.{chance.choice([0, 1, 2, 3, 7, 999_999_999])}"

    def attempt(self) -> Frame:
        # No epoch but the running one (the first): of earlier ones every agent would be believed.
        numbers = [0, 1, 1 << 20, 1 << 20 | 1, 1 << 20 | 2, 2 << 20 | 1, 2**53 - 1, 2**53, -1, 1.0, None, "1"]
        weights = [1, 1, 5, 20, 5, 5, 1, *[0.01] * 5]
        return {"task": self.name(), "attempt": self.chance.choices(numbers, weights)[0]}

    def result(self) -> Frame:
        chance = self.chance
        values: list[Any] = ["1", "0/5", "1/1", "-0", "abc", "", "9" * 30_000, "1/" + "3" * 20_000, 5, None]
        outcome: Frame = {"value": chance.choice(values)}
        if chance.random() < 0.4:
            code = chance.choice(["division_by_zero", "too_large", "cancelled", "", "\0", "é" * 500, 7])
            outcome = {"error": {"code": code, "message": chance.choice(["", "\0\ud83d\ude00", "m" * 2_000])}}
        if chance.random() < 0.05:
            outcome = {}
        return self.attempt() | outcome

    def frame(self) -> str | bytes:
        chance = self.chance
        many = chance.choice([0, 1, 1, 2, 5, 100])
        kind = chance.choices(
            ["results", "heartbeat", "bye", "hello", "later", "bytes", "broken", "deep", "huge"],
            [10, 10, 0.5, 0.5, 1, 0.3, 1, 0.3, 0.7],
        )[0]
        match kind:
            case "results":
                return json.dumps({"type": kind, "results": [self.result() for _ in range(many)]})
            case "heartbeat":
                seen = chance.choice([0, 1, self.agent.seen, 10**9, 2**53 - 1, 2**70, -1])
                return json.dumps({"type": kind, "held": [self.attempt() for _ in range(many)], "seen": seen})
            case "bytes":
                return chance.randbytes(20)
            case "broken":
                text = json.dumps({"type": "results", "results": [self.result()]})
                place = chance.randrange(len(text))
                return text[:place] + chance.choice('{}[]",:\\0e') + text[place + 1 :]
            case "deep":
                return '{"type":"heartbeat","held":' + "[" * 100_000
            case "huge":
                item = json.dumps(
                    self.attempt() | chance.choice([{}, {"value": "1"}, {"error": {"code": "c"}}])
                )
                field = chance.choice(['"heartbeat","seen":1,"held"', '"results","results"'])
                count = (FRAME_BYTES - 100) // (len(item) + 1)
                return f'{{"type":{field}:[' + ",".join([item] * count) + "]}"
            case "hello":
                agent = {"agent": self.agent.id, "name": "again", "slots": 1}
                return json.dumps({"type": kind, "protocol": 1, **agent})
            case _:
                return json.dumps({"type": kind, "x": [None] * many})

    async def live(self) -> None:
        """Come, talk, and come again, until cancelled."""
        while True:
            try:
                await self.agent.open()
                held = [self.attempt() for _ in range(self.chance.choice([0, 3, 50]))]
                slots = self.chance.choice([1, 3, 50, 10**6, 10**6, 0])
                await self.agent.hello(held=held, slots=slots)
                for _ in range(self.chance.choice([1, 5, 30])):
                    await self.agent.connection.send(self.frame())
                    self.sent += 1
                    await asyncio.sleep(0)
                    # Sometimes it does not read what it is told.
                    if self.chance.random() < 0.5:
                        await self.agent.receive(within_s=0.02)
            except ConnectionClosed as closed:
                if closed.rcvd is not None:
                    self.codes.add(closed.rcvd.code)
            except (OSError, TimeoutError, WebSocketException):
                pass
            finally:
                await self.agent.cut()
            await asyncio.sleep(0.01)


@pytest.fixture
def cluster(postgres_servers: PostgresServers, tmp_path: Path) -> Iterator[Cluster]:
    """One orchestrator, one ordinary agent."""
    postgres = postgres_servers.get(NEWEST)
    assert postgres is not None
    cluster = Cluster(postgres, tmp_path)
    try:
        cluster.start_agent("honest", slots=4)
        yield cluster
    finally:
        cluster.close()


def lag_s(metrics: str) -> list[tuple[float, int]]:
    """How often the event loop was at most so late, and later than the step before."""
    found = re.findall(r'^curta_loop_lag_seconds_bucket\{le="([^"]*)"\} ([0-9.]+)', metrics, re.MULTILINE)
    counts = [(float(limit), int(float(count))) for limit, count in found]
    return [
        (limit, count - before)
        for (limit, count), (_, before) in zip(counts, [(0.0, 0), *counts[:-1]], strict=True)
    ]


def expression(chance: random.Random) -> str:
    """Sums and products, by any name."""
    return (
        "".join(f"{chance.randrange(10**6)}{chance.choice('+-*')}" for _ in range(chance.randrange(1, 30)))
        + "1"
    )


async def test_ordinary_agents_compute_on_among_hostile_ones(cluster: Cluster) -> None:
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    async with Client(cluster.url, ADMIN) as admin:
        await admin.set_all_durations(5)
        names = [(await admin.submit("1+2*3"))["id"]]
        hostile = [Hostile(cluster.url, seed + n, names) for n in range(HOSTILE)]
        # Something for the hostile ones to be handed, too.
        await admin.submit("+".join(f"1/{n}" for n in range(1, 50)))
        lives = [asyncio.create_task(each.live()) for each in hostile]
        computed = 0
        try:
            end = asyncio.get_running_loop().time() + SECONDS
            while asyncio.get_running_loop().time() < end:
                text = expression(chance)
                submitted = await admin.submit(text)
                names.append(submitted["id"])
                del names[:-20]
                shown = await admin.final(submitted["id"], within_s=20)
                value = reference.evaluate(reference.parse(text, 10_000))
                assert (shown["status"], shown["result"]) == ("done", str(value)), f"{seed=} {text} {shown}"
                computed += 1
        finally:
            for life in lives:
                life.cancel()
            ends = await asyncio.gather(*lives, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
        codes = set().union(*(each.codes for each in hostile))
        assert codes <= CODES, f"{seed=} {codes}"
        assert {1007, 1008} <= codes and sum(each.sent for each in hostile) > 20 * SECONDS
        assert (await admin.agents())["honest"]["status"] == "connected"
        lags = lag_s((await admin.http.get("/metrics")).text)
    assert computed > SECONDS
    # One in twenty may be the machine's fault, which has other things to do.
    assert sum(count for limit, count in lags if limit > 0.05) <= sum(count for _, count in lags) / 20, lags
    assert not [
        line
        for line in cluster.server.output.splitlines()
        if '"level": "error"' in line or "Traceback" in line
    ]
    assert cluster.server.is_running
