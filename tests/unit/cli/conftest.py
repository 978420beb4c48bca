"""A make-believe orchestrator for the commands that call REST."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from curta_cli import rest
from curta_cli.main import run

Answer = httpx.Response | Exception


class Orchestrator:
    """Answers what a test says it shall, and remembers the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Callable[[httpx.Request], Answer] | Answer]] = {}
        self.requests: list[httpx.Request] = []

    def on(self, route: str, *answers: Any) -> None:
        """Answer `route`, "GET /agents", with these in turn; the last one for ever. A dict or list is JSON
        of a 200."""
        self.answers[route] = [
            httpx.Response(200, json=each) if isinstance(each, dict) else each for each in answers
        ]

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        waiting = self.answers[f"{request.method} {request.url.path}"]
        answer = waiting[0] if len(waiting) == 1 else waiting.pop(0)
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def bodies(self) -> list[Any]:
        """The JSON bodies sent so far, in order."""
        return [json.loads(request.content) for request in self.requests if request.content]


@pytest.fixture
def orchestrator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Orchestrator]:
    """Every command of the test talks to this one; retries do not wait."""
    made = Orchestrator()

    def find(url: str | None, data: Path, ca: str | None) -> rest.Server:
        return rest.Server(["http://127.0.0.1:8080"], "secret", transport=httpx.MockTransport(made.handle))

    async def no_pause(seconds: float) -> None:
        pass

    monkeypatch.setattr(rest, "find", find)
    monkeypatch.setattr(rest.asyncio, "sleep", no_pause)
    yield made


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no .curta of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("CURTA_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def expression(**fields: Any) -> dict[str, Any]:
    """An expression as the REST interface shows it."""
    return {
        "id": "01937b4e-8f1c-7c3a-9a54-2f8c1f0e6d11",
        "client_id": None,
        "owner": "admin",
        "expression": "2 + 2 * 2",
        "optimize": True,
        "status": "done",
        "result": "6",
        "exact": None,
        "error": None,
        "waiting_for": None,
        "created_at": "2026-01-02T03:04:05.678901Z",
        "started_at": None,
        "finished_at": None,
        "tasks": {"total": 2, "done": 2, "running": 0},
        "eta_s": None,
        "truncated": [],
        **fields,
    }


class Outcome:
    """What one command did: its exit code and what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def curta(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command line in this process."""

    def call(*arguments: str) -> Outcome:
        code = run(list(arguments))
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
