"""How commands find the orchestrator and the token, and how long they try."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import click
import httpx
import pytest
from tests.unit.cli.conftest import Orchestrator

from curta_cli import rest
from curta_cli.rest import Server, Unreachable, find

DATA = Path(".curta")


def left_by_up(url: str = "http://127.0.0.1:8080") -> None:
    DATA.mkdir()
    (DATA / "url").write_text(url)
    (DATA / "admin.token").write_text("of-up\n")


async def closed(server: Server) -> tuple[list[str], str]:
    """Addresses and token of a server that is not used further."""
    async with server:
        return server._urls, server._client.headers["Authorization"].removeprefix("Bearer ")


async def test_address_and_token_come_from_the_folder_of_up() -> None:
    left_by_up()
    assert await closed(find(None, DATA, None)) == (["http://127.0.0.1:8080"], "of-up")


async def test_variables_come_before_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    left_by_up()
    monkeypatch.setenv("CURTA_TOKEN", "mine")
    found = await closed(find("https://one.example.org/, https://two.example.org", DATA, None))
    assert found == (["https://one.example.org", "https://two.example.org"], "mine")


def test_the_folders_token_is_shown_to_nobody_else() -> None:
    left_by_up()
    with pytest.raises(click.UsageError, match="CURTA_TOKEN"):
        find("http://elsewhere.example.org", DATA, None)


def test_without_any_address_it_says_what_to_do() -> None:
    with pytest.raises(click.UsageError, match="curta up"):
        find(None, DATA, None)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://", ","])
def test_what_is_no_address_is_wrong_usage(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURTA_TOKEN", "mine")
    with pytest.raises(click.UsageError):
        find(url, DATA, None)


def test_unreadable_certificates_are_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURTA_TOKEN", "mine")
    with pytest.raises(click.UsageError, match=r"ca\.pem"):
        find("https://127.0.0.1", DATA, "ca.pem")


@pytest.fixture
def clock(orchestrator: Orchestrator, monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """The seconds that commands waited between their tries."""
    waited = [0.0]

    async def wait(seconds: float) -> None:
        waited[0] += seconds

    monkeypatch.setattr(rest.asyncio, "sleep", wait)
    monkeypatch.setattr(rest, "time", SimpleNamespace(monotonic=lambda: waited[0]))
    return lambda: waited[0]


NOBODY = httpx.ConnectError("[Errno 111] Connection refused")
AWAY = httpx.Response(503, json={"title": "away", "status": 503})
BROKE = httpx.ReadError("connection reset")


@pytest.mark.parametrize(
    ("answers", "least_s", "most_s"),
    [
        ([NOBODY], 4, 8),
        ([httpx.ConnectError("[Errno -2] Name or service not known")], 4, 8),
        ([AWAY], 25, 30),
        ([BROKE, NOBODY], 25, 30),
        ([NOBODY, NOBODY, AWAY, NOBODY], 25, 30),
    ],
    ids=["refused", "unknown host", "away", "broke", "was away"],
)
async def test_where_nobody_is_a_command_gives_up_soon_and_where_somebody_was_it_is_patient(
    orchestrator: Orchestrator,
    clock: Callable[[], float],
    answers: list[Exception | httpx.Response],
    least_s: float,
    most_s: float,
) -> None:
    orchestrator.on("GET /operations", *answers)
    async with rest.find(None, DATA, None) as server:
        with pytest.raises(Unreachable):
            await server.call("GET", "/operations")
    assert least_s < clock() <= most_s


async def test_a_command_that_was_answered_once_waits_for_a_restart(
    orchestrator: Orchestrator, clock: Callable[[], float]
) -> None:
    orchestrator.on("GET /operations", {"items": []}, NOBODY)
    async with rest.find(None, DATA, None) as server:
        await server.call("GET", "/operations")
        with pytest.raises(Unreachable):
            await server.call("GET", "/operations")
    assert 25 < clock() <= 30
