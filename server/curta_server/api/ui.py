"""The browser's pages under `/ui/`: the client's files as the build left them in the package.

The client finds its way by the path, so every path that names no file is answered with the one page that
holds it. What the build names by its content is kept by browsers for ever, all else is asked for again each
time, which costs an answer without a body. Where nothing was built, a page says how to.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quart import Blueprint, Response, request
from werkzeug.security import safe_join

from curta_server.api.access import open_to_all
from curta_server.api.pages import page
from curta_server.errors import Problem

ui = Blueprint("ui", __name__)

FOLDER = Path(__file__).parents[1] / "ui"

HEADERS: Final = {
    # Scripts, styles, fonts and connections of this server alone, nothing inline, and in nobody's frame.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"
EACH_TIME: Final = "no-cache"

_ASSETS: Final = "assets/"
_INDEX: Final = "index.html"

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""Not what the machine thinks: it may know some of them not at all."""
_PACKED_ALREADY: Final = frozenset({".png", ".woff2", ".ico"})
_WORTH_PACKING: Final = 1024


@dataclass(frozen=True, slots=True)
class _File:
    """What a file held when it was last read; `stamp` tells whether it is the same still."""

    stamp: tuple[int, int]
    body: bytes
    packed: bytes | None
    tag: str


_read: dict[Path, _File] = {}
"""As many as the build has files, some hundred kilobytes in all."""


@ui.get("/ui/", defaults={"path": ""})
@ui.get("/ui/<path:path>")
@open_to_all
async def serve_ui(path: str) -> Response:
    """A file of the client's, or its page."""
    is_page = not path.startswith(_ASSETS) and "." not in path.rpartition("/")[2]
    name = _INDEX if is_page else path
    file = await asyncio.to_thread(_find, name)
    if file is None and is_page:
        response = page("unbuilt.html")
        response.status_code = 404
        return response
    if file is None:
        raise Problem("not_found", "The browser's pages have no such file.")
    return _answer(name, file)


@ui.after_request
async def protect(response: Response) -> Response:
    """Say what the pages may load and who may show them."""
    for header, value in HEADERS.items():
        response.headers.setdefault(header, value)
    return response


def _answer(name: str, file: _File) -> Response:
    headers = {
        "Cache-Control": FOR_EVER if name.startswith(_ASSETS) else EACH_TIME,
        "Vary": "Accept-Encoding",
    }
    if request.if_none_match.contains_weak(file.tag):
        response = Response(status=304, headers=headers)
    elif file.packed is not None and request.accept_encodings["gzip"] > 0:
        response = Response(file.packed, headers=headers | {"Content-Encoding": "gzip"})
    else:
        response = Response(file.body, headers=headers)
    response.content_type = _TYPES.get(Path(name).suffix, "application/octet-stream")
    response.set_etag(file.tag, weak=True)
    return response


def _find(name: str) -> _File | None:
    """The file of this name; None where there is none, or where the name leads out of the folder."""
    found = safe_join(str(FOLDER), name)
    if found is None:
        return None
    path = Path(found)
    try:
        state = path.stat()
        stamp = state.st_mtime_ns, state.st_size
        known = _read.get(path)
        if known is None or known.stamp != stamp:
            known = _read[path] = _file(path, stamp)
    except (OSError, ValueError):  # a name may hold what no name of a file can
        return None
    return known


def _file(path: Path, stamp: tuple[int, int]) -> _File:
    body = path.read_bytes()
    is_packed = path.suffix in _PACKED_ALREADY or len(body) < _WORTH_PACKING
    return _File(
        stamp,
        body,
        None if is_packed else gzip.compress(body, mtime=0),
        hashlib.sha256(body).hexdigest()[:32],
    )
