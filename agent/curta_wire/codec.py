"""Bytes to frames and back: the only place where a malformed message can be met.

`decode_*` give a frame, or None for a `type` that this version does not know (which the protocol says to
ignore), or raise ProtocolError, and nothing else.
"""

from typing import Final, TypeVar

import msgspec
from msgspec import UNSET

from curta_wire import PROTOCOL
from curta_wire.frames import AgentFrame, Results, ServerFrame

FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
"""The protocol's limit on one text frame, either way."""

_encoder = msgspec.json.Encoder()
_agent_decoder = msgspec.json.Decoder(AgentFrame)
_server_decoder = msgspec.json.Decoder(ServerFrame)


class _Tagged(msgspec.Struct):
    type: str
    protocol: msgspec.Raw = msgspec.Raw(b"")


_tag_decoder = msgspec.json.Decoder(_Tagged)
_AGENT_TYPES = frozenset({"hello", "results", "heartbeat", "bye"})
_SERVER_TYPES = frozenset({"welcome", "tasks", "ack", "cancel", "drain", "redirect"})


class ProtocolError(Exception):
    """The peer broke the protocol; `code` is the WebSocket close code that tells it so."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def other_protocol() -> ProtocolError:
    """What an agent is told whose hello names another version than ours."""
    return ProtocolError(4000, f"this orchestrator speaks protocol {PROTOCOL}")


def encode(frame: AgentFrame | ServerFrame) -> str:
    """The text of a frame. Callers keep it below FRAME_BYTES_MAX by splitting lists."""
    return _encoder.encode(frame).decode()


def encode_bytes(frame: AgentFrame | ServerFrame) -> bytes:
    """The same, for those who write bytes."""
    return _encoder.encode(frame)


def decode_from_agent(data: str | bytes) -> AgentFrame | None:
    """What an agent sent. Raises: ProtocolError."""
    return _decode(data, _agent_decoder, _AGENT_TYPES)


def decode_from_server(data: str | bytes) -> ServerFrame | None:
    """What a server sent. Raises: ProtocolError."""
    return _decode(data, _server_decoder, _SERVER_TYPES)


F = TypeVar("F")


def _decode(data: str | bytes, decoder: "msgspec.json.Decoder[F]", known: frozenset[str]) -> F | None:
    if isinstance(data, bytes):
        raise ProtocolError(1003, "binary frames are not part of the protocol")
    if len(data) > FRAME_BYTES_MAX or (not data.isascii() and _bytes_of(data) > FRAME_BYTES_MAX):
        raise ProtocolError(1009, f"a frame has at most {FRAME_BYTES_MAX} bytes")
    try:
        frame = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        tagged = _tagged(data)
        if tagged.type not in known:
            return None
        protocol = bytes(tagged.protocol)
        if tagged.type == "hello" and protocol.isdigit() and int(protocol[:9]) != PROTOCOL:
            # Of another version, whose hello may have other fields than ours.
            raise other_protocol() from None
        raise ProtocolError(1007, f"malformed frame: {error}") from None
    if isinstance(frame, Results):
        for result in frame.results:
            if (result.value is UNSET) == (result.error is UNSET):
                raise ProtocolError(1007, "malformed frame: a result has either `value` or `error`")
    return frame


def _bytes_of(data: str) -> int:
    return len(data.encode(errors="surrogatepass"))


def _tagged(data: str) -> _Tagged:
    """What says how to understand a frame that did not decode. Raises: ProtocolError where there is none."""
    try:
        # The escape of half a character is JSON, and to the decoder an error; no name that we know has one.
        return _tag_decoder.decode(data.replace(r"\ud", r"\ue").replace(r"\uD", r"\uE"))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(1007, f"malformed frame: {error}") from None
