"""Answers: structs to JSON, problems to problem+json, and every error that can happen to one of the two."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog
from quart import Quart, Request, Response, Websocket, has_websocket_context, request, websocket
from werkzeug.exceptions import HTTPException

from curta_server.errors import PROBLEM_HEADERS, Problem, unavailable
from curta_server.store import is_outage, outage_sentence

JSON: Final = "application/json"

encoder: Final = msgspec.json.Encoder()
_log = structlog.get_logger(__name__)

_CODES: Final = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "malformed",
    413: "too_long",
    414: "too_long",
    415: "unsupported_media_type",
    422: "unprocessable",
    429: "too_many_requests",
    431: "too_long",
    503: "unavailable",
}
"""The framework's own errors, by status; whatever else it says of a request is `malformed`."""

_KEPT_HEADERS: Final = frozenset({"allow", "retry-after", "www-authenticate"})


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The JSON answer of a struct."""
    return encoded(encoder.encode(body), status, headers)


def encoded(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The JSON answer of what is encoded already."""
    response = Response(body, status, content_type=JSON)
    if headers:
        response.headers.update(headers)
    return response


def nothing() -> Response:
    """204: done, and there is nothing to say."""
    response = Response(b"", 204)
    del response.headers["Content-Type"]
    return response


def problem(error: Problem) -> Response:
    """The problem+json answer (RFC 9457)."""
    response = Response(encoder.encode(error.body()), error.status)
    response.headers.update(PROBLEM_HEADERS)
    response.headers.update(error.headers)
    return response


def install(app: Quart) -> None:
    """Make every error of `app` a problem: ours, the framework's, the database's, and defects."""

    async def refused(error: Problem) -> Response:
        return problem(error)

    async def framework(error: HTTPException) -> Response:
        if error.code is not None and error.code < 400:
            return error.get_response()  # type: ignore[return-value]
        response = problem(_of_framework(error))
        for name, value in error.get_headers():
            if name.lower() in _KEPT_HEADERS:
                response.headers[name] = value
        return response

    async def unexpected(error: Exception) -> Response:
        if is_outage(error):
            _log.warning("database away", path=_connection().path, error=repr(error))
            return problem(unavailable(outage_sentence(error)))
        defect = uuid.uuid4().hex[:12]
        asked = _connection()
        _log.error("defect", defect=defect, method=asked.method, path=asked.path, exc_info=error)
        detail = f"This is a defect in the server; its log has the details under {defect}."
        return problem(Problem("internal", detail))

    app.register_error_handler(Problem, refused)
    app.register_error_handler(HTTPException, framework)
    app.register_error_handler(Exception, unexpected)


def _connection() -> Request | Websocket:
    """What is being answered: a request, or the opening of a WebSocket, whose refusals come here as
    well."""
    return websocket if has_websocket_context() else request


def _of_framework(error: HTTPException) -> Problem:
    status = error.code or 500
    if status >= 500 and status != 503:
        return Problem("internal", "This is a defect in the server.")
    asked = _connection()
    match status:
        case 404:
            return Problem("not_found", f"There is nothing at {asked.path[:200]}.")
        case 405:
            return Problem("method_not_allowed", f"{asked.path[:200]} does not know {asked.method}.")
        case 408:
            return Problem("malformed", "The body did not arrive in time.")
        case 413:
            limit = request.max_content_length
            return Problem("too_long", f"The body is too large; at most {limit} bytes are allowed.")
    return Problem(_CODES.get(status, "malformed"), error.description or "The request is malformed.")
