"""Where to listen: free ports, taken ones, and how to reach them."""

import socket
from pathlib import Path

import click
import pytest

from curta_cli.ports import check_certificate, free_port, reachable


def test_a_taken_port_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(click.ClickException, match=f"port {port}: it is taken"):
            free_port("127.0.0.1", port)


def test_port_0_is_any_free_one() -> None:
    port = free_port("127.0.0.1", 0)
    assert free_port("127.0.0.1", port) == port > 0


def test_a_host_that_is_not_ours_is_a_sentence() -> None:
    with pytest.raises(click.ClickException, match=r"192\.0\.2\.1"):
        free_port("192.0.2.1", 0)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("example.org", "example.org"),
    ],
)
def test_what_listens_everywhere_is_reached_on_loopback(host: str, expected: str) -> None:
    assert reachable(host) == expected


def test_no_certificate_is_fine() -> None:
    check_certificate("", "")


def test_a_certificate_that_is_not_there_or_none_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match=r"no\.pem cannot be used: No such file"):
        check_certificate(str(tmp_path / "no.pem"), "")
    (tmp_path / "text.pem").write_text("text")
    with pytest.raises(click.ClickException, match=r"text\.pem with the key .*text\.pem cannot be used"):
        check_certificate(str(tmp_path / "text.pem"), str(tmp_path / "text.pem"))
