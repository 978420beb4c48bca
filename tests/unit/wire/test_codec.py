import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curta_wire import codec, frames
from curta_wire.codec import FRAME_BYTES_MAX, ProtocolError
from curta_wire.frames import AgentFrame, Result, Results, ServerFrame

TASK = "01926f3e-8d3c-7b1a-9c55-2f6f0b7f6a10.3"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.integers(0, 2**53 - 1)
held = st.lists(st.builds(frames.Attempt, task=texts, attempt=counts), max_size=3)
faults = st.builds(frames.Fault, code=texts, message=texts)
outcomes = st.builds(Result, task=texts, attempt=counts, value=texts) | st.builds(
    Result, task=texts, attempt=counts, error=faults
)
seconds = st.floats(0, 1e6)

agent_frames: st.SearchStrategy[AgentFrame] = st.one_of(
    st.builds(
        frames.Hello,
        protocol=st.integers(0, 9),
        agent=texts,
        name=texts,
        slots=st.integers(1, 1000),
        held=held,
        operations=st.none() | st.lists(texts, max_size=4),
        version=texts,
    ),
    st.builds(Results, results=st.lists(outcomes, max_size=3)),
    st.builds(frames.Heartbeat, held=held, seen=counts),
    st.builds(frames.Bye),
)
assignments = st.builds(
    frames.Assignment,
    task=texts,
    attempt=counts,
    operation=st.sampled_from(frames.OPERATIONS),
    operands=st.tuples(texts, texts),
    duration_ms=st.integers(0, 604_800_000),
)
server_frames: st.SearchStrategy[ServerFrame] = st.one_of(
    st.builds(
        frames.Welcome,
        heartbeat_s=seconds,
        idle_heartbeat_s=seconds,
        lease_s=seconds,
        keep=held,
        drop=held,
        peers=st.lists(texts, max_size=3),
    ),
    st.builds(frames.Tasks, n=counts, tasks=st.lists(assignments, max_size=3)),
    st.builds(frames.Ack, tasks=held),
    st.builds(frames.Cancel, tasks=held),
    st.builds(frames.Drain),
    st.builds(frames.Redirect, url=texts, retry_after_s=st.none() | seconds),
)


def refusal(data: str | bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        codec.decode_from_agent(data)
    return caught.value


def hello(**fields: Any) -> str:
    return json.dumps({"type": "hello", "protocol": 1, "agent": "a", "name": "n", "slots": 1, **fields})


@given(agent_frames)
def test_what_an_agent_encodes_is_what_the_server_reads(frame: AgentFrame) -> None:
    text = codec.encode(frame)
    assert codec.decode_from_agent(text) == frame
    assert json.loads(text)["type"] == frame.__struct_config__.tag


@given(server_frames)
def test_what_the_server_encodes_is_what_an_agent_reads(frame: ServerFrame) -> None:
    text = codec.encode(frame)
    assert codec.decode_from_server(text) == frame
    assert json.loads(text)["type"] == frame.__struct_config__.tag


def test_the_strategies_of_this_file_know_every_frame() -> None:
    known = codec._AGENT_TYPES | codec._SERVER_TYPES
    assert known == {kind.__struct_config__.tag for kind in get_args(AgentFrame | ServerFrame)}


def test_a_result_carries_only_what_is_set() -> None:
    value = Results([Result(TASK, 7, value="1/3")])
    assert json.loads(codec.encode(value))["results"] == [{"task": TASK, "attempt": 7, "value": "1/3"}]
    error = Results([Result(TASK, 7, error=frames.Fault("too_large", "more than 1000000 digits"))])
    assert json.loads(codec.encode(error))["results"] == [
        {"task": TASK, "attempt": 7, "error": {"code": "too_large", "message": "more than 1000000 digits"}}
    ]


@pytest.mark.parametrize(
    "outcome", [{}, {"value": "1", "error": {"code": "x"}}, {"value": None}, {"error": None}, {"value": 1}]
)
def test_a_result_with_both_or_neither_of_value_and_error_is_malformed(outcome: dict[str, Any]) -> None:
    text = json.dumps({"type": "results", "results": [{"task": TASK, "attempt": 1, **outcome}]})
    assert refusal(text).code == 1007


@pytest.mark.parametrize("text", ['{"type":"future"}', '{"type":"future","held":3,"seen":{}}', '{"type":""}'])
def test_an_unknown_type_is_ignored_by_both_sides_whatever_else_it_holds(text: str) -> None:
    assert codec.decode_from_agent(text) is None
    assert codec.decode_from_server(text) is None


@pytest.mark.parametrize("half", ["\ud800", "x\udfffy", "\udc00\ud800", "\\\ud83d"])
def test_half_a_character_does_not_keep_an_unknown_type_from_being_ignored(half: str) -> None:
    text = json.dumps({"type": "future", "x": half, half: 1})
    assert codec.decode_from_agent(text) is None
    assert codec.decode_from_server(text) is None
    assert codec.decode_from_agent(json.dumps({"type": half})) is None
    assert refusal(text + "}").code == 1007


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"agent": 7, "slots": "many", "held": None},
        {"agent": "a", "name": "n", "slots": 0},
        {"name": "\ud800"},
        {"operations": {"addition": 2}},
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 10, 2**64])
def test_a_hello_of_another_protocol_is_told_so_whatever_its_other_fields(
    protocol: int, fields: dict[str, Any]
) -> None:
    error = refusal(json.dumps({"type": "hello", "protocol": protocol, **fields}))
    assert error.code == 4000
    assert refusal(json.dumps({"type": "hello", "protocol": 1, **fields})).code == 1007
    assert codec.decode_from_server(json.dumps({"type": "hello", "protocol": protocol, **fields})) is None


@pytest.mark.parametrize("protocol", ["2", 1.5, None, [], -1, True])
def test_a_hello_whose_protocol_is_no_number_is_malformed(protocol: Any) -> None:
    assert refusal(json.dumps({"type": "hello", "protocol": protocol})).code == 1007


def test_the_other_sides_frames_are_unknown_types() -> None:
    assert codec.decode_from_agent('{"type":"drain"}') is None
    assert codec.decode_from_server('{"type":"bye"}') is None


def test_unknown_fields_are_ignored_and_the_order_of_fields_is_free() -> None:
    text = '{"later":[{"x":1}],"seen":4,"held":[{"attempt":7,"task":"t","note":null}],"type":"heartbeat"}'
    assert codec.decode_from_agent(text) == frames.Heartbeat(held=[frames.Attempt("t", 7)], seen=4)


def test_a_hello_may_leave_out_what_has_a_default() -> None:
    assert codec.decode_from_agent(hello()) == frames.Hello(protocol=1, agent="a", name="n", slots=1)
    assert codec.decode_from_agent(hello(operations=None)) == codec.decode_from_agent(hello())


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "{}", '"bye"', "1", "{", '{"type":"bye"', '{"type":"bye"}x', "\ufeff{}",
        '{"type":["bye"]}', '{"type":"bye","type":"hello"}', '{"type":"heartbeat","held":[]}',
        "{'type':'bye'}", '{"type":null}',
        '{"type":"heartbeat","held":[],"seen":NaN}', '{"type":"heartbeat","held":[],"seen":true}',
        '{"type":"heartbeat","held":[],"seen":"1"}', '{"type":"heartbeat","held":[],"seen":1.5}',
        '{"type":"heartbeat","held":[],"seen":-1}', '{"type":"heartbeat","held":[],"seen":9007199254740992}',
        '{"type":"heartbeat","held":[],"seen":1e400}', '{"type":"heartbeat","held":{},"seen":1}',
        '{"type":"heartbeat","held":[],"seen":' + "9" * 5000 + "}",
        '{"type":"heartbeat","held":[{"task":"t","attempt":-1}],"seen":1}',
        '{"type":"heartbeat","held":[{"task":"t","attempt":9007199254740992}],"seen":1}',
        '{"type":"results","results":[{"task":1,"attempt":1,"value":"1"}]}',
        hello(slots=0), hello(slots=-1), hello(slots="4"), hello(operations="addition"), hello(agent=7),
        hello(name=None), hello(version="\ud800"), '{"type":"bye","x":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"type":"future","x":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)  # fmt: skip
def test_a_malformed_message_is_refused_with_a_reason_that_fits_a_close_frame(text: str) -> None:
    error = refusal(text)
    assert error.code == 1007
    assert error.reason.startswith("malformed frame")
    assert len(error.reason.encode()) <= 123


def test_a_binary_frame_is_refused_as_such() -> None:
    assert refusal(b'{"type":"bye"}').code == 1003


@pytest.mark.parametrize("padding", ["x", "é", "𝄞"])
def test_a_frame_has_at_most_four_mebibytes_however_few_characters(padding: str) -> None:
    frame, width = '{"type":"bye","x":"%s"}', len(padding.encode())
    fitting = padding * ((FRAME_BYTES_MAX - len(frame % "")) // width)
    assert codec.decode_from_agent(frame % fitting) == frames.Bye()
    assert refusal(frame % (fitting + padding * 2)).code == 1009


def test_twenty_thousand_tasks_and_as_many_unacknowledged_results_fit_into_one_heartbeat() -> None:
    attempts = [frames.Attempt(TASK + "999999", 2**53 - 1)] * 40_000
    assert len(codec.encode(frames.Heartbeat(attempts, 2**53 - 1))) < FRAME_BYTES_MAX
