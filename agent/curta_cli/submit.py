"""`curta submit`: expressions from the arguments and files, out as ids or results.

Each expression gets a unique id of its own before it is first sent, so that a submission repeated after a
lost answer makes it once. Results go to standard output alone, in the order given; everything else goes to
standard error.
"""

import asyncio
import json
import re
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from curta_cli import rest
from curta_cli.environment import option
from curta_cli.progress import Bars

DONE, FAILED, REFUSED = 0, 1, 2
"""Exit codes; 3, unreachable, comes as `rest.Unreachable`. Of several the largest counts."""

BATCH_EXPRESSIONS = 1_000
BATCH_CHARACTERS = 4_000_000
"""Of one request: far below the orchestrator's limits (10,000 expressions, 64 MiB), so progress shows
early."""

WATCHED = 16
"""Expressions that are waited for at once."""
BARS_S, QUIET_S = 1, 50
"""How long one GET waits for the end: briefly where progress is shown; 50 s is the most the contract
allows."""
FINAL = frozenset({"done", "failed", "cancelled"})


@click.command(
    context_settings={"ignore_unknown_options": True},
    short_help="Submit expressions; with --wait, print their results.",
)
@click.argument("expressions", nargs=-1, type=click.UNPROCESSED, metavar="EXPR...")
@option("--file", "path", metavar="F", help="A file with one expression a line; - is standard input.")
@option("--wait", is_flag=True, help="Wait for the results and print them, one a line, in order.")
@option("--id", "client_id", metavar="ID", help="Your own unique id for a single expression.")
@option("--as-written", is_flag=True, help="Compute exactly as written: regroup nothing, share nothing.")
@option("--json", "as_json", is_flag=True, help="Print each expression as one line of JSON.")
@rest.options()
@click.pass_context
def submit(
    ctx: click.Context,
    expressions: tuple[str, ...],
    path: str | None,
    wait: bool,
    client_id: str | None,
    as_written: bool,
    as_json: bool,
    url: str | None,
    data: Path,
    ca: str | None,
) -> None:
    """Submit expressions and print their ids, or with --wait their results, one a line in the order given.

    \b
    curta submit --wait '2 + 2 * 2'
    curta submit --wait -2+3                 an expression may begin with -
    curta submit --wait --file sums.txt      one expression a line
    seq 9 | sed 's/$/ \\/ 7/' | curta submit --wait --file - --json

    Exit code: 0 all done (without --wait: all accepted), 1 one failed or was cancelled, 2 one was refused or
    the usage is wrong, 3 the orchestrator cannot be reached. Where there are several expressions, one without
    a result leaves an empty line, so that the lines stay in step.
    """
    texts = [*_arguments(expressions), *(_lines(path) if path else ())]
    if not texts:
        raise click.UsageError("Nothing to submit: give an expression, or --file.")
    if client_id is not None and len(texts) != 1:
        raise click.UsageError("--id names one expression; there are several.")
    requests = [
        {"expression": text, "id": client_id or str(uuid.uuid4()), "optimize": not as_written}
        for text in texts
    ]
    output = Output(
        as_json=as_json,
        wait=wait,
        several=len(texts) > 1,
        hold=sys.stderr.isatty() and sys.stdout.isatty(),
    )

    async def work(server: rest.Server) -> None:
        with Bars(len(requests)) if sys.stderr.isatty() and wait else nullcontext() as bars:
            await _work(server, requests, wait, output, bars)
        output.flush()

    rest.talk(url, data, ca, work)
    ctx.exit(output.code)


class Output:
    """Prints one line for each expression, in order, and remembers the worst outcome as the exit code.

    With `hold` the lines come at `flush`: on a terminal they would tear the progress bars apart.
    """

    def __init__(self, *, as_json: bool, wait: bool, several: bool, hold: bool) -> None:
        self.code = DONE
        self._as_json, self._wait, self._several = as_json, wait, several
        self._held: list[str] | None = [] if hold else None

    def refused(self, text: str, problem: Mapping[str, Any]) -> None:
        """Tell why an expression was not accepted, and where in it."""
        self.code = max(self.code, REFUSED)
        click.echo(f"Refused: {rest.sentence(problem)}", err=True)
        for line in _pointer(text, problem.get("position")):
            click.echo(line, err=True)
        self._line(problem, "")

    def accepted(self, expression: Mapping[str, Any]) -> None:
        """Print an expression as it is now: its result if it is waited for, else its id."""
        if not self._wait:
            self._line(expression, expression["id"])
            return
        if expression["status"] != "done":
            self.code = max(self.code, FAILED)
            error = expression.get("error") or {}
            why = error.get("message") or error.get("code") or expression["status"]
            click.echo(f"{expression['id']} {expression['status']}: {why}", err=True)
        self._line(expression, expression["result"] or "")

    def flush(self) -> None:
        """Print what was held back."""
        for line in self._held or ():
            click.echo(line)
        self._held = None

    def _line(self, whole: Mapping[str, Any], short: str) -> None:
        line = json.dumps(whole, ensure_ascii=False) if self._as_json else short
        if not (line or self._several):
            return
        if self._held is None:
            click.echo(line)
        else:
            self._held.append(line)


async def _work(
    server: rest.Server, requests: Sequence[dict[str, Any]], wait: bool, output: Output, bars: Bars | None
) -> None:
    """Send everything, then see it through in order, `WATCHED` at once."""
    items: list[dict[str, Any]] = []
    for batch in _batches(requests):
        answer = await server.call("POST", "/expressions/batch", body={"expressions": batch})
        items += answer["items"]
    for start in range(0, len(items), WATCHED):
        some = items[start : start + WATCHED]
        if wait:
            some = await asyncio.gather(*(_final(server, item, bars) for item in some))
        for request, item in zip(requests[start : start + WATCHED], some, strict=True):
            if "title" in item:
                output.refused(request["expression"], item)
            else:
                output.accepted(item)


async def _final(server: rest.Server, item: dict[str, Any], bars: Bars | None) -> dict[str, Any]:
    """The expression in full once it is final; a problem as it is."""
    if "title" in item:
        return item
    path, wait_s = f"/expressions/{item['id']}", BARS_S if bars else QUIET_S
    while item["status"] not in FINAL:
        if bars:
            bars.show(item)
        item = await server.call("GET", path, params={"wait": wait_s, "full": "false"}, wait_s=wait_s)
    if bars:
        bars.finished(item)
    return await server.call("GET", path) if item["truncated"] else item


def _batches(requests: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The requests in order, cut so that no body grows beyond the limits (one alone may)."""
    batch: list[dict[str, Any]] = []
    characters = 0
    for request in requests:
        size = len(request["expression"])
        if batch and (len(batch) == BATCH_EXPRESSIONS or characters + size > BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(request)
        characters += size
    yield batch


def _arguments(expressions: Sequence[str]) -> Iterator[str]:
    """The expressions among the arguments; what looks like a flag is a slip, for no expression has names."""
    for text in expressions:
        if re.match(r"--?[A-Za-z]", text):
            raise click.NoSuchOption(text)
        try:
            text.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"The expression {text!r} is not UTF-8.") from None
        yield text


def _lines(path: str) -> Iterator[str]:
    """The expressions in a file, or on standard input for `-`."""
    try:
        with click.open_file(path, encoding="utf-8-sig") as file:
            yield from (line for line in map(str.strip, file) if line)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{path} is not UTF-8.") from None


def _pointer(text: str, position: Any, width: int = 72) -> tuple[str, ...]:
    """Two lines that show where in a text the fault is; none where that is unknown."""
    if not isinstance(position, int) or not 0 <= position <= len(text):
        return ()
    start = max(0, min(position - width // 2, len(text) - width))
    shown = "".join(char if char.isprintable() else " " for char in text[start : start + width])
    return f"  {shown}", "  " + " " * (position - start) + "^"
