"""Other systems with the same work in the same minutes: Curta and each of them in turns.

Both are running while either computes; what waits costs next to nothing. A peer's clock is Curta's, too: who
submits and computes in one go is compared with Curta from submission to result, who has everything stored
before the first task starts, with Curta from the first task handed out; `in all` is the ratio from submission
to result for both.
"""

from collections.abc import Sequence
from typing import Any

from bench import texts
from bench.client import Curta, Ended
from bench.pairs import order
from bench.peers.driver import Driver, Failed, Run
from bench.peers.environment import Missing
from bench.peers.peer import PEERS, Form, Peer
from bench.peers.starting import started
from bench.report import Row, left_out, tell
from bench.rig import Rig
from bench.sizes import Sizes
from bench.spread import Spread

AGENTS, SLOTS = 10, 200
CLOCKS = {"submission": "from submission to result", "start": "from the first task to the result"}


async def measure(rig: Rig, sizes: Sizes) -> list[Row]:
    """A row for each peer and form: Curta's values, beside them the peer's. What keeps a peer from being
    measured stands in its place, and the others are measured all the same."""
    rows: list[Row] = []
    async with rig.curta() as curta, rig.crowd(AGENTS, SLOTS):
        await curta.no_durations()
        for key in sizes.peers or PEERS:
            peer = PEERS[key]
            missing = list(peer.forms)
            tell(f"measuring: {peer.name}")
            try:
                async with started(key, rig.database) as driver:
                    for form in peer.forms:
                        rows.append(await _in_turns(curta, sizes, driver, peer, form))
                        missing.remove(form)
            except (Missing, Failed, OSError, RuntimeError) as error:
                rows += [left_out(_name(peer, form), error, _wanted(form)) for form in missing]
    return rows


async def _in_turns(curta: Curta, sizes: Sizes, driver: Driver, peer: Peer, form: Form) -> Row:
    """Raises Failed."""
    theirs: list[Run] = []
    ours: list[Ended] = []
    tasks = form.quick_tasks if sizes.is_quick else form.tasks
    our_tasks = sizes.chain_tasks if form.shape == "chain" else sizes.tree_tasks
    for is_ours, counts in order(sizes.long_runs):
        if is_ours:
            ended = await _ours(curta, form, our_tasks)
            ours += [ended] if counts else []
        else:
            run = await driver.run(form.shape, tasks)
            expected = tasks if form.shape == "independent" else texts.tree_value(tasks)
            if run.value != expected:
                raise Failed(f"{form.shape}: {run.value} instead of {expected}")
            theirs += [run] if counts else []
    return row(peer, form, driver.about, our_tasks, ours, tasks, theirs)


def row(
    peer: Peer,
    form: Form,
    about: dict[str, Any],
    our_tasks: int,
    ended: Sequence[Ended],
    tasks: int,
    runs: Sequence[Run],
) -> Row:
    """The figure of runs of both, pair by pair, with so many tasks in each. `about` is what the peer says of
    itself."""
    in_all = [our_tasks / one.total_s for one in ended]
    their_in_all = [tasks / one.in_all_s for one in runs]
    is_apart = about["clock"] == "start"
    return Row(
        _name(peer, form),
        "tasks/s",
        [our_tasks / one.running_s for one in ended] if is_apart else in_all,
        _wanted(form),
        [tasks / one.seconds for one in runs],
        about | {"tasks": tasks, "curta_tasks": our_tasks, "in_all": in_all, "in_all_beside": their_in_all},
        note=f"{CLOCKS[about['clock']]}; {about['settings']}",
        beside_name=f"{peer.name}, {tasks:,} tasks",
        columns={
            "in all": str(Spread.of([one / other for one, other in zip(in_all, their_in_all, strict=True)])),
            "durable": about["durable"],
            "dependencies": about["dependencies"],
            "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        },
    )


def _name(peer: Peer, form: Form) -> str:
    return f"{form.shape} beside {peer.name}"


def _wanted(form: Form) -> str:
    return "" if form.wanted is None else f"ratio ≥ {form.wanted:g}"


async def _ours(curta: Curta, form: Form, tasks: int) -> Ended:
    """Curta's part. Beside independent jobs stands its tree."""
    if form.shape == "chain":
        text, value = texts.horner(tasks)
    else:
        text, value = texts.tree(tasks), texts.tree_value(tasks)
    return await curta.compute(text, expected=value)
