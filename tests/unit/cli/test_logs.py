"""The log: one form for everybody's lines, no secrets in them."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import click
import pytest
import structlog

from curta_cli import logs

SECRET = "curta_" + "s3cr3t-_" * 5


@pytest.fixture
def restored() -> Iterator[None]:
    """Put the process's logging back, which pytest uses itself."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.usefixtures("restored")
def test_our_lines_and_others_lines_have_one_form() -> None:
    stream = io.StringIO()
    logs.configure(stream)
    structlog.get_logger("curta_server.app").info("ready", port=8080)
    logging.getLogger("uvicorn.error").warning("Uvicorn %s", "runs", extra={"port": 8080})
    logging.getLogger("curta_server.embedded").warning("gone", extra={"why": "killed"})
    ours, theirs, plain = lines(stream)
    assert (ours["event"], ours["port"], ours["level"], ours["logger"]) == (
        "ready",
        8080,
        "info",
        "curta_server.app",
    )
    assert (theirs["event"], theirs["port"], theirs["logger"]) == ("Uvicorn runs", 8080, "uvicorn.error")
    assert (plain["event"], plain["why"]) == ("gone", "killed")
    assert ours["timestamp"].endswith("Z")


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("form", logs.FORMATS)
def test_secrets_are_masked_wherever_they_stand(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURTA_LOG_FORMAT", form)
    stream = io.StringIO()
    logs.configure(stream)
    log = structlog.get_logger()
    log.info(
        f"token {SECRET}",
        url=f"http://host/#token={SECRET}",
        headers={"Authorization": "Bearer s3cr3t-header"},
        spelt=["bearer s3cr3t-lower", "BEARER   s3cr3t-upper"],
    )
    log.info("connecting", database_url="postgresql://u:s3cr3t@host/db", text="postgresql://u:s3cr3t@host/db")
    logging.getLogger("asyncio").error("with %s", ["Bearer s3cr3t-list"])
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("failed")
    text = stream.getvalue()
    assert "s3cr3t" not in text
    assert "ValueError" in text
    assert "@host/db" in text


@pytest.mark.usefixtures("restored")
def test_the_level_counts_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURTA_LOG_LEVEL", "warning")
    stream = io.StringIO()
    logs.configure(stream)
    structlog.get_logger("a").info("quiet")
    logging.getLogger("b").info("quiet")
    structlog.get_logger("a").warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize(("name", "value"), [("CURTA_LOG_LEVEL", "loud"), ("CURTA_LOG_FORMAT", "xml")])
def test_an_unknown_choice_is_wrong_usage(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(click.UsageError, match=name):
        logs.configure(io.StringIO())


@pytest.mark.usefixtures("restored")
def test_a_refused_websocket_is_no_error_of_the_server() -> None:
    stream = io.StringIO()
    logs.configure(stream)
    logging.getLogger("uvicorn.error").error("ASGI callable returned without completing handshake.")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application")
    assert [line["event"] for line in lines(stream)] == ["Exception in ASGI application"]
