"""`curta agents` and `curta operations`: what computes, and how long each kind of work takes."""

import json
import re
from pathlib import Path
from typing import Any

import click

from curta_cli import rest
from curta_cli.environment import option
from curta_cli.text import columns, length, shorten


@click.command(short_help="List the agents and what they compute.")
@option("--json", "as_json", is_flag=True, help="Print each agent as one line of JSON.")
@rest.options()
def agents(as_json: bool, url: str | None, data: Path, ca: str | None) -> None:
    """List the agents, how many of their slots are taken, and when each was last heard.

    \b
    curta agents
    curta agents --json
    """

    async def work(server: rest.Server) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        params: dict[str, Any] = {"limit": 1000}
        while True:
            page = await server.call("GET", "/agents", params=params)
            items += page["items"]
            if not page.get("next"):
                return items
            params["cursor"] = page["next"]

    items = rest.talk(url, data, ca, work)
    if as_json:
        for item in items:
            click.echo(json.dumps(item, ensure_ascii=False))
        return
    rows = [
        (
            item["id"],
            shorten(item["name"], 30),
            item["status"],
            f"{item['running']}/{item['slots']}",
            f"{length(item['last_seen_s'])} ago",
            ", ".join(item["operations"]),
        )
        for item in items
    ]
    click.echo(columns(("ID", "NAME", "STATUS", "TASKS", "SEEN", "OPERATIONS"), rows))


@click.command(short_help="List the operations' durations, or set them.")
@click.argument("changes", nargs=-1, metavar="[NAME=MS]...")
@option("--json", "as_json", is_flag=True, help="Print each operation as one line of JSON.")
@rest.options()
def operations(changes: tuple[str, ...], as_json: bool, url: str | None, data: Path, ca: str | None) -> None:
    """List how long each operation takes; NAME=MS sets it, in milliseconds, for tasks handed out later.

    \b
    curta operations
    curta operations addition=500 division=0
    """
    wanted = [_change(change) for change in changes]

    async def work(server: rest.Server) -> list[dict[str, Any]]:
        for name, duration_ms in wanted:
            await server.call("PUT", f"/operations/{name}", body={"duration_ms": duration_ms})
        items: list[dict[str, Any]] = (await server.call("GET", "/operations"))["items"]
        return items

    items = rest.talk(url, data, ca, work)
    if as_json:
        for item in items:
            click.echo(json.dumps(item, ensure_ascii=False))
        return
    rows = [(item["name"], item["symbol"], f"{item['duration_ms']} ms") for item in items]
    click.echo(columns(("OPERATION", "SYMBOL", "DURATION"), rows))


def _change(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"([a-z]+)=([0-9]{1,12})", text)
    if match is None:
        raise click.UsageError(f"{text!r} is not NAME=MS: write addition=500.")
    return match[1], int(match[2])
