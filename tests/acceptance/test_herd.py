"""Hundreds of agents that all lose their orchestrator in the same moment, and all come back at once."""

import time
from collections import Counter
from collections.abc import Callable

from tests.support.client import Client
from tests.support.herd import herd
from tests.support.processes import ADMIN, AGENT, Cluster
from tests.support.waiting import until

AGENTS = 500
FLOW_S = 15.0
"""After a restart tasks flow again within this."""


async def test_a_herd_that_comes_back_is_served_and_nothing_of_it_is_handed_out_twice(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster()
    wide = "+".join(f"({n}*{n + 1})" for n in range(AGENTS))
    result = str(sum(n * (n + 1) for n in range(AGENTS)))
    async with Client(cluster.url, ADMIN) as admin, herd(cluster.url, AGENT, AGENTS, slots=2) as members:
        await until(members.are_all_in, within_s=30)
        await admin.set_all_durations(0)
        id = (await admin.submit(wide))["id"]
        await until(lambda: len(members.handed) == AGENTS, within_s=20)
        by_agent = Counter(len(member.held) for member in members.members)
        assert by_agent == {1: AGENTS}, "the parts are spread over all"

        cluster.server.kill()
        await until(lambda: not any(member.is_in for member in members.members))
        killed_s = time.monotonic()
        cluster.launch_server()
        await until(lambda: members.are_all_in(killed_s), within_s=40)
        assert [member.dropped for member in members.members if member.dropped] == []
        fresh = (await admin.submit("20+22"))["id"]
        await until(lambda: any(task.startswith(fresh) for task in members.handed), within_s=FLOW_S)
        again = {task: to for task, to in members.handed.items() if len(to) > 1}
        assert again == {}, "handed out again while its agent was on its way back"

        async def is_done() -> bool:
            await members.answer()
            return (await admin.show(id))["status"] == "done"

        await until(is_done, within_s=40)
        assert (await admin.show(id))["result"] == result
        assert (await admin.final(fresh))["result"] == "42"
        assert all(len(to) == 1 for to in members.handed.values()), "each task was handed out once"
        counts = cluster.sql("SELECT count(*), count(DISTINCT task) FROM journal")
        assert f"{2 * AGENTS}|" in counts.replace(" ", "")
