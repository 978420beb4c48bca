"""What a route says of itself in the OpenAPI document, beside quart-schema's own decorators.

`documented` stands on every route; `openapi` reads what it left. Knows no route and no service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from quart_schema import document_querystring, document_request, document_response, tag

View = TypeVar("View", bound=Callable[..., Any])

ATTRIBUTE: Final = "curta_documentation"


@dataclass(frozen=True, slots=True)
class Documentation:
    """`problems` are the codes of errors that this route in particular can answer with; `texts` maps a
    status to the content type of an answer that is not JSON; `bare` says that the body may also be a bare
    expression."""

    problems: tuple[str, ...]
    texts: Mapping[int, str | None]
    headers: Mapping[str, str]
    answer_headers: Mapping[str, str]
    takes_body: bool
    bare: bool
    body_optional: bool


def documented(
    noun: str,
    answers: Mapping[int, Any],
    *,
    query: Any = None,
    body: Any = None,
    bare: bool = False,
    body_optional: bool = False,
    headers: Mapping[str, str] | None = None,
    answer_headers: Mapping[str, str] | None = None,
    problems: tuple[str, ...] = (),
) -> Callable[[View], View]:
    """Describe a route: its successful answers (a struct, a content type in text, or None for no body),
    what it takes, and the problems that can come of it beyond those that every route shares."""

    def mark(view: View) -> View:
        view = tag([noun])(view)
        if query is not None:
            view = document_querystring(query)(view)
        if body is not None:
            view = document_request(body)(view)
        for status, model in answers.items():
            if isinstance(model, type):
                view = document_response(model, status)(view)
        texts = {status: model for status, model in answers.items() if not isinstance(model, type)}
        setattr(
            view,
            ATTRIBUTE,
            Documentation(
                problems, texts, headers or {}, answer_headers or {}, body is not None, bare, body_optional
            ),
        )
        return view

    return mark
