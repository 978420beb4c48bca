"""The session's cookie: reading it, giving it, taking it back.

Scripts cannot read it, and a browser sends it only with what pages of the same site ask for.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from quart import Response
from werkzeug.datastructures import Headers
from werkzeug.sansio.http import parse_cookie

from curta_server.credentials import SESSION_DAYS

NAME: Final = "curta_session"
LASTS: Final = timedelta(days=SESSION_DAYS)


def secret_of(headers: Headers) -> str | None:
    """The session's secret that a request or a handshake carries. Other cookies of the same host, of which
    some are no UTF-8, are nobody's business here."""
    return parse_cookie(headers.get("Cookie", "")).get(NAME)


def give(response: Response, secret: str, *, is_secure: bool) -> None:
    """Have the browser keep the secret, from now on for as long as a session lasts unused."""
    response.set_cookie(
        NAME, secret, max_age=LASTS, path="/", secure=is_secure, httponly=True, samesite="Strict"
    )


def take_back(response: Response, *, is_secure: bool) -> None:
    """Have the browser forget it."""
    response.delete_cookie(NAME, path="/", secure=is_secure, httponly=True, samesite="Strict")
