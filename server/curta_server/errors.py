"""Errors that say whose fault they are.

A `Problem` is the caller's fault or the world's, and becomes an RFC 9457 answer; `NotLeading` ends a term of
leadership. Whatever else is raised is a defect: a 500 and a traceback in the log.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

PROBLEMS: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request is malformed"),
    "invalid_expression": (400, "The expression is not valid"),
    "literal_too_long": (400, "A number in the expression is too long"),
    "unauthorized": (401, "A token is needed"),
    "forbidden": (403, "Your role may not do this"),
    "cross_origin": (403, "Another site asked in your name"),
    "not_found": (404, "There is no such thing"),
    "method_not_allowed": (405, "This path does not know the method"),
    "conflict": (409, "The state does not allow it"),
    "not_yours": (409, "The attempt was not handed to you"),
    "last_admin": (409, "The last admin token cannot be revoked"),
    "too_long": (413, "The request is too large"),
    "too_many_tasks": (413, "The expression needs too many tasks"),
    "unsupported_media_type": (415, "The content type is not supported"),
    "id_reused": (422, "The id stands for another expression"),
    "unprocessable": (422, "A value is out of range"),
    "too_many_requests": (429, "Too many requests"),
    "internal": (500, "A defect in the server"),
    "unavailable": (503, "Not available at the moment"),
}
"""Every problem code with its status and title; `/docs` lists them, `type` is `/problems/<code>`."""


class Problem(Exception):
    """An answer other than success: `code` is for programs, `detail` a sentence for people."""

    def __init__(
        self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status, self.title = PROBLEMS[code]
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def body(self) -> dict[str, Any]:
        """The JSON object of RFC 9457."""
        return {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }


PROBLEM_HEADERS: Final = {
    "Content-Type": "application/problem+json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""Of every problem's answer, also where it passes by the application: before an upgrade, from the parser."""


def last_answer(problem: Problem) -> tuple[dict[str, str], bytes]:
    """Headers and body of an answer that passes by the application, and after which the connection closes."""
    body = msgspec.json.encode(problem.body())
    own = {"Content-Length": str(len(body)), "Connection": "close"}
    return {**PROBLEM_HEADERS, **own, **problem.headers}, body


def unavailable(detail: str, retry_after_s: int = 1) -> Problem:
    """503 with Retry-After: the database or the leader is away, or something bounded is full."""
    return Problem("unavailable", detail, headers={"Retry-After": str(retry_after_s)})


class NotLeading(Exception):
    """This process does not lead (any more): another epoch began, or its own trust in the lock ended."""
