"""Whether a browser asks for a page of ours, or for somebody else's: the one rule against other sites.

A browser sends its cookie along whoever's page makes it ask, unless the site is another: and a site is all
ports of a host and all names below a domain. So whatever acts in the name of a cookie has to come from our
own origin. Scripts can forge none of the headers that are looked at here; programs that are no browsers send
none.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from curta_server.errors import Problem

_OURS: Final = frozenset({"same-origin", "none"})
"""`none`: by the person's own hand, from the address bar or a bookmark."""
_PORTS: Final = {"http": 80, "https": 443}


def check(headers: Headers, public_url: str) -> None:
    """Raises: Problem 403 `cross_origin` for what another site's page asks."""
    if not is_same(headers, public_url):
        raise Problem(
            "cross_origin",
            "The request comes from a page of another site, and would be made in your name.",
        )


def is_same(headers: Headers, public_url: str) -> bool:
    """Whether a request or a handshake comes from a page of this server's, or from no page at all."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in _OURS
    origin = headers.get("Origin")
    if origin is None:
        return True
    place = _place(origin)
    # Behind a proxy that is reached by https, `Host` and what we listen on may differ from it.
    scheme, _, _ = origin.partition("://")
    return place is not None and place in (
        _place(f"{scheme}://{headers.get('Host', '')}"),
        _place(public_url),
    )


def _place(url: str) -> tuple[str, int] | None:
    """Host and port; None for what is no web address, such as the origin `null`."""
    try:
        parts = urlsplit(url)
        usual, port, host = _PORTS.get(parts.scheme), parts.port, parts.hostname
    except ValueError:
        return None
    return (host, port or usual) if host and usual else None
