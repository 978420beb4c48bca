"""Links on which a frame takes longer than silence is borne: slow is not lost, silent and deaf are."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest

from tests.integration.far_agents import agent_behind, proxy_of
from tests.integration.orchestrators import Orchestrator, orchestrator
from tests.support.foreign import named
from tests.support.waiting import until

LEASE_S = 1.0
BYTES_PER_S = 130_000
LITERAL = "7" * 9_000
COUNT = 16


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Orchestrator]:
    async with orchestrator(
        database_url,
        heartbeat_s=0.2,
        idle_heartbeat_s=0.4,
        lease_s=LEASE_S,
        grace_s=0.3,
        recovery_quiet_s=0.3,
    ) as running:
        yield running


async def test_an_agent_on_a_slow_link_computes_what_takes_longer_to_send_than_its_lease(
    server: Orchestrator,
) -> None:
    """Both ways: the operands go to it in frames of seconds, and so do the products come back."""
    texts = [{"expression": f"{LITERAL}{n}*{LITERAL}{n + 1}"} for n in range(COUNT)]
    with proxy_of(server) as proxy:
        async with agent_behind(proxy, slots=COUNT):

            async def is_there() -> bool:
                return "far" in await server.admin.agents()

            await until(is_there)
            proxy.bytes_per_s = BYTES_PER_S
            began = time.monotonic()
            items = (await server.admin.ask("POST", "/expressions/batch", json={"expressions": texts}))[
                "items"
            ]
            for item in items:
                assert (await server.admin.final(item["id"], within_s=30))["status"] == "done"
            assert time.monotonic() - began > 3 * LEASE_S, "the link was not slow"
            for item in items:
                (task,) = await server.admin.tasks(item["id"])
                assert task["attempt"] % 2**20 == 1, "it was begun again"
            assert proxy.connections == 1


async def test_an_agent_that_stops_in_the_middle_of_a_frame_is_lost_after_its_lease(
    server: Orchestrator,
) -> None:
    async with server.agent(name="half") as half, server.agent(name="other") as other:
        await half.join()
        id = (await server.admin.submit("20+22"))["id"]
        (task,) = await half.tasks(1)
        await other.join()
        serving = asyncio.create_task(other.serve())
        # A frame's head that promises 100,000 bytes, and the first of them, for twice the lease; then none.
        text = json.dumps({"type": "results", "results": [{**named(task), "value": "1" * 99_000}]}).encode()
        mask = b"\0\0\0\0"
        head = b"\x81\xff" + (100_000).to_bytes(8, "big") + mask
        transport = half.connection.transport
        transport.write(head)
        for at in range(10):
            transport.write(text[at * 10 : at * 10 + 10])
            await asyncio.sleep(LEASE_S / 4)  # a slow sender's pace
        assert (await server.admin.agents())["half"]["status"] == "connected"
        assert (await server.admin.show(id))["status"] == "running"
        silent_s = time.monotonic()
        assert (await server.admin.final(id, within_s=5))["result"] == "42"
        assert 0.5 * LEASE_S < time.monotonic() - silent_s < 2.5 * LEASE_S
        serving.cancel()
