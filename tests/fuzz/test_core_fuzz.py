"""Any text, bytes or number ends in a value or in the documented error: parser, plans, numbers, cursors.

A long run is `make fuzz`.
"""

import os
import random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support import texts

from curta_server.api import reading
from curta_server.core.expression import ExpressionError, parse
from curta_server.core.plan import Plan, build, summarize
from curta_server.errors import Problem
from curta_server.resources import EXPECTED, BatchSubmission, Submission, TaskResult
from curta_wire import codec, numbers
from curta_wire.codec import ProtocolError

EXAMPLES = 200_000 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 500
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
DURATIONS = (1000, 1000, 2000, 2000)

any_text = st.text() | st.text(texts.ALPHABET) | texts.broken_texts() | texts.valid_texts()


@often
@given(any_text, st.integers(0, 30))
def test_any_text_is_planned_or_refused_at_a_place_in_it(text: str, digits_max: int) -> None:
    try:
        tree = parse(text, literal_digits_max=digits_max)
    except ExpressionError as error:
        assert 0 <= error.position <= len(text)
        assert set(error.expected) <= set(EXPECTED)
        assert error.code in ("invalid_expression", "literal_too_long")
        assert bool(error.expected) or "number" in error.message or "exponent" in error.message
        assert error.message.encode()
        return
    for optimize in (True, False):
        plan = build(tree, DURATIONS, optimize=optimize)
        assert Plan.decode(plan.encode(), text) == plan
        summarize(tree, plan, DURATIONS)


# --- plans ------------------------------------------------------------------------------------------------

LONG_TEXT = "+".join(map(str, range(2_000)))


def walk(plan: Plan) -> None:
    """Touch everything that a plan refers to."""
    for task in range(len(plan)):
        for reference in (plan.left[task], plan.right[task]):
            assert reference >> 1 < task if reference >= 0 else plan.literal(reference)
        assert all(user > task for user in plan.users[plan.users_at[task] : plan.users_at[task + 1]])
    assert plan.root >> 1 == len(plan) - 1 if len(plan) else plan.literal(plan.root)


@often
@given(st.sampled_from(["7", "1+2*3", "(1+2)*(1+2)/-4", LONG_TEXT]), st.data())
def test_a_damaged_plan_is_refused_or_still_a_plan(text: str, data: st.DataObject) -> None:
    encoded = bytearray(build(parse(text), DURATIONS).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, max(0, len(encoded) - 1)))
        match data.draw(st.integers(0, 2)):
            case 0:
                encoded[place : place + 1] = data.draw(st.binary(min_size=1, max_size=4))
            case 1:
                del encoded[place : place + data.draw(st.integers(1, 8))]
            case _:
                encoded += data.draw(st.binary(max_size=8))
    try:
        plan = Plan.decode(bytes(encoded), text)
    except ValueError:
        return
    walk(plan)


@often
@given(st.binary(), any_text)
@example(b"plan\x01\x01\0\0" + b"\xff" * 16 + b"x", "1+2")
def test_any_bytes_are_a_plan_or_a_value_error(data: bytes, text: str) -> None:
    try:
        walk(Plan.decode(data, text))
    except ValueError:
        pass


def test_a_small_plan_that_would_inflate_to_gigabytes_is_not_inflated() -> None:
    import struct
    import zlib

    header = struct.pack("<4sBBxxIIIi", b"plan", 1, 1, 2**31, 2**31, 2**31, 0)
    for text in ("1+2", "1+2+3"):
        with pytest.raises(ValueError, match="too large"):
            Plan.decode(header + zlib.compress(bytes(1_000_000)), text)
    header = struct.pack("<4sBBxxIIIi", b"plan", 1, 1, 1, 2, 0, 0)
    with pytest.raises(ValueError, match="length"):
        Plan.decode(header + zlib.compress(bytes(1_000_000)), "1+2")


# --- numbers ----------------------------------------------------------------------------------------------

digit_runs = st.builds(
    lambda digit, length: digit * length, st.sampled_from("0123456789"), st.integers(0, 5000)
)
long_numbers = st.builds(
    lambda sign, left, slash, right: sign + left + slash + right,
    st.sampled_from(["", "-", "--", "+"]),
    digit_runs | st.integers(0, 10**40).map(str),
    st.sampled_from(["", "/", "/-", "//", ".", "e", "E+", "e-"]),
    digit_runs | st.integers(0, 10**40).map(str),
)


@often
@given(long_numbers | st.text("0123456789-/+.eE \n\u0661", max_size=20))
@example("1e" + "9" * 5000)
@example("1e-" + "0" * 5000 + "1")
@example("9" * 5000 + "." + "9" * 5000 + "e1000")
@example("0/5")
@example("1/1")
@example("\ud800")
def test_any_text_is_a_number_or_is_refused_with_a_number_error(text: str) -> None:
    is_number = numbers.is_number(text)
    assert numbers.digits(text) <= len(text)
    try:
        value = numbers.parse(text)
    except numbers.NumberError:
        assert not is_number
    else:
        assert is_number
        assert numbers.render(value) == text
        assert numbers.negate(numbers.negate(text)) == text
        assert numbers.parse(numbers.negate(text)) == -value  # type: ignore[operator]
    try:
        result, exact = numbers.decimal(text)
    except numbers.NumberError:
        assert not is_number
    else:
        assert result and result != "-0" and exact in (None, text)
    try:
        literal = numbers.from_literal(text)
    except numbers.NumberError:
        pass
    else:
        assert numbers.is_number(literal)


# --- frames and bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"type":', '{"held":[{"task":', '{"results":['])
@pytest.mark.parametrize("depth", [10, 900, 1_100, 100_000])
def test_a_deeply_nested_frame_ends_well(opening: str, depth: int) -> None:
    for text in (opening * depth, '{"type":"later","x":' + opening * depth, opening * depth + "1"):
        for decode in (codec.decode_from_agent, codec.decode_from_server):
            with pytest.raises(ProtocolError) as refused:
                decode(text)
            assert refused.value.code == 1007


@often
@given(st.text() | st.text('{}[]",:\\u0123456789dDeE-+.truefalsn'))
def test_any_text_in_a_frame_is_text_a_frame_or_refused(text: str) -> None:
    for frame in (f'{{"type":"bye","x":{text}}}', f'{{"type":"heartbeat","held":[],"seen":{text}}}', text):
        for decode in (codec.decode_from_agent, codec.decode_from_server):
            try:
                decode(frame)
            except ProtocolError as error:
                assert error.code in (1007, 1009)


decoders: list[Any] = [msgspec.json.Decoder(shape) for shape in (Submission, BatchSubmission, TaskResult)]


@often
@given(st.binary() | st.text('{}[]",:expressionidmp0').map(str.encode), st.sampled_from(decoders))
def test_any_body_is_read_or_malformed(data: bytes, decoder: Any) -> None:
    try:
        reading.decode(data, decoder)
    except Problem as problem:
        assert problem.code == "malformed"
        assert problem.detail.encode()


@pytest.mark.parametrize("opening", [b"[", b'{"expression":', b'{"expressions":[', b'{"error":'])
def test_a_deeply_nested_body_is_malformed(opening: bytes) -> None:
    for depth in (900, 1_100, 100_000):
        for decoder in decoders:
            with pytest.raises(Problem) as refused:
                reading.decode(opening * depth, decoder)
            assert refused.value.code == "malformed"


@often
@given(st.binary(max_size=300))
def test_a_cursor_is_only_what_was_made_one(payload: bytes) -> None:
    made = reading.make_cursor(payload)
    chance = random.Random(payload)
    place = chance.randrange(len(made))
    other = chance.choice([c for c in "ABCabc019-_" if c != made[place]])
    for text in (made, made[:place] + other + made[place + 1 :], made + "A", made[:-1]):
        try:
            assert reading.payload_of(text) == payload and text == made
        except Problem as problem:
            assert problem.code == "malformed" and text != made


@often
@given(st.text(max_size=60))
def test_any_text_is_no_cursor(text: str) -> None:
    try:
        reading.payload_of(text)
    except Problem as problem:
        assert problem.code == "malformed"


@often
@given(st.text(max_size=300))
def test_an_id_is_printable_ascii_or_refused(text: str) -> None:
    try:
        assert reading.checked_client_id(text) == text
        assert 1 <= len(text) <= 255 and all(" " <= c <= "~" for c in text)
    except Problem as problem:
        assert problem.code == "unprocessable"
