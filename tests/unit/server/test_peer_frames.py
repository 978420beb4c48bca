"""The frames between orchestrators: there and back, and what is no frame."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curta_server.peer_frames import (
    EXPRESSIONS_MAX,
    AgentsFound,
    AskAgents,
    AskProgress,
    AskStarted,
    AskStats,
    AskTasks,
    Beat,
    Changed,
    Finals,
    FollowerFrame,
    LeaderFrame,
    Malformed,
    ProgressFound,
    StartedFound,
    StatsFound,
    TasksFound,
    Watch,
    decode_from_follower,
    decode_from_leader,
    encode,
)
from curta_server.views import (
    AgentsView,
    AgentView,
    BusyAgent,
    PassedOnView,
    Progress,
    Recent,
    RunView,
    Second,
    TaskState,
)

ID = "01926f3e-8d3c-7b1a-9c55-2f6f0b7f6a10"


LOST = AgentView(ID, "box", 4, ("addition",), "lost", 5, 0.5, 0, PassedOnView(3, 1, 1, 1))
RUN = RunView(f"{ID}.7", ID, "anna", "division", ("1/3", "2"), 5, 1000)


@pytest.mark.parametrize(
    "frame",
    [
        AskProgress(1, [ID]),
        AskStarted(6),
        AskTasks(2, ID, [0, 7]),
        AskAgents(3, None, 1000),
        AskAgents(4, ("box", ID), 1),
        AskStats(5, 7, 1_700_000_000_000_000),
        Watch(True),
        Beat(),
    ],
)
def test_what_a_follower_says_is_what_the_leader_hears(frame: FollowerFrame) -> None:
    assert decode_from_follower(encode(frame)) == frame


@pytest.mark.parametrize(
    "frame",
    [
        ProgressFound(1, {ID: Progress("running", 2, 1, 0.5, None, 1_700_000_000_000_000)}),
        ProgressFound(1, {}),
        StartedFound(6, [ID]),
        TasksFound(2, {7: TaskState("running", 1048577, ID, "rack", 5), 0: TaskState("ready")}),
        TasksFound(2, None),
        AgentsFound(3, AgentsView([BusyAgent(LOST, [RUN])], True)),
        StatsFound(4, Recent(7, [Second(5, 1.0, 2.0, 1, 1, 1, 4, 1, 1, None, 0.5, 3)])),
        StatsFound(5, None),
        Changed([("anna", ID), (None, "")]),
        Changed(all=True),
        Finals([ID]),
        Beat(),
    ],
)
def test_what_the_leader_says_is_what_a_follower_hears(frame: LeaderFrame) -> None:
    assert decode_from_leader(encode(frame)) == frame


def test_what_another_release_means_is_ignored() -> None:
    assert decode_from_leader('{"type": "news", "n": []}') is None
    assert decode_from_follower('{"type": "news"}') is None
    assert decode_from_follower('{"type": "beat", "mood": "good"}') == Beat()


@pytest.mark.parametrize(
    "data",
    [
        "",
        "[]",
        "{}",
        '{"type": 1}',
        '{"type": "progress", "n": -1, "expressions": []}',
        '{"type": "progress", "n": 1}',
        '{"type": "tasks", "n": 1, "expression": "x", "tasks": [-1]}',
        '{"type": "tasks", "n": 1, "expression": "x", "tasks": ["1"]}',
        '{"type": "agents", "n": 1, "after": null, "limit": 0}',
        '{"type": "agents", "n": 1, "after": ["box"], "limit": 1}',
        '{"type": "watch"}',
        json.dumps({"type": "progress", "n": 1, "expressions": ["x"] * (EXPRESSIONS_MAX + 1)}),
        json.dumps({"type": "progress", "n": 1, "expressions": ["x" * 37]}),
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_frame_is_said_to_be_none(data: str | bytes) -> None:
    with pytest.raises(Malformed):
        decode_from_follower(data)


@given(st.one_of(st.text(), st.binary()))
def test_any_bytes_are_a_frame_or_none(data: str | bytes) -> None:
    for decode in (decode_from_follower, decode_from_leader):
        try:
            decode(data)
        except Malformed:
            pass
