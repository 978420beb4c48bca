"""Routes that only the leader can answer: at a follower they are passed on to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final, ParamSpec
from urllib.parse import quote_from_bytes

from quart import Response, request

from curta_server.api import reading
from curta_server.api.services import services
from curta_server.errors import Problem, unavailable
from curta_server.forwarding import FORWARDED, Request

P = ParamSpec("P")

_KEPT: Final = "%!$&'()*+,;=:@/?~"
"""What a target may hold besides letters and digits (RFC 3986, section 3.3), and what is escaped already."""

NOT_HERE: Final = "This orchestrator does not lead (any more); try again."


def led(view: Callable[P, Awaitable[Response]]) -> Callable[P, Awaitable[Response]]:
    """Answer at the leader. Stands next to the route's function, so that access is checked here, too."""

    @wraps(view)
    async def at_the_leader(*args: P.args, **kwargs: P.kwargs) -> Response:
        if services().leading.is_here:
            return await view(*args, **kwargs)
        if FORWARDED in request.headers:
            # Whoever passed it on is behind the times; passing it on again could go round in circles.
            raise unavailable(NOT_HERE)
        answer = await services().forwarding.send(
            Request(
                method=request.method,
                target=_target(),
                headers=request.scope["headers"],
                body=await reading.raw_body(),
                wait_s=_wait_s(),
            )
        )
        response = Response(answer.body, answer.status)
        del response.headers["Content-Type"]  # it is the leader's, where there is one
        response.headers.update(answer.headers)
        return response

    return at_the_leader


def _target() -> str:
    """Path and query as they arrived, nothing decoded."""
    path = quote_from_bytes(request.scope["raw_path"], _KEPT)
    query = quote_from_bytes(request.query_string, _KEPT)
    return f"{path}?{query}" if query else path


def _wait_s() -> float:
    """How long the request may wait by its own wish; the leader says what is wrong with the wish."""
    try:
        return reading.seconds("wait", reading.WAIT_S_MAX)
    except Problem:
        return 0.0
