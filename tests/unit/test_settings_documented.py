"""docs/settings.md and the code say the same: every setting stands there, with its default, and nothing else
does."""

import dataclasses
import os
import re
import socket
from pathlib import Path

import click
import pytest

from curta_agent.settings import AgentSettings
from curta_cli.environment import SECRETS, variable
from curta_cli.main import COMMANDS, cli
from curta_server.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, tuple[str, str]]:
    """Variable -> (default, description) of the tables under a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| `(CURTA_\w+)` \| (.*?) ?\| (.*?) ?\|$", section, re.MULTILINE)
    return {name: (default.strip("`"), text) for name, default, text in found}


def setting_of(name: str) -> str:
    """An agent reads its list of URLs from CURTA_URL, because people's commands do."""
    return "CURTA_URL" if name == "urls" else variable(name)


@pytest.mark.parametrize(("heading", "kind"), [("The orchestrator", Settings), ("An agent", AgentSettings)])
def test_every_setting_is_documented_and_every_documented_setting_exists(heading: str, kind: type) -> None:
    assert set(rows(heading)) == {setting_of(field.name) for field in dataclasses.fields(kind)}


def test_documented_defaults_are_the_real_ones() -> None:
    documented = rows("The orchestrator")
    for field in dataclasses.fields(Settings):
        default = documented[variable(field.name)][0]
        if isinstance(field.default, int | float):
            assert float(default) == float(field.default), field.name
    agent = AgentSettings(urls=("http://127.0.0.1:1",), token="t")
    documented = rows("An agent")
    assert float(documented["CURTA_DRAIN_S"][0]) == agent.drain_s
    assert (agent.slots, agent.name) == (os.cpu_count(), socket.gethostname())


def test_secrets_are_marked_and_nothing_else_is() -> None:
    for heading in ("Every command", "The orchestrator", "An agent"):
        for name, (_, text) in rows(heading).items():
            assert ("(secret)" in text) == (name.removeprefix("CURTA_").lower() in SECRETS), name


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_flag_is_a_variable_and_none_takes_a_secret(name: str) -> None:
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    commands = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    for each in commands:
        for parameter in each.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                flag = parameter.opts[0].removeprefix("--")
                assert parameter.envvar == variable(flag), (name, flag)
                assert flag.replace("-", "_") not in SECRETS
