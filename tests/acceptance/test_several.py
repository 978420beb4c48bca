"""Two orchestrators on one database: leaders are killed, paused, replaced; work and rows stay."""

import time
from collections.abc import AsyncIterator, Callable

import pytest

from tests.support.client import Client
from tests.support.foreign import ForeignAgent, named
from tests.support.processes import ADMIN, AGENT, Cluster
from tests.support.waiting import until

pytestmark = pytest.mark.acceptance

TAKE_OVER_S = 10.0
"""After the leader was killed tasks flow again within this, at the other."""

BEAT_OLD_S = 8.0 + 2.0
"""A leader whose beat is older than 8 s is replaced; looked at every second, on a busy machine."""

LEASE_S, OPEN_S = 10.0, 10.0
"""An agent that hears nothing for the lease connects again, and waits so long for an answer before it goes on
to the next orchestrator."""

CHAIN = "1000000-" + "-".join(str(number) for number in range(1, 3001))
CHAIN_RESULT = str(1_000_000 - sum(range(1, 3001)))
"""Three thousand subtractions, each of which needs the one before."""

LONG = "(1+2)*(3+4)"
"""Two long additions, and a product of both."""


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    return make_cluster(2)


@pytest.fixture
async def clients(cluster: Cluster) -> AsyncIterator[list[Client]]:
    """One administrator at each orchestrator."""
    async with Client(cluster.urls[0], ADMIN) as first, Client(cluster.urls[1], ADMIN) as second:
        yield [first, second]


def journal(cluster: Cluster) -> set[str]:
    """The journal's rows: which attempt of which agent settled a task, when."""
    return set(
        cluster.sql(
            "SELECT expression_id, task, value, agent, attempt, started_at, finished_at FROM journal"
        ).splitlines()
    )


def expressions(cluster: Cluster) -> set[str]:
    return set(
        cluster.sql(
            "SELECT id, status, epoch, tasks_done, started_at, finished_at, value FROM expressions"
        ).splitlines()
    )


def epoch(cluster: Cluster) -> int:
    return int(cluster.sql("SELECT epoch FROM leadership"))


async def begin_long(client: Client) -> tuple[str, dict[str, int]]:
    """`LONG` with both additions in agents' hands: its id, and the attempts of those."""
    submitted = await client.submit(LONG)

    async def both_run() -> bool:
        return len(await client.running(submitted["id"])) == 2

    await until(both_run)
    return submitted["id"], {task["task"]: task["attempt"] for task in await client.running(submitted["id"])}


async def attempts(client: Client, id: str) -> dict[str, int]:
    return {task["task"]: task["attempt"] for task in await client.tasks(id)}


async def are_kept(client: Client, *names: str) -> bool:
    """Whether these agents are connected to the leader again; then each long task has one attempt."""
    agents = await client.agents()
    if any(name not in agents or agents[name]["status"] != "connected" for name in names):
        return False
    in_hands = [task for one in agents.values() for task in one["tasks"] if task["operation"] == "addition"]
    assert len(in_hands) == 2, "a second attempt was begun beside the first"
    return True


async def test_after_the_leader_was_killed_the_other_goes_on_within_ten_seconds_and_keeps_all_work(
    cluster: Cluster, clients: list[Client]
) -> None:
    leader, follower = clients
    for name in ("one", "two"):
        cluster.start_agent(name, slots=2)
    await leader.set_durations(addition=16_000, subtraction=3, multiplication=0)
    long_began = time.monotonic()
    long, before = await begin_long(leader)
    chain = await leader.submit(CHAIN, optimize=False)

    async def is_at_a_tenth() -> bool:
        done: int = (await leader.show(chain["id"]))["tasks"]["done"]
        return done >= 300

    await until(is_at_a_tenth)
    cluster.servers[0].kill()
    durable = journal(cluster)
    assert len(durable) >= 300

    # What needs no leader is served all the time.
    async def flows() -> bool:
        assert (await follower.show(chain["id"]))["status"] == "running"
        return not journal(cluster) <= durable

    await until(flows, within_s=TAKE_OVER_S)
    assert cluster.leader() == 1
    await until(lambda: are_kept(follower, "one", "two"), within_s=TAKE_OVER_S)

    ended = await follower.final(long, within_s=20)
    assert ended["result"] == "21"
    assert time.monotonic() - long_began < 16 + 3, "what the agents had in their hands was begun again"
    assert before.items() <= (await attempts(follower, long)).items(), "another attempt settled it"
    ended = await follower.final(chain["id"], within_s=60)
    assert (ended["result"], ended["tasks"]["done"]) == (CHAIN_RESULT, 3000)
    rows = journal(cluster)
    assert durable <= rows, "a row that was durable has changed"
    assert len(rows) == 3000 + 3


async def test_a_paused_leader_is_replaced_and_writes_nothing_when_it_wakes_up(
    cluster: Cluster, clients: list[Client]
) -> None:
    former, other = clients
    cluster.start_agent("ours", slots=1, settings={"CURTA_OPERATIONS": "multiplication"})
    await former.set_all_durations(60_000)
    async with ForeignAgent(cluster.url, AGENT, operations=["addition"]) as foreign:
        await foreign.join()
        product = await former.submit("3*4")
        total = await former.submit("(20+22)/7")
        (held,) = await foreign.tasks(1)
        await until(lambda: [row.split("|")[1] for row in expressions(cluster)] == ["running"] * 2)
        before = await attempts(former, product["id"])
        first_epoch = epoch(cluster)

        cluster.servers[0].freeze()
        # This lies in the socket of the frozen leader, which would write it into the journal.
        await foreign.answer(held)
        await until(lambda: cluster.leaders() == [1], within_s=BEAT_OLD_S)
        assert epoch(cluster) > first_epoch
        # It has heard nothing for the lease, and gives the frozen one up.
        await until(lambda: cluster.status_of("ours") == "connected", within_s=LEASE_S + OPEN_S + 5)
        assert await attempts(other, product["id"]) == before, "what the agent held was begun again"

        rows, states = journal(cluster), expressions(cluster)
        cluster.servers[0].thaw()
        # It reads the result, and that its term is over.
        assert (await foreign.closed())[0] == 1013
        for path in ("/readyz", "/operations", f"/expressions/{total['id']}"):
            assert (await former.http.get(path)).status_code == 200, path
        assert (await former.http.get("/leaderz")).status_code == 503
        assert cluster.leader() == 1
        assert (journal(cluster), expressions(cluster)) == (rows, states)

        foreign.operations = ["addition", "division"]
        foreign.url = cluster.urls[1].replace("http", "ws", 1) + "/agents/connect"
        assert (await foreign.join(held=[named(held)]))["keep"] == [named(held)]
        await foreign.answer(held)
        await foreign.acked(held)
        (division,) = await foreign.tasks(1)
        await foreign.answer(division)
        ended = await other.final(total["id"], within_s=5)
        assert ended["result"] == "6"
    settled = await attempts(other, total["id"])
    assert settled == {one["task"]: one["attempt"] for one in (held, division)}
    assert await attempts(other, product["id"]) == before
    assert cluster.servers[0].is_running


async def test_attempts_outlive_four_leaders(cluster: Cluster, clients: list[Client]) -> None:
    for name in ("one", "two"):
        cluster.start_agent(name, slots=2)
    await clients[0].set_durations(addition=30_000, multiplication=0)
    began = time.monotonic()
    long, before = await begin_long(clients[0])

    cluster.servers[0].kill()
    assert cluster.leader(within_s=TAKE_OVER_S) == 1
    cluster.start_server(0)
    await until(lambda: are_kept(clients[1], "one", "two"), within_s=TAKE_OVER_S)
    assert before.items() <= (await attempts(clients[1], long)).items()

    # In good order: the other need not wait for a lock or a beat. However short the agents' sessions were,
    # here and below, they are back before the new leader gives what they hold to others.
    code, took_s = cluster.servers[1].terminate()
    assert code == 0 and took_s < 5
    assert cluster.leader(within_s=5) == 0
    cluster.start_server(1)
    await until(lambda: are_kept(clients[0], "one", "two"), within_s=TAKE_OVER_S)
    assert before.items() <= (await attempts(clients[0], long)).items()

    # A blip: it is back before anybody believes that it is gone, or finds another in its place.
    cluster.servers[0].kill()
    cluster.start_server(0)
    now = cluster.leader(within_s=TAKE_OVER_S)
    await until(lambda: are_kept(clients[now], "one", "two"), within_s=TAKE_OVER_S)
    ended = await clients[now].final(long, within_s=40)
    assert ended["result"] == "21"
    assert time.monotonic() - began < 30 + 3, "what the agents had in their hands was begun again"
    assert before.items() <= (await attempts(clients[now], long)).items()
    assert len(journal(cluster)) == 3


async def test_both_serve_the_same_and_send_agents_to_the_one_that_leads(
    cluster: Cluster, clients: list[Client]
) -> None:
    leader, follower = clients
    agent = cluster.start_agent("ours", slots=3, settings={"CURTA_URL": cluster.urls[1]})
    assert f'"url": "{cluster.urls[0].replace("http", "ws")}/agents/connect"' in agent.output
    async with ForeignAgent(cluster.urls[1], AGENT) as foreign:
        await foreign.open()
        await foreign.hello()
        assert (await foreign.expect("redirect"))["url"] == cluster.urls[0]
        assert (await foreign.closed())[0] == 1013

    await follower.set_durations(addition=60_000, multiplication=0)
    long, _ = await begin_long(follower)
    for path in (f"/expressions/{long}", f"/expressions/{long}/tasks", "/operations"):
        here, there = [await client.ask("GET", path) for client in clients]
        for answer in (here, there):
            answer.pop("eta_s", None)  # time goes on between the two
        assert here == there, path
    assert {name: one["tasks"] for name, one in (await leader.agents()).items()} == {
        name: one["tasks"] for name, one in (await follower.agents()).items()
    }
    assert (await follower.compute("2*3", within_s=5))["result"] == "6"

    await follower.ask("DELETE", f"/expressions/{long}")
    assert (await leader.show(long))["status"] == "cancelled"
    (ours,) = (await follower.agents()).values()
    await follower.ask("POST", f"/agents/{ours['id']}/drain")
    assert (await leader.agents())["ours"]["status"] == "draining"
