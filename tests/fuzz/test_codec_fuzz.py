"""Any text gives a frame, nothing, or the documented error. A long run is `make fuzz`."""

import json
import os
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curta_wire import codec, numbers
from curta_wire.codec import ProtocolError

EXAMPLES = 200_000 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 1_000
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TYPES = [
    "hello",
    "results",
    "heartbeat",
    "bye",
    "welcome",
    "tasks",
    "ack",
    "cancel",
    "drain",
    "redirect",
    "future",
]
FIELDS = [
    "type", "protocol", "agent", "name", "slots", "held", "operations", "version", "results", "task", "value",
    "attempt", "error", "code", "message", "seen", "n", "tasks", "operands", "duration_ms", "keep", "drop",
    "peers", "url", "retry_after_s", "heartbeat_s", "idle_heartbeat_s", "lease_s",
]  # fmt: skip

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**70),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(TYPES),
    st.sampled_from(["1", "-1/2", "1/0", "01"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=12,
)
nearly_frames = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(FIELDS[1:]), values, max_size=6),
)

FRAMES = [
    '{"type":"hello","protocol":1,"agent":"a","name":"n","slots":4,"held":[{"task":"t","attempt":1}],"version":"v"}',
    '{"type":"results","results":[{"task":"t","attempt":1,"value":"-1/3"},{"task":"u","attempt":2,"error":{"code":"c"}}]}',
    '{"type":"heartbeat","held":[{"task":"t","attempt":9007199254740991}],"seen":2}',
    '{"type":"tasks","n":1,"tasks":[{"task":"t","attempt":1,"operation":"addition","operands":["1","2"],"duration_ms":0}]}',
    '{"type":"welcome","heartbeat_s":2,"idle_heartbeat_s":5,"lease_s":10,"keep":[],"drop":[],"peers":["ws://a"]}',
    '{"type":"redirect","url":"ws://a","retry_after_s":0.5}',
]


def check(data: str | bytes) -> None:
    for decode in (codec.decode_from_agent, codec.decode_from_server):
        try:
            frame = decode(data)
        except ProtocolError as error:
            assert error.code in (1003, 1007, 1009, 4000)
            assert len(error.reason.encode()) <= 123
        else:
            if frame is not None:
                assert decode(codec.encode(frame)) == frame


@often
@given(st.text() | st.binary())
def test_any_text_or_bytes_end_well(data: str | bytes) -> None:
    check(data)


@often
@given(nearly_frames)
def test_any_object_of_familiar_fields_ends_well(frame: dict[str, Any]) -> None:
    check(json.dumps(frame))


@often
@given(st.sampled_from(FRAMES), st.randoms(use_true_random=False), st.integers(1, 4))
def test_a_damaged_frame_ends_well(frame: str, chance: random.Random, damages: int) -> None:
    text = list(frame)
    for _ in range(damages):
        place = chance.randrange(len(text))
        match chance.randrange(3):
            case 0:
                text[place] = chance.choice('{}[]",:\\u0e-19.t\n')
            case 1:
                del text[place]
            case _:
                text.insert(place, chance.choice('{}[]",:\\u0e-19.t\x00é'))
    check("".join(text))


@often
@given(st.text("0123456789-/+.eE \n", max_size=12) | st.text(max_size=12))
def test_any_text_is_a_number_or_is_refused(text: str) -> None:
    for read in (numbers.parse, numbers.from_literal, numbers.decimal):
        try:
            read(text)
        except numbers.NumberError:
            assert read is not numbers.parse or not numbers.is_number(text)
        else:
            assert read is not numbers.parse or numbers.is_number(text)
