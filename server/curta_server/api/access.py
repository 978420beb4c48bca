"""Who may do what: bearer tokens and roles, decided before a route runs.

`allow` marks a route with the roles it serves and `open_to_all` the few that need no token; a route with
neither is a defect that `create_app` finds. The same marks go into the OpenAPI document, so that the two
cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from quart import Quart, current_app, g, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from curta_server.errors import Problem

if TYPE_CHECKING:
    from curta_server.api.services import Services
    from curta_server.credentials import Token

View = TypeVar("View", bound=Callable[..., Any])

ROLES_ATTRIBUTE: Final = "curta_roles"
REALM: Final = 'Bearer realm="curta"'

READERS: Final = ("user", "viewer", "admin")
WRITERS: Final = ("user", "admin")
ADMINS: Final = ("admin",)
AGENTS: Final = ("agent",)


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


def caller() -> Token:
    """The token of the request being served. Only in routes that need one."""
    return cast("Token", g.token)


def install(app: Quart, services: Services) -> None:
    """Check every request to `app` before its route runs."""

    async def authenticate() -> None:
        endpoint = request.endpoint or _endpoint_of_other_method()
        if endpoint is None:
            return  # no such path: a 404 tells nothing that /openapi.json does not tell everybody
        roles = roles_of(app.view_functions[endpoint])
        if roles == ():
            return
        g.token = token = await bearer(services, request.headers)
        if request.endpoint is None or request.method == "OPTIONS":
            return  # the path is there, and routing answers
        if roles is None or token.role not in roles:
            raise Problem("forbidden", _refusal(token.role, roles or ()))

    app.before_request(authenticate)


async def bearer(services: Services, headers: Headers) -> Token:
    """Whose token a request or a handshake carries. Raises: Problem 401, and 503 where that is not known."""
    token = await services.credentials.verify(secret_of(headers))
    if token is None:
        raise ended()
    return token


def secret_of(headers: Headers) -> str:
    """The bearer token of a request or a handshake. Raises: Problem 401."""
    header = headers.get("Authorization", "")
    if not header:
        raise unauthorized("Send a token in the header `Authorization: Bearer <token>`.", REALM)
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


def ended() -> Problem:
    """401 for a token that is good no more, or never was."""
    return unauthorized("The token is unknown, revoked or expired.", f'{REALM}, error="invalid_token"')


def _refusal(role: str, roles: tuple[str, ...]) -> str:
    if role == "agent":
        return "A token of role agent only computes tasks; use one of role user."
    if roles == AGENTS:
        return f"Only a token of role agent computes tasks; yours has the role {role}."
    return f"Your token has the role {role}; this needs the role {' or '.join(roles)}."


def _endpoint_of_other_method() -> str | None:
    """Where the path exists but not for this method: the endpoint of a method that it has."""
    error = request.routing_exception
    if not isinstance(error, MethodNotAllowed) or not error.valid_methods:
        return None
    adapter = current_app.create_url_adapter(request)
    assert adapter is not None
    try:
        endpoint, _ = adapter.match(method=next(iter(error.valid_methods)))
    except HTTPException:
        return None
    return cast("str", endpoint)
