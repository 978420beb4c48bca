"""Curta and a peer in turns: each computes its share, first one, then the other, in the same minutes.

Both are running while either computes; what waits costs next to nothing. A peer's clock is Curta's, too: who
submits and computes in one go is compared with Curta from submission to result, who has everything stored
before the first task starts, with Curta from the first task handed out (and from submission to result, too).
"""

import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench import texts
from bench.client import Curta, Ended
from bench.peers import environment, services
from bench.peers.driver import Driver, Failed, Run, driving
from bench.peers.environment import Missing
from bench.peers.peer import PEERS, Form, Peer, Sizes
from bench.report import Row
from bench.rig import Rig
from curta_server.embedded import EmbeddedPostgres

THEIRS = Path(__file__).resolve().parent / "theirs"
Say = Callable[[str], None]


def aloud(line: str) -> None:
    """Onto standard error, at once."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


async def measure(
    rig: Rig, sizes: Sizes, runs: int, *, names: Sequence[str] = (), say: Say = aloud
) -> list[Row]:
    """One row a peer and form, of all peers if none is named. `values` are the peer's tasks a second, turn by
    turn; `more` has Curta's of the same turns (`curta`) and what the peer says of itself.

    Says who is measured, and of each that is left out why.
    """
    rows: list[Row] = []
    async with rig.curta() as curta, rig.crowd(sizes.agents, sizes.slots):
        await curta.no_durations()
        for key in names or PEERS:
            peer = PEERS[key]
            done = 0
            say(f"measuring: {peer.name}")
            try:
                async with started(key, rig.database) as driver:
                    for form in peer.forms:
                        rows.append(await _in_turns(curta, sizes, driver, peer, form, runs))
                        done += 1
            # Whatever keeps a peer from being measured is told, and the others are measured all the same.
            except (Missing, Failed, OSError, RuntimeError) as error:
                left = ", ".join(form.shape for form in peer.forms[done:])
                say(f"!!! LEFT OUT: {peer.name} ({left}): {error}")
    return rows


def compared(rows: Sequence[Row]) -> list[Row]:
    """The same figures from Curta's side, for `bench.report.table`: `values` are Curta's, `ceiling` the
    peer's, the ratio how many times as fast Curta is."""
    return [
        Row(
            f"{row.more['form']} beside {row.more['peer']}",
            row.unit,
            row.more["curta"],
            row.wanted,
            row.values,
            {name: value for name, value in row.more.items() if name != "curta"},
        )
        for row in rows
    ]


@asynccontextmanager
async def started(key: str, database: EmbeddedPostgres) -> AsyncIterator[Driver]:
    """A peer, installed and ready. Raises: Missing, Failed."""
    peer = PEERS[key]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="curta-peer-")))
        if peer.kind == "python":
            command = [str(environment.python(key)), str(THEIRS / peer.script)]
            settings = {}
        else:
            program, packages = environment.node(key)
            command = [str(program), str(THEIRS / peer.script)]
            settings = {"BENCH_PACKAGES": str(packages), "NODE_ENV": "production"}
        if peer.service == "redis":
            settings |= await stack.enter_async_context(services.redis(folder))
        elif peer.service == "postgres":
            settings |= await stack.enter_async_context(services.postgres(database))
        yield await stack.enter_async_context(driving(command, settings, folder))


async def _in_turns(curta: Curta, sizes: Sizes, driver: Driver, peer: Peer, form: Form, runs: int) -> Row:
    """Each first as often as the other; once before that to warm up."""
    tasks, our_tasks = sizes.tasks(form), _our_tasks(sizes, form)
    theirs: list[Run] = []
    ours: list[Ended] = []
    for turn in range(-1, runs):
        for is_ours in (True, False) if turn % 2 else (False, True):
            if is_ours:
                ended = await _ours(curta, form, our_tasks)
                ours += [ended] if turn >= 0 else []
            else:
                run = await driver.run(form.shape, tasks)
                expected = tasks if form.shape == "independent" else texts.tree_value(tasks)
                if run.value != expected:
                    raise Failed(f"{form.shape}: {run.value} instead of {expected}")
                theirs += [run] if turn >= 0 else []
    from_submission = [our_tasks / ended.total_s for ended in ours]
    is_apart = driver.about["clock"] == "start"
    more = driver.about | {
        "peer": peer.name,
        "form": form.shape,
        "tasks": tasks,
        "curta_tasks": our_tasks,
        "curta": [our_tasks / ended.running_s for ended in ours] if is_apart else from_submission,
        "from_submission": [tasks / run.in_all_s for run in theirs],
        "curta_from_submission": from_submission,
    }
    wanted = "" if form.wanted is None else f"ratio ≥ {form.wanted:g}"
    values = [tasks / run.seconds for run in theirs]
    return Row(f"{peer.name}, {form.shape}", "tasks/s", values, wanted, more=more)


async def _ours(curta: Curta, form: Form, tasks: int) -> Ended:
    """Curta's part. Beside independent jobs stands its tree."""
    if form.shape == "chain":
        text, value = texts.horner(tasks)
    else:
        text, value = texts.tree(tasks), texts.tree_value(tasks)
    return await curta.compute(text, expected=value)


def _our_tasks(sizes: Sizes, form: Form) -> int:
    return sizes.chain_tasks if form.shape == "chain" else sizes.tree_tasks
