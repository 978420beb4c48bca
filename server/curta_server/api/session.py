"""Signing in with a browser: a token for a cookie, who is signed in, and signing out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

import msgspec
from quart import Blueprint, Response, current_app, request
from werkzeug.exceptions import RequestTimeout

from curta_server import resources as shapes
from curta_server.api import answers, cookies, origin, reading
from curta_server.api.access import AGENTS, READERS, allow, caller, ended, is_secure, open_to_all
from curta_server.api.documentation import documented
from curta_server.api.services import services
from curta_server.errors import Problem

if TYPE_CHECKING:
    from curta_server.known_tokens import Token

session = Blueprint("session", __name__)

BODY_MAX: Final = 4096
"""Who asks has shown no token yet, and is read no further."""

_request: Final = msgspec.json.Decoder(shapes.SessionRequest)


@session.post("/session")
@open_to_all
@documented(
    "session",
    {200: shapes.Session},
    body=shapes.SessionRequest,
    answer_headers={"Set-Cookie": "The session's cookie, for browsers alone."},
    problems=("unauthorized", "forbidden", "cross_origin", "unavailable"),
)
async def sign_in() -> Response:
    """Sign in: a token for a cookie, good for 30 days after its last use, and no longer than the token."""
    origin.check(request.headers, services().settings.public_url)
    if not reading.is_json():
        raise Problem(
            "unsupported_media_type", "Send JSON, with the header `Content-Type: application/json`."
        )
    asked = reading.decode(await _short_body(), _request)
    credentials = services().credentials
    token = await credentials.verify(asked.token.strip())
    if token is None:
        raise ended()
    if token.role == "agent":
        raise Problem(
            "forbidden", "A token of role agent only computes tasks; sign in with one of role user."
        )
    before = cookies.secret_of(request.headers)
    if before is not None:
        await credentials.sign_out(before)
    signed_in, secret = await credentials.sign_in(token)
    response = answers.answer(_shown(signed_in))
    cookies.give(response, secret, is_secure=is_secure(services()))
    return response


@session.get("/session")
@allow(*READERS, *AGENTS)
@documented("session", {200: shapes.Session})
async def show_session() -> Response:
    """Who is signed in, or whose token it is, and until when that is good."""
    return answers.answer(_shown(caller()))


@session.delete("/session")
@open_to_all
@documented(
    "session",
    {204: None},
    answer_headers={"Set-Cookie": "Takes the cookie back."},
    problems=("cross_origin", "unavailable"),
)
async def sign_out() -> Response:
    """Sign out: the cookie is worth nothing any more, and within a second nothing is open in its name. Where
    nobody is signed in there is nothing to do, which is fine, too."""
    secret = cookies.secret_of(request.headers)
    if secret is not None:
        origin.check(request.headers, services().settings.public_url)
        await services().credentials.sign_out(secret)
    response = answers.nothing()
    cookies.take_back(response, is_secure=is_secure(services()))
    return response


def _shown(token: Token) -> shapes.Session:
    return shapes.Session(name=token.name, role=cast("shapes.Role", token.role), expires_at=token.ends_at)


async def _short_body() -> bytes:
    """The body, which holds a token and no more. Raises: Problem 413, and what becomes 400 where it is too
    slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(current_app.config["BODY_TIMEOUT"]):
            async for part in request.body:
                body += part
                if len(body) > BODY_MAX:
                    raise Problem("too_long", f"The body is too large; at most {BODY_MAX} bytes are allowed.")
    except TimeoutError:
        raise RequestTimeout from None
    return bytes(body)
