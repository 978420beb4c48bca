"""The browser's pages as files, and what is said of them to the browser."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.rest import Answer, Rest

from curta_server.api import ui

PAGE = b"<!doctype html><title>Curta</title>"
SCRIPT = b"let a = 1;\n" * 1000


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A build with one page, one script and an icon; a secret lies beside it."""
    folder = tmp_path / "ui"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_bytes(PAGE)
    (folder / "assets" / "index-1a2b.js").write_bytes(SCRIPT)
    (folder / "favicon.svg").write_bytes(b"<svg/>")
    (tmp_path / "admin.token").write_bytes(b"curta_secret")
    monkeypatch.setattr(ui, "FOLDER", folder)
    yield folder
    ui._read.clear()


def is_protected(answer: Answer) -> bool:
    policy = answer.headers["Content-Security-Policy"]
    return (
        "frame-ancestors 'none'" in policy
        and "unsafe" not in policy
        and answer.headers["Referrer-Policy"] == "no-referrer"
        and answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        and answer.headers["X-Content-Type-Options"] == "nosniff"
    )


@pytest.mark.parametrize(
    "path",
    ["/ui/", "/ui/expressions", "/ui/expressions/0190-1", "/ui/a/b/c/", "/ui/index.html", "/ui/?x=1.js"],
)
async def test_every_path_of_a_page_is_the_one_page_and_asked_for_each_time(
    rest: Rest, built: Path, path: str
) -> None:
    answer = await rest.ask("GET", path, by=None)
    assert (answer.status, answer.data) == (200, PAGE)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert is_protected(answer)
    again = await rest.ask("GET", path, by=None, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, again.data) == (304, b"")
    assert is_protected(again)


async def test_what_is_named_by_its_content_is_kept_for_ever_and_packed_for_who_can_unpack(
    rest: Rest, built: Path
) -> None:
    path = "/ui/assets/index-1a2b.js"
    answer = await rest.ask("GET", path, by=None)
    assert (answer.status, answer.data) == (200, SCRIPT)
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    packed = await rest.ask("GET", path, by=None, headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and packed.headers["Vary"] == "Accept-Encoding"
    assert len(packed.data) < len(SCRIPT) and gzip.decompress(packed.data) == SCRIPT
    refused = await rest.ask("GET", path, by=None, headers={"Accept-Encoding": "gzip;q=0"})
    assert refused.data == SCRIPT
    icon = await rest.ask("GET", "/ui/favicon.svg", by=None)
    assert (icon.headers["Content-Type"], icon.headers["Cache-Control"]) == ("image/svg+xml", "no-cache")
    assert (await rest.ask("HEAD", path, by=None)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/ui/assets/index-0000.js",
        "/ui/assets/none",
        "/ui/assets/",
        "/ui/missing.png",
        "/ui/../admin.token",
        "/ui/%2e%2e/admin.token",
        "/ui/assets/..%2f..%2fadmin.token",
        "/ui//etc/passwd.txt",
        "/ui/a%00.js",
        "/ui/" + "a" * 300 + ".js",
    ],
)
async def test_a_file_that_is_not_there_is_404_and_never_the_page(rest: Rest, built: Path, path: str) -> None:
    answer = await rest.ask("GET", path, by=None)
    assert (answer.status, answer.code) == (404, "not_found")
    assert b"curta_secret" not in answer.data


async def test_a_new_build_is_served_without_a_restart(rest: Rest, built: Path) -> None:
    assert (await rest.ask("GET", "/ui/", by=None)).data == PAGE
    (built / "index.html").write_bytes(PAGE + b"new")
    os.utime(built / "index.html", ns=(1, 1))
    assert (await rest.ask("GET", "/ui/", by=None)).data == PAGE + b"new"


async def test_where_nothing_is_built_a_page_says_how_to(
    rest: Rest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "FOLDER", tmp_path / "nothing")
    answer = await rest.ask("GET", "/ui/expressions", by=None)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert b"make install" in answer.data and b'href="/docs"' in answer.data
    assert "style-src 'sha256-" in answer.headers["Content-Security-Policy"]
    assert (await rest.ask("GET", "/ui/assets/index.js", by=None)).status == 404


async def test_without_the_slash_it_leads_there_too(rest: Rest, built: Path) -> None:
    answer = await rest.ask("GET", "/ui", by=None)
    assert answer.status == 308 and answer.headers["Location"].endswith("/ui/")
