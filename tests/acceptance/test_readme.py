"""What the README prints works as printed, and answers what it says."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.curta_up import running_in

pytestmark = pytest.mark.acceptance

PAGE = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = PAGE.split("## Five examples")[1].split("\n## ")[0]


def examples() -> list[tuple[str, str]]:
    """(command, expected answer) of each example, in order."""
    blocks = re.findall(r"```sh\n(.*?)```\n\n```json\n(.*?)```", EXAMPLES, re.DOTALL)
    return [(command.strip(), answer.strip()) for command, answer in blocks]


def pattern(answer: str) -> str:
    """The printed answer, where … stands for anything."""
    return ".*".join(re.escape(part) for part in answer.split("…"))


def test_there_are_five_examples() -> None:
    assert len(examples()) == 5


def test_the_russian_page_prints_the_same_examples() -> None:
    russian = (Path(__file__).parents[2] / "README.ru.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|json)\n.*?```", EXAMPLES, re.DOTALL)
    assert re.findall(r"```(?:sh|json)\n.*?```", russian, re.DOTALL)[1:] == blocks


def test_the_examples_answer_what_is_printed(tmp_path: Path) -> None:
    token_line = re.search(r"^TOKEN=.*$", EXAMPLES, re.MULTILINE)
    assert token_line is not None
    with running_in(tmp_path) as up:
        for command, expected in examples():
            script = f"{token_line[0]}\n{command}".replace("http://127.0.0.1:8080", up.url)
            done = subprocess.run(
                ("bash", "-euc", script),
                cwd=up.folder,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            assert re.fullmatch(pattern(expected), done.stdout.strip()), (command, done.stdout)
            json.loads(done.stdout)
        prompt = re.search(r"`\.venv/bin/curta (submit --wait) '(.+?)'`\s+prints `(\d+)`", PAGE)
        assert prompt is not None
        assert up.run(*prompt[1].split(), prompt[2]).stdout == f"{prompt[3]}\n"
