"""The command itself: help, unknown commands, missing parts."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Outcome

from curta_cli import main
from curta_cli.main import COMMANDS, EXTRAS

Curta = Callable[..., Outcome]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself(curta: Curta, name: str) -> None:
    outcome = curta(name, "--help")
    assert outcome.code == 0
    assert f"curta {name}" in outcome.out


def test_help_lists_every_command(curta: Curta) -> None:
    out = curta("--help").out
    assert all(f"\n  {name} " in out for name in COMMANDS)


def test_an_unknown_command_is_wrong_usage(curta: Curta) -> None:
    assert curta("compute").code == 2


def test_ctrl_c_ends_with_130(curta: Curta, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.cli, "main", interrupted)
    assert curta("list").code == 130


def test_sigterm_unwinds_a_command_and_ends_with_143() -> None:
    script = (
        "import os, signal\n"
        "from curta_cli import main\n"
        "def told(*args, **kwargs):\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM); signal.pause()\n"
        "    finally: print('cleaned up', flush=True)\n"
        "main.cli.main = told\n"
        "main.main()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "cleaned up\n", "")


def test_a_missing_part_is_named(curta: Curta, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*args: object, **kwargs: object) -> None:
        raise ModuleNotFoundError("No module named 'sqlalchemy.ext'", name="sqlalchemy.ext")

    monkeypatch.setattr(main.cli, "main", without)
    outcome = curta("server")
    assert outcome.code == 1
    assert "curta[server]" in outcome.err


def test_every_package_of_an_optional_part_is_known_by_the_name_of_that_part() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    parts = {
        re.split(r"[^\w-]", requirement)[0].replace("-", "_"): part
        for part in ("server", "embedded")
        for requirement in project["optional-dependencies"][part]
    }
    assert parts == EXTRAS


def test_up_without_the_part_that_it_needs_names_it(curta: Curta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "curta_server.embedded", raising=False)
    monkeypatch.setitem(sys.modules, "psutil", None)
    outcome = curta("up")
    assert outcome.code == 1
    assert "pip install 'curta[embedded]'" in outcome.err


def test_the_commands_for_people_and_agents_import_nothing_of_the_server() -> None:
    script = (
        "import sys; from curta_cli.main import run\n"
        "for name in ('submit', 'list', 'agent', 'up', 'server', 'token', 'migrate'): run([name, '--help'])\n"
        f"found = set(sys.modules) & {{'curta_server', *{sorted(EXTRAS)}}}\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
