"""Who may do what: bearer tokens, sessions' cookies and roles, decided before a route runs.

`allow` marks a route with the roles it serves and `open_to_all` the few that need no token; a route with
neither is a defect that `create_app` finds. The same marks go into the OpenAPI document, so that the two
cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from quart import Quart, Response, current_app, g, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from curta_server.api import cookies, origin
from curta_server.errors import Problem

if TYPE_CHECKING:
    from curta_server.api.services import Services
    from curta_server.known_tokens import Token

View = TypeVar("View", bound=Callable[..., Any])

ROLES_ATTRIBUTE: Final = "curta_roles"
REALM: Final = 'Bearer realm="curta"'

READERS: Final = ("user", "viewer", "admin")
WRITERS: Final = ("user", "admin")
ADMINS: Final = ("admin",)
AGENTS: Final = ("agent",)

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""


def allow(*roles: str) -> Callable[[View], View]:
    """Serve tokens of these roles only."""

    def mark(view: View) -> View:
        setattr(view, ROLES_ATTRIBUTE, roles)
        return view

    return mark


def open_to_all(view: View) -> View:
    """Serve everybody, without a token."""
    setattr(view, ROLES_ATTRIBUTE, ())
    return view


def roles_of(view: Callable[..., Any]) -> tuple[str, ...] | None:
    """The roles a route serves; empty means everybody, None that it was never marked."""
    found: tuple[str, ...] | None = getattr(view, ROLES_ATTRIBUTE, None)
    return found


def scope_of(token: Token) -> str | None:
    """Whose things the token may see: a user's own name; None for those who see everybody's."""
    return token.name if token.role == "user" else None


def caller() -> Token:
    """The token of the request being served. Only in routes that need one."""
    return cast("Token", g.token)


def install(app: Quart, services: Services) -> None:
    """Check every request to `app` before its route runs, and put off the end of a session that is used."""

    async def authenticate() -> None:
        endpoint = request.endpoint or _endpoint_of_other_method()
        if endpoint is None:
            return  # no such path: a 404 tells nothing that /openapi.json does not tell everybody
        roles = roles_of(app.view_functions[endpoint])
        if roles == ():
            return
        g.token = token = await bearer(services, request.headers, acts=request.method not in _SAFE)
        if request.endpoint is None or request.method == "OPTIONS":
            return  # the path is there, and routing answers
        if roles is None or token.role not in roles:
            raise Problem("forbidden", _refusal(token.role, roles or ()))
        if token.session is not None:
            secret = cookies.secret_of(request.headers) or ""
            if await services.credentials.renew(secret, token):
                g.renewed = secret

    async def renew_cookie(response: Response) -> Response:
        secret = g.get("renewed")
        if secret is not None:
            cookies.give(response, secret, is_secure=is_secure(services))
        return response

    app.before_request(authenticate)
    app.after_request(renew_cookie)


async def bearer(services: Services, headers: Headers, *, acts: bool = True) -> Token:
    """In whose name a request or a handshake comes: by its bearer token, else by its session's cookie.

    Only where nothing changes for it (`acts` false) a cookie may come from another site's page. Raises:
    Problem 401, 403 `cross_origin`, and 503 where it is not known.
    """
    session = cookies.secret_of(headers)
    if session is None or "Authorization" in headers:
        token = await services.credentials.verify(secret_of(headers))
        if token is None:
            raise ended()
        return token
    if acts:
        origin.check(headers, services.settings.public_url)
    token = await services.credentials.signed_in(session)
    if token is None:
        raise ended(is_session=True)
    return token


def is_secure(services: Services) -> bool:
    """Whether the browser that makes the request reaches us by https: then its cookie goes no other way."""
    return request.scheme == "https" or services.settings.public_url.startswith("https:")


def secret_of(headers: Headers) -> str:
    """The bearer token of a request or a handshake. Raises: Problem 401."""
    header = headers.get("Authorization", "")
    if not header:
        raise unauthorized("Send a token in the header `Authorization: Bearer <token>`, or sign in.", REALM)
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise unauthorized(
            "The header `Authorization` holds no bearer token: `Authorization: Bearer <token>`.", REALM
        )
    return secret


def unauthorized(detail: str, challenge: str = REALM) -> Problem:
    """401, and how to do better."""
    return Problem("unauthorized", detail, headers={"WWW-Authenticate": challenge})


def ended(*, is_session: bool = False) -> Problem:
    """401 for a token or a session that is good no more, or never was."""
    detail = (
        "The session is over: sign in again." if is_session else "The token is unknown, revoked or expired."
    )
    return unauthorized(detail, f'{REALM}, error="invalid_token"')


def _refusal(role: str, roles: tuple[str, ...]) -> str:
    if role == "agent":
        return "A token of role agent only computes tasks; use one of role user."
    if roles == AGENTS:
        return f"Only a token of role agent computes tasks; yours has the role {role}."
    return f"Your token has the role {role}; this needs the role {' or '.join(roles)}."


def _endpoint_of_other_method() -> str | None:
    """Where the path exists but not for this method: the endpoint of a method that it has, one that is open
    to all if there is one."""
    error = request.routing_exception
    if not isinstance(error, MethodNotAllowed) or not error.valid_methods:
        return None
    adapter = current_app.create_url_adapter(request)
    assert adapter is not None
    endpoints: list[str] = []
    for method in sorted(error.valid_methods):
        with suppress(HTTPException):
            endpoints.append(adapter.match(method=method)[0])
    open_ones = [endpoint for endpoint in endpoints if roles_of(current_app.view_functions[endpoint]) == ()]
    return next(iter(open_ones or endpoints), None)
