"""`curta agent`: one agent, until it is told to stop."""

import asyncio
import os
import sys
import threading

import click

from curta_cli import logs
from curta_cli.environment import option, settings


@click.command(short_help="Run one agent.")
@option("--url", metavar="URL[,URL]...", help="Where the orchestrators are. Required.")
@option("--slots", type=int, metavar="N", help="How many tasks at once. Default: the number of cores.")
@option("--name", metavar="NAME", help="What people see in lists. Default: the host's name.")
@option("--ca", metavar="FILE", help="Certificates (PEM) to trust.")
@option("--drain-s", type=float, metavar="S", help="How long it goes on when told to stop. Default: 5.")
@option("--http", metavar="[HOST:]PORT", help="A port of its own. Default: none.")
@click.option("--with-parent", is_flag=True, hidden=True)
@click.pass_context
def agent(
    ctx: click.Context,
    url: str | None,
    slots: int | None,
    name: str | None,
    ca: str | None,
    drain_s: float | None,
    http: str | None,
    with_parent: bool,
) -> None:
    """Run one agent: it takes tasks from the orchestrator, computes them, and brings the results back.

    The token, of role agent, comes from CURTA_TOKEN or CURTA_TOKEN_FILE.

    \b
    CURTA_TOKEN_FILE=.curta/agent.token curta agent --url http://127.0.0.1:8080
    CURTA_TOKEN_FILE=agent.token curta agent --url https://one,https://two --slots 16 --http 9000

    Told to stop (SIGTERM, Ctrl-C) it finishes what it can within --drain-s, delivers it and takes its leave.
    """
    if not url:
        raise click.UsageError("Where are the orchestrators? Set CURTA_URL.")
    urls = tuple(part.strip() for part in url.split(",") if part.strip())
    from curta_agent.settings import AgentSettings

    chosen = settings(AgentSettings, urls=urls, slots=slots, name=name, ca=ca, drain_s=drain_s, http=http)
    logs.configure()
    if with_parent:
        end_with_parent()
    import uvloop

    from curta_agent import run_agent

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ctx.exit(runner.run(run_agent(chosen)))


def end_with_parent() -> None:
    """End this process at once when whoever holds the other end of its standard input is gone.

    The kernel closes that end however the parent dies, kill -9 included; no signal does that on every system.
    """

    def watch() -> None:
        # The descriptor, not sys.stdin: a thread that reads a buffered file holds its lock at exit.
        while os.read(descriptor, 4096):
            pass
        os._exit(1)

    descriptor = sys.stdin.fileno()
    threading.Thread(target=watch, name="parent", daemon=True).start()
