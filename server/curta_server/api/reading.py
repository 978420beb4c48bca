"""Reading requests: bodies, query parameters and ids, each with its own refusal.

400 says that something is malformed (broken JSON, a wrong type, not a number), 422 that it is well formed
but out of range. Bodies are taken as bytes and decoded here, never by the framework, so that a body is
never taken for a form.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Final, TypeVar
from uuid import UUID

import msgspec
from quart import current_app, g, request
from werkzeug.exceptions import RequestTimeout

from curta_server.api.services import context
from curta_server.errors import Problem

if TYPE_CHECKING:
    from curta_server.known_tokens import Token

T = TypeVar("T")

WAIT_S_MAX: Final = 50.0
"""Below the minute after which proxies usually give up."""
LIMIT_MAX: Final = 1000
LIMIT: Final = 50
CLIENT_ID_MAX: Final = 255

_CLIENT_ID = re.compile(r"[ -~]{1,255}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?", re.IGNORECASE)

# --- bodies -----------------------------------------------------------------------------------------------


async def body() -> bytes:
    """The whole body. Raises: what becomes 413 or 400 when it is too large or too slow."""
    if request.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise Problem("unsupported_media_type", "Send the body without a content encoding.")
    return await raw_body()


async def raw_body() -> bytes:
    """The whole body, however it is encoded. Raises: what becomes 413 or 400 when it is too large or too
    slow, and Problem 401 where its token ends before it is here."""
    token: Token | None = g.get("token")
    good = nullcontext() if token is None else context().gate.while_good(token)
    try:
        async with asyncio.timeout(current_app.config["BODY_TIMEOUT"]), good:
            data: bytes = await request.body
    except TimeoutError:
        raise RequestTimeout from None
    return data


def is_json() -> bool:
    """Whether the body says that it is JSON."""
    mimetype = request.mimetype
    return mimetype == "application/json" or (
        mimetype.startswith("application/") and mimetype.endswith("+json")
    )


async def json_body(decoder: msgspec.json.Decoder[T]) -> T:
    """The body, which must be JSON of the decoder's type. Raises: Problem 400, 413, 415."""
    if not is_json():
        raise Problem(
            "unsupported_media_type", "Send JSON, with the header `Content-Type: application/json`."
        )
    return decode(await body(), decoder)


def decode(data: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T:
    """JSON of the decoder's type. Raises: Problem 400 or 422 that says what is wrong, and where."""
    try:
        if isinstance(data, bytes) and not data.isascii():
            data.decode()  # the decoder skips what it does not know, and counts within what it knows
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        if str(error).startswith(_OUT_OF_RANGE):
            raise Problem("unprocessable", f"The body does not fit: {_plainly(error)}.") from None
        raise Problem("malformed", f"The body does not fit: {_plainly(error)}.") from None
    except msgspec.DecodeError as error:
        raise Problem("malformed", f"The body is not JSON: {_plainly(error)}.") from None
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None
    except RecursionError:
        raise Problem("malformed", "The body is nested too deeply.") from None


def not_utf8(error: UnicodeDecodeError) -> Problem:
    """400 for bytes that are no text."""
    return Problem("malformed", f"The body is not UTF-8: {error.reason} at byte {error.start}.")


_OUT_OF_RANGE: Final = ("Integer value out of range", "Number out of range")
"""What the decoder says of numbers that no machine's number is large enough for."""


def _plainly(error: Exception) -> str:
    sentence = (
        str(error)
        .removeprefix("JSON is malformed: ")
        .replace(" - at `$.", " at `")
        .replace(" - at `$", " at `")
    )
    return sentence[:1].lower() + sentence[1:]


# --- query parameters -------------------------------------------------------------------------------------


def integer(name: str, default: T, least: int, most: int) -> int | T:
    """A query parameter within [least, most]. Raises: Problem 400 or 422."""
    text = request.args.get(name)
    if text is None:
        return default
    if not _INTEGER.fullmatch(text):
        raise Problem("malformed", f"`{name}` must be an integer.")
    value = float(text)  # however many digits there are; the bounds are far below what this would round
    if not least <= value <= most:
        raise Problem("unprocessable", f"`{name}` must lie between {least} and {most}.")
    return int(value)


def seconds(name: str, most: float) -> float:
    """A query parameter in seconds within [0, most], 0 by default. Raises: Problem 400 or 422."""
    text = request.args.get(name)
    if text is None:
        return 0.0
    if not _NUMBER.fullmatch(text):
        raise Problem("malformed", f"`{name}` must be a number of seconds.")
    value = float(text)
    if not 0 <= value <= most:
        raise Problem("unprocessable", f"`{name}` must lie between 0 and {most:g} seconds.")
    return value


def boolean(name: str) -> bool | None:
    """A query parameter that is `true` or `false`, None where it is missing. Raises: Problem 400."""
    text = request.args.get(name)
    if text is None:
        return None
    if text not in ("true", "false"):
        raise Problem("malformed", f"`{name}` must be true or false.")
    return text == "true"


def choices(name: str, known: Sequence[str]) -> tuple[str, ...]:
    """A query parameter that may repeat. Raises: Problem 422 for a word that is not `known`."""
    found = request.args.getlist(name)
    for word in found:
        if word not in known:
            raise Problem("unprocessable", f"`{name}` must be one of: {', '.join(known)}.")
    return tuple(dict.fromkeys(found))


def limit() -> int:
    """How many items a page may have."""
    return integer("limit", LIMIT, 1, LIMIT_MAX)


# --- ids and cursors --------------------------------------------------------------------------------------

Cursor = Annotated[
    str, msgspec.Meta(description="`next` of the page before, unchanged.", pattern="^[A-Za-z0-9_-]+$")
]


def uuid(text: str, what: str) -> UUID:
    """An id in a path. Raises: Problem 404, for what is no id is the id of nothing."""
    if not _UUID.fullmatch(text):
        raise Problem("not_found", f"There is no {what} with this id.")
    return UUID(text)


def checked_client_id(text: str) -> str:
    """The client's own id of an expression. Raises: Problem 422."""
    if not _CLIENT_ID.fullmatch(text):
        raise Problem("unprocessable", f"`id` must be 1 to {CLIENT_ID_MAX} printable ASCII characters.")
    return text


def cursor(name: str = "cursor") -> bytes | None:
    """What `make_cursor` packed. Raises: Problem 400 for anything else."""
    text = request.args.get(name)
    return None if text is None else payload_of(text)


def payload_of(text: str) -> bytes:
    """What `make_cursor` packed into this text. Raises: Problem 400 for anything else."""
    try:
        payload = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))[4:]
    except ValueError:
        raise invalid_cursor() from None
    if text != make_cursor(payload):
        raise invalid_cursor()
    return payload


def make_cursor(payload: bytes) -> str:
    """A cursor for people's eyes only: opaque, and a changed one is noticed."""
    return base64.urlsafe_b64encode(_checksum(payload) + payload).decode("ascii").rstrip("=")


def invalid_cursor() -> Problem:
    """400 for a cursor that we did not make."""
    return Problem("malformed", "`cursor` is not one that was given out: take it from `next` unchanged.")


def _checksum(payload: bytes) -> bytes:
    # Against slips and guessing, not against forgery: a cursor grants nothing that the caller cannot list
    # anyway.
    return binascii.crc32(b"curta cursor 1" + payload).to_bytes(4, "big")
