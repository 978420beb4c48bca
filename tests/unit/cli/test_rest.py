"""How commands find the orchestrator and the token."""

from pathlib import Path

import click
import pytest

from curta_cli.rest import Server, find

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
