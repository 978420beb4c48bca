"""What becomes of an agent's words before the scheduler hears them."""

import pytest
from msgspec import UNSET

from curta_server.agents import answer_of, check, judge, printable, receive_hello
from curta_server.core.events import Answer
from curta_server.settings import Settings
from curta_wire import SUBPROTOCOL
from curta_wire.codec import ProtocolError, encode
from curta_wire.frames import Bye, Fault, Hello, Result
from curta_wire.offload import Offload

SETTINGS = Settings(value_digits_max=30_000)


class Mouth:
    def __init__(self, *frames: str | bytes) -> None:
        self._frames = list(frames)

    async def receive(self) -> str | bytes:
        return self._frames.pop(0)

    async def send(self, text: str) -> None: ...

    async def close(self, code: int, reason: str) -> None: ...


@pytest.mark.parametrize(
    "value", ["", "01", "1/1", "2/4", "-0", "1.5", "1e3", " 1", "1\n", "\u0663", "NaN", "1/0"]
)
def test_a_value_that_is_no_wire_number_is_the_agents_failure(value: str) -> None:
    assert judge(Answer("a.0", 1, value), SETTINGS).error == "invalid_value"


@pytest.mark.parametrize("value", ["0", "-12", "1/3", "-7/2"])
def test_a_wire_number_passes(value: str) -> None:
    assert judge(Answer("a.0", 1, value), SETTINGS) == Answer("a.0", 1, value)


def test_a_value_with_too_many_digits_is_the_result_too_large() -> None:
    assert judge(Answer("a.0", 1, "1" * 30_001), SETTINGS).error == "too_large"
    assert judge(Answer("a.0", 1, "-" + "1" * 30_000), SETTINGS).error is None


async def test_long_fractions_are_checked_in_a_child_process() -> None:
    offload = Offload(1, 4)
    try:
        reduced = "1" * 10_001 + "/" + "1" + "0" * 10_000
        assert (await check(Answer("a.0", 1, reduced), SETTINGS, offload)).error is None
        half = "2" * 10_001 + "/" + "2" + "0" * 10_000
        assert (await check(Answer("a.0", 1, half), SETTINGS, offload)).error == "invalid_value"
        huge = "1" * 20_000 + "/" + "1" * 20_000
        assert (await check(Answer("a.0", 1, huge), SETTINGS, offload)).error == "too_large"
    finally:
        offload.close()


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
