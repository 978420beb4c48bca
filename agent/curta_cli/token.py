"""`curta token create`, `list` and `revoke`: on the database directly, for who holds its URL holds
everything."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from curta_cli.database import find, reach
from curta_cli.environment import Span, data_option, option
from curta_cli.text import columns, moment, shorten

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from curta_server.store import Revocation, TokenRow

ROLES = ("viewer", "user", "admin", "agent")
"""As in the contract. Written out again because the server's list comes with the server's dependencies."""


@click.group(short_help="Make, list and revoke tokens.")
def token() -> None:
    """Make, list and revoke tokens, on the database that CURTA_DATABASE_URL names (or `curta up` runs).

    \b
    curta token create --role agent --name agents
    curta token list
    curta token revoke 0b1f8a52-5f0e-4f5d-9d6e-3c1c5f0e6d11

    Roles: viewer reads, user submits and sees its own, admin may everything but compute, agent only computes.
    Tokens with one name are one user.
    """


@token.command(short_help="Make a token and print its secret, once.")
@option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
@option("--name", required=True, metavar="N", help="Whose it is.")
@option("--expires-in", type=Span(), metavar="AGE", help="30d, 12h, …; without it, never.")
@option("--json", "as_json", is_flag=True, help="Print the token and its secret as one line of JSON.")
@data_option()
def create(role: str, name: str, expires_in: float | None, as_json: bool, data: Path) -> None:
    """Make a token and print its secret, which nobody can show again.

    \b
    curta token create --role user --name alice --expires-in 90d
    """
    expires_at = None if expires_in is None else datetime.now(UTC) + timedelta(seconds=expires_in)

    async def work(engine: "AsyncEngine") -> "tuple[TokenRow, str]":
        from curta_server.credentials import Credentials
        from curta_server.errors import Problem

        try:
            return await Credentials(engine).create(name, role, expires_at)
        except Problem as problem:
            raise click.UsageError(problem.detail) from None

    row, secret = reach(find(data), "curta token", work)
    if as_json:
        click.echo(json.dumps({**_shape(row), "secret": secret}, ensure_ascii=False))
        return
    click.echo(f"Token {row.id} of role {row.role} for {row.name}. Its secret is shown this once:", err=True)
    click.echo(secret)


@token.command("list", short_help="List the tokens.")
@option("--json", "as_json", is_flag=True, help="Print each token as one line of JSON.")
@data_option()
def list_(as_json: bool, data: Path) -> None:
    """List the tokens that were not revoked. Their secrets are not kept anywhere.

    \b
    curta token list
    """

    async def work(engine: "AsyncEngine") -> "list[TokenRow]":
        from curta_server.credentials import Credentials

        return await Credentials(engine).list()

    shapes = [_shape(row) for row in reach(find(data), "curta token", work)]
    if as_json:
        for shape in shapes:
            click.echo(json.dumps(shape, ensure_ascii=False))
        return
    rows = [
        (
            shape["id"],
            shape["role"],
            shorten(shape["name"], 40),
            moment(shape["created_at"]),
            moment(shape["expires_at"]) or "never",
            moment(shape["last_used_at"]) or "never",
        )
        for shape in shapes
    ]
    click.echo(columns(("ID", "ROLE", "NAME", "CREATED", "EXPIRES", "LAST USED"), rows))


@token.command(short_help="Revoke a token.")
@click.argument("id", type=click.UUID, metavar="ID")
@data_option()
def revoke(id: UUID, data: Path) -> None:
    """Revoke a token, effective within a second on open connections, too. The last administrator's is kept.

    \b
    curta token revoke 0b1f8a52-5f0e-4f5d-9d6e-3c1c5f0e6d11
    """

    async def work(engine: "AsyncEngine") -> "Revocation":
        from curta_server.credentials import Credentials

        return await Credentials(engine).revoke(id)

    outcome = reach(find(data), "curta token", work)
    if outcome == "unknown":
        raise click.ClickException(f"There is no token {id}.")
    if outcome == "last_admin":
        raise click.ClickException("This is the last administrator's token: make another one first.")
    click.echo(f"{id} revoked")


def _shape(row: "TokenRow") -> dict[str, str | None]:
    """A token as the REST interface shows it."""
    return {
        "id": str(row.id),
        "name": row.name,
        "role": row.role,
        "created_at": row.created_at.isoformat(),
        "expires_at": _text(row.expires_at),
        "last_used_at": _text(row.last_used_at),
    }


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
