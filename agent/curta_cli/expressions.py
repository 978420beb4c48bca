"""`curta list`, `curta show` and `curta cancel`: a user's expressions, for people."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from curta_cli import rest
from curta_cli.environment import option
from curta_cli.text import clean, columns, length, moment, shorten

STATUSES = ("queued", "running", "done", "failed", "cancelled")


@click.command("list", short_help="List expressions, newest first.")
@option(
    "--status",
    "statuses",
    type=click.Choice(STATUSES),
    multiple=True,
    help="Only those; may be given several times.",
)
@option("--q", metavar="TEXT", help="Only those whose first 200 characters contain TEXT.")
@option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="At most so many."
)
@option("--json", "as_json", is_flag=True, help="Print each expression as one line of JSON.")
@rest.options()
def list_(
    statuses: tuple[str, ...],
    q: str | None,
    limit: int,
    as_json: bool,
    url: str | None,
    data: Path,
    ca: str | None,
) -> None:
    """List your expressions, newest first.

    \b
    curta list
    curta list --status running --status queued
    curta list --limit 100000 --json
    """

    async def work(server: rest.Server) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        params: dict[str, Any] = {"status": list(statuses)} if statuses else {}
        if q:
            params["q"] = q
        while len(items) < limit:
            page = await server.call(
                "GET", "/expressions", params={**params, "limit": min(1000, limit - len(items))}
            )
            items += page["items"]
            if not page["next"]:
                break
            params["cursor"] = page["next"]
        return items

    items = rest.talk(url, data, ca, work)
    if as_json:
        for item in items:
            click.echo(json.dumps(item, ensure_ascii=False))
        return
    rows = [
        (
            item["id"],
            item["status"],
            f"{item['tasks']['done']}/{item['tasks']['total']}",
            shorten(item["expression"], 40),
            shorten(_outcome(item), 60),
        )
        for item in items
    ]
    click.echo(columns(("ID", "STATUS", "TASKS", "EXPRESSION", "RESULT"), rows))


@click.command(short_help="Show one expression.")
@click.argument("id", metavar="ID")
@option("--tasks", "with_tasks", is_flag=True, help="Show its tasks, too.")
@option("--json", "as_json", is_flag=True, help="Print it as one line of JSON.")
@rest.options()
def show(id: str, with_tasks: bool, as_json: bool, url: str | None, data: Path, ca: str | None) -> None:
    """Show one expression in full.

    \b
    curta show 01937b4e-8f1c-7c3a-9a54-2f8c1f0e6d11
    curta show 01937b4e-8f1c-7c3a-9a54-2f8c1f0e6d11 --tasks
    """

    async def work(server: rest.Server) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        path = f"/expressions/{_quoted(id)}"
        tasks = (await server.call("GET", path + "/tasks"))["items"] if with_tasks else []
        return await server.call("GET", path), tasks

    expression, tasks = rest.talk(url, data, ca, work)
    if as_json:
        whole = {**expression, "plan": tasks} if with_tasks else expression
        click.echo(json.dumps(whole, ensure_ascii=False))
        return
    count = expression["tasks"]
    lines = (
        ("expression", clean(expression["expression"])),
        ("id", expression["id"]),
        ("client id", clean(expression["client_id"])),
        ("owner", clean(expression["owner"])),
        ("status", expression["status"]),
        ("result", expression["result"]),
        ("exact", expression["exact"]),
        ("error", _error(expression)),
        ("waiting for", clean(expression["waiting_for"])),
        ("tasks", f"{count['done']} of {count['total']} done, {count['running']} running"),
        ("time left", length(expression["eta_s"])),
        ("created", moment(expression["created_at"])),
        ("started", moment(expression["started_at"])),
        ("finished", moment(expression["finished_at"])),
        ("as written", "" if expression["optimize"] else "yes"),
    )
    for name, value in lines:
        if value:
            click.echo(f"{name + ':':<13}{value}")
    if tasks:
        click.echo()
        click.echo(
            columns(("TASK", "STATE", "OPERATION", "OPERANDS", "VALUE", "AGENT"), list(map(_row, tasks)))
        )


@click.command(short_help="Cancel expressions.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@rest.options()
def cancel(ids: tuple[str, ...], url: str | None, data: Path, ca: str | None) -> None:
    """Cancel expressions; their running tasks stop at once. One that is done or failed already is refused.

    \b
    curta cancel 01937b4e-8f1c-7c3a-9a54-2f8c1f0e6d11
    """

    async def work(server: rest.Server) -> None:
        refused: rest.Refused | None = None
        for each in ids:
            try:
                item = await server.call("DELETE", f"/expressions/{_quoted(each)}")
            except rest.Refused as problem:
                # The others are cancelled all the same; the last problem becomes the exit code.
                if refused is not None:
                    refused.show()
                refused = problem
            else:
                click.echo(f"{item['id']} {item['status']}")
        if refused is not None:
            raise refused

    rest.talk(url, data, ca, work)


def _quoted(id: str) -> str:
    """An id as one segment of a path, whatever somebody typed."""
    return quote(id, safe="")


def _error(item: dict[str, Any]) -> str:
    error = item["error"]
    return f"{error['code']}: {clean(error['message'])}" if error else ""


def _outcome(item: dict[str, Any]) -> str:
    return item["result"] or _error(item) or item["waiting_for"] or ""


def _row(task: dict[str, Any]) -> tuple[Any, ...]:
    operands = ", ".join(shorten(_operand(each), 24) for each in task["operands"])
    agent = task["agent"]["name"] if task["agent"] else ""
    value = shorten(task["value"], 30)
    return _short(task["task"]), task["state"], task["operation"], operands, value, agent


def _operand(operand: Any) -> str:
    if isinstance(operand, dict):
        return ("-" if operand["negated"] else "") + "#" + _short(operand["task"])
    return str(operand)


def _short(task: str) -> str:
    """A task's name inside its expression: the id before the last dot is the expression's."""
    return task.rpartition(".")[2]
