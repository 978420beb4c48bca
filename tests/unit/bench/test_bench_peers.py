"""What stands beside us: whose turn it is, how a peer's figure is made, and what is left out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from bench import pairs, rig
from bench.client import Ended
from bench.peers.driver import Run
from bench.peers.environment import PACKAGES, Missing
from bench.peers.peer import PEERS, Form
from bench.peers.starting import THEIRS
from bench.rig import NotGathered
from bench.scenarios import idle, peers
from bench.sizes import QUICK, Sizes

ABOUT = {
    "durable": "no",
    "dependencies": "yes",
    "settings": "as recommended",
    "versions": {"x": "1", "y": "2"},
}


class Idle:
    """A rig that has nothing but what the scenarios ask it for."""

    database = None
    sockets_max = 20_000
    gathers = True

    def memory_bytes(self) -> int:
        return 0

    @asynccontextmanager
    async def curta(self) -> AsyncIterator[Any]:
        async def nothing() -> None:
            pass

        yield SimpleNamespace(no_durations=nothing)

    @asynccontextmanager
    async def crowd(self, agents: int, slots: int) -> AsyncIterator[int]:
        if not self.gathers:
            raise NotGathered("only 7 came")
        yield 0


def test_each_is_first_as_often_as_the_other_and_one_pair_warms_up() -> None:
    turns = list(pairs.order(2))
    assert [counts for _, counts in turns] == [False, False, True, True, True, True]
    assert [is_ours for is_ours, _ in turns] == [True, False, False, True, True, False]
    assert all(counts for _, counts in pairs.order(2, is_warm=True))


@pytest.mark.parametrize("key", PEERS)
def test_every_peer_has_its_script_and_its_pins(key: str) -> None:
    peer = PEERS[key]
    assert (THEIRS / peer.script).is_file()
    names = (f"{key}.txt",) if peer.kind == "python" else (f"{key}/package.json", f"{key}/package-lock.json")
    assert all((PACKAGES / name).is_file() for name in names)


@pytest.mark.parametrize(("clock", "ratio"), [("submission", 20.0), ("start", 25.0)])
def test_the_clock_is_the_peers_and_in_all_is_from_submission(clock: str, ratio: float) -> None:
    ended, run = Ended({}, running_s=0.4, total_s=1.0), Run(seconds=1.0, in_all_s=2.0, value=0)
    if clock == "submission":
        run = run._replace(seconds=2.0)
    row = peers.row(
        PEERS["dask"], Form("tree", 1, 1, 50), ABOUT | {"clock": clock}, 1000, [ended], 100, [run]
    )
    assert (row.name, row.wanted, row.ratio) == ("tree beside Dask", "ratio ≥ 50", ratio)
    assert row.columns == {"in all": "20", "durable": "no", "dependencies": "yes", "versions": "x 1, y 2"}
    assert row.note.endswith("; as recommended")


async def test_a_peer_that_is_not_there_is_left_out_form_by_form_and_the_others_are_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []

    @asynccontextmanager
    async def started(key: str, database: Any) -> AsyncIterator[Any]:
        tried.append(key)
        raise Missing(f"no {key} here")
        yield

    monkeypatch.setattr(peers, "started", started)
    rows = await peers.measure(Idle(), Sizes(peers=("dask", "procrastinate")))  # type: ignore[arg-type]
    assert tried == ["dask", "procrastinate"]
    assert [(row.name, row.note) for row in rows] == [
        ("tree beside Dask", "no dask here"),
        ("chain beside Dask", "no dask here"),
        ("independent beside Procrastinate", "no procrastinate here"),
    ]
    assert all(row.is_left_out for row in rows)
    assert capsys.readouterr().err.count("!!! LEFT OUT") == 3


async def test_agents_that_do_not_gather_are_a_row_and_not_the_end() -> None:
    place = Idle()
    place.gathers = False
    rows = await idle.measure(place, QUICK)  # type: ignore[arg-type]
    assert all(row.is_left_out for row in rows)
    assert [(row.name, row.note) for row in rows] == [
        ("500 idle agents, orchestrator", "only 7 came"),
        ("500 idle agents, memory", "only 7 came"),
    ]


@pytest.mark.parametrize(
    ("ended", "words"), [(None, "after 0 s 3 of 10"), (1, "their process ended when 3 of 10")]
)
async def test_how_many_came_is_said(ended: int | None, words: str) -> None:
    async def three() -> int:
        return 3

    crowd = SimpleNamespace(poll=lambda: ended, args="crowd", returncode=ended)
    with pytest.raises(NotGathered, match=words):
        await rig._gathered(three, 10, crowd, 0.01)  # type: ignore[arg-type]
    # The same look, and all there.
    await rig._gathered(three, 3, crowd, 0.01)  # type: ignore[arg-type]
