"""Flags, variables and files: what counts, and what is said about mistakes."""

from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from curta_cli.environment import Span, secret, settings


@dataclass(frozen=True, kw_only=True)
class Example:
    token: str = ""
    port: int = 8080
    lease_s: float = 10.0
    operations: tuple[str, ...] | None = None


def test_flags_come_before_variables_before_defaults() -> None:
    environ = {"CURTA_PORT": "1", "CURTA_LEASE_S": "0.5", "CURTA_OPERATIONS": "addition, division"}
    found = settings(Example, environ, port=2)
    assert found == Example(port=2, lease_s=0.5, operations=("addition", "division"))
    assert settings(Example, environ, port=None).port == 1


def test_an_empty_variable_counts_as_unset() -> None:
    assert settings(Example, {"CURTA_PORT": "", "CURTA_TOKEN": ""}) == Example()


@pytest.mark.parametrize(
    ("name", "text"),
    [("CURTA_PORT", "8o8o"), ("CURTA_PORT", "-1"), ("CURTA_LEASE_S", "nan"), ("CURTA_LEASE_S", "soon")],
)
def test_a_wrong_value_is_told_with_its_variable(name: str, text: str) -> None:
    with pytest.raises(click.UsageError, match=name):
        settings(Example, {name: text})


def test_a_secret_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mine\n")
    assert secret("token", {"CURTA_TOKEN_FILE": str(tmp_path / "token")}) == "mine"
    assert settings(Example, {"CURTA_TOKEN_FILE": str(tmp_path / "token")}).token == "mine"


def test_a_secret_and_its_file_at_once_are_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="both set"):
        secret("token", {"CURTA_TOKEN": "mine", "CURTA_TOKEN_FILE": str(tmp_path / "token")})


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_a_secrets_file_that_holds_none_is_wrong_usage(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(click.UsageError, match="CURTA_TOKEN_FILE"):
        secret("token", {"CURTA_TOKEN_FILE": str(tmp_path / "token")})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2592000), ("12h", 43200), ("1.5h", 5400), ("90m", 5400), ("45s", 45), ("1w", 604800)],
)
def test_a_length_of_time_has_a_unit(text: str, seconds: float) -> None:
    assert Span().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["30", "d", "-1d", "30 days", "1e3s"])
def test_anything_else_is_no_length_of_time(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Span().convert(text, None, None)


def test_a_value_without_a_default_is_asked_for() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Needy:
        token: str

    with pytest.raises(click.UsageError, match="CURTA_TOKEN is missing: set it or CURTA_TOKEN_FILE"):
        settings(Needy, {})
