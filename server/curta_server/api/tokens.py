"""Tokens: make, list, revoke."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, cast

import msgspec
from quart import Blueprint, Response

from curta_server import resources as shapes
from curta_server.api import answers, reading
from curta_server.api.access import ADMINS, allow
from curta_server.api.documentation import documented
from curta_server.api.services import services
from curta_server.errors import Problem

tokens = Blueprint("tokens", __name__)

_request: Final = msgspec.json.Decoder(shapes.TokenRequest)


@tokens.get("/tokens")
@allow(*ADMINS)
@documented("tokens", {200: shapes.Tokens})
async def list_tokens() -> Response:
    """All tokens that were not revoked, without their secrets."""
    rows = await services().credentials.list()
    return answers.answer(
        shapes.Tokens(
            [
                shapes.Token(
                    id=str(row.id),
                    name=row.name,
                    role=cast("shapes.Role", row.role),
                    created_at=row.created_at,
                    expires_at=row.expires_at,
                    last_used_at=row.last_used_at,
                )
                for row in rows
            ]
        )
    )


@tokens.post("/tokens")
@allow(*ADMINS)
@documented("tokens", {200: shapes.NewToken}, body=shapes.TokenRequest, problems=("unprocessable",))
async def create_token() -> Response:
    """Make a token. Its secret is in the answer, and nowhere else ever after."""
    asked = await reading.json_body(_request)
    row, secret = await services().credentials.create(
        asked.name.strip(), asked.role, _expiry(asked.expires_at)
    )
    return answers.answer(
        shapes.NewToken(
            id=str(row.id),
            name=row.name,
            role=cast("shapes.Role", row.role),
            expires_at=row.expires_at,
            secret=secret,
        )
    )


@tokens.delete("/tokens/<id>")
@allow(*ADMINS)
@documented("tokens", {200: shapes.RevokedToken}, problems=("not_found", "last_admin"))
async def revoke_token(id: str) -> Response:
    """Revoke a token, effective within a second, also on open connections."""
    found = reading.uuid(id, "token")
    match await services().credentials.revoke(found):
        case "unknown":
            raise Problem("not_found", "There is no token with this id.")
        case "last_admin":
            raise Problem("last_admin", "This is the last admin token: make another one first.")
    return answers.answer(shapes.RevokedToken(str(found), "revoked"))


def _expiry(at: datetime | None) -> datetime | None:
    """Raises: Problem 400 without a time zone, 422 in the past."""
    if at is None:
        return None
    if at.tzinfo is None:
        raise Problem("malformed", "`expires_at` needs a time zone, as in 2030-01-31T12:00:00Z.")
    try:
        moment = at.astimezone(UTC)
    except OverflowError:
        raise Problem("unprocessable", "`expires_at` is out of range.") from None
    if moment <= datetime.now(UTC):
        raise Problem("unprocessable", "`expires_at` must lie in the future.")
    return moment
