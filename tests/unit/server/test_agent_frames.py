"""What becomes of an agent's words before the scheduler hears them."""

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import UNSET

from curta_server.agents import receive_hello
from curta_server.core.events import Answer
from curta_server.hearing import answer_of, judged
from curta_server.values import printable
from curta_wire import SUBPROTOCOL
from curta_wire.codec import ProtocolError, encode
from curta_wire.frames import Bye, Fault, Hello, Result
from curta_wire.offload import Offload, OffloadFailed, OffloadFull


class Mouth:
    def __init__(self, *frames: str | bytes) -> None:
        self._frames = list(frames)

    async def receive(self) -> str | bytes:
        return self._frames.pop(0)

    async def send(self, text: str) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...


@pytest.fixture(scope="module")
def checks() -> Iterator[Offload]:
    offload = Offload(1, 4)
    yield offload
    offload.close()


async def judged_one(value: str, checks: Offload, digits_max: int = 30_000) -> Answer:
    (answer,) = await judged([Result("a.0", 1, value)], digits_max, checks)
    return answer


@pytest.mark.parametrize(
    "value", ["", "01", "1/1", "2/4", "-0", "1.5", "1e3", " 1", "1\n", "\u0663", "NaN", "1/0", "x" * 40_000]
)
async def test_a_value_that_is_no_wire_number_is_the_agents_failure(value: str, checks: Offload) -> None:
    assert (await judged_one(value, checks)).error == "invalid_value"


@pytest.mark.parametrize("value", ["0", "-12", "1/3", "-7/2", "1" * 30_000, "-" + "1" * 30_000])
async def test_a_wire_number_passes(value: str, checks: Offload) -> None:
    answer = await judged_one(value, checks)
    assert (answer.value, bool(answer.error)) == (value, False)


@pytest.mark.parametrize("value", ["1" * 30_001, "-" + "1" * 30_001, "1" * 20_000 + "/" + "1" * 20_000])
async def test_a_value_with_too_many_digits_is_the_result_too_large(value: str, checks: Offload) -> None:
    assert (await judged_one(value, checks)).error == "too_large"


async def test_a_value_beyond_the_wires_own_limit_is_too_large_as_well(checks: Offload) -> None:
    assert (await judged_one("1" * 1_000_001, checks, digits_max=1_000_000)).error == "too_large"


async def test_long_fractions_are_checked_in_a_child_process(checks: Offload) -> None:
    reduced = "1" * 10_001 + "/" + "1" + "0" * 10_000
    assert not (await judged_one(reduced, checks)).error
    half = "2" * 10_001 + "/" + "2" + "0" * 10_000
    assert (await judged_one(half, checks)).error == "invalid_value"


class Unwilling(Offload):
    """Full at first; then no child can be had."""

    def __init__(self) -> None:
        super().__init__(1, 0)
        self.errors = [OffloadFull("full"), OffloadFull("full"), OffloadFailed("no child")]

    async def run(self, function: object, *arguments: object) -> Any:
        raise self.errors.pop(0)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("2" * 10_001 + "/" + "2" + "0" * 10_000, "invalid_value"),
        ("x" * 10_001 + "/2", "invalid_value"),
        ("1" * 10_001 + "/\0", "invalid_value"),
        ("1" * 10_001 + "/" + "1" + "0" * 10_000, None),
    ],
)
async def test_no_value_is_believed_because_nobody_has_time_to_look(value: str, error: str | None) -> None:
    offload = Unwilling()
    answer = await judged_one(value, offload)
    assert (answer.error or None) == error and not offload.errors


async def test_one_value_that_is_wrong_does_not_taint_its_neighbours(checks: Offload) -> None:
    results = [Result("a.0", 1, "5"), Result("a.1", 1, "x"), Result("a.2", 1, UNSET, Fault("busy"))]
    answers = await judged(results, 100, checks)
    assert [(answer.value, answer.error) for answer in answers] == [
        ("5", None), (None, "invalid_value"), (None, "busy"),
    ]  # fmt: skip


def test_an_errors_words_can_be_stored_and_shown() -> None:
    answer = answer_of(Result("a.0", 1, UNSET, Fault("bad\0code", "line\nbreak")))
    assert (answer.error, answer.message) == ("bad\ufffdcode", "line\ufffdbreak")
    assert answer_of(Result("a.0", 1, UNSET, Fault(""))).error == "unnamed"


def test_names_are_cut_and_cleaned() -> None:
    assert printable("a\0b" + "c" * 300) == "a\ufffdb" + "c" * 197


async def test_the_first_frame_must_be_a_hello() -> None:
    with pytest.raises(ProtocolError) as refused:
        await receive_hello(Mouth(encode(Bye())), 1)
    assert refused.value.code == 1008


async def test_a_type_that_is_not_known_does_not_keep_a_hello_from_being_the_first_frame() -> None:
    greeting = '{"type":"greeting","text":"\\ud83d"}'
    assert await receive_hello(Mouth(greeting, greeting, encode(Hello(1, "x", "n", 1))), 1)
    with pytest.raises(ProtocolError) as refused:
        await receive_hello(Mouth(greeting, "hello?"), 1)
    assert refused.value.code == 1007


async def test_a_binary_first_frame_is_refused_as_such() -> None:
    with pytest.raises(ProtocolError) as refused:
        await receive_hello(Mouth(b"{}"), 1)
    assert refused.value.code == 1003


async def test_a_hello_with_unknown_fields_is_understood() -> None:
    hello = await receive_hello(
        Mouth('{"type":"hello","protocol":1,"agent":"x","name":"n","slots":1,"held":[],"later":true}'), 1
    )
    assert hello == Hello(1, "x", "n", 1)
    assert SUBPROTOCOL == "curta.agent.v1"
