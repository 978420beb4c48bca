"""The OpenAPI document: quart-schema's, with what it cannot know added.

It walks the routes; the decorators `documented`, `allow` and `open_to_all` say the rest. Every shape is a
component of its own, every problem a response with its codes, every route names the roles it serves
(`x-roles`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from quart import Quart
from quart_schema import Info, OpenAPIProvider, QuartSchema, Tag
from quart_schema.openapi import APIKeySecurityScheme, HttpSecurityScheme
from werkzeug.routing import Rule

from curta_server import live_messages, resources
from curta_server.api import cookies
from curta_server.api.access import roles_of
from curta_server.api.documentation import ATTRIBUTE, Documentation
from curta_server.errors import PROBLEMS

_REFERENCE: Final = "#/components/schemas/{name}"

_DESCRIPTION: Final = """\
Curta evaluates arithmetic expressions whose operations are slow and costly, on many machines, exactly.

Send `Authorization: Bearer <token>` with every call but the open ones; a browser may sign in instead, and
send the cookie that `POST /session` gives for a token. Every error is
`application/problem+json`; its `type` leads to an explanation. Unknown fields of a body are ignored;
integers are written without a point (`1`, not `1.0`). A path that exists answers 405 to a method that it
does not know."""

_TAGS: Final = {
    "expressions": "What users submit, and what becomes of it.",
    "operations": "The four kinds of work and how long each takes.",
    "agents": "Computing resources.",
    "tasks": "For agents that cannot hold a WebSocket.",
    "tokens": "Who may do what.",
    "session": "Signing in with a browser.",
    "stats": "The last minutes in figures.",
    "health": "For load balancers and Prometheus. Open to all.",
}

_PARAMETERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "id": ("The id, a UUID. What is none is the id of nothing: 404.", {"type": "string", "format": "uuid"}),
    "task": (
        "A task's name, as it was handed out.",
        {"type": "string", "pattern": resources.TASK_PATTERN},
    ),
    "name": (
        "An operation: addition, subtraction, multiplication or division.",
        {"type": "string", "enum": list(resources.OPERATION_NAMES)},
    ),
}

_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "Idempotency-Key": resources.CLIENT_ID_SCHEMA,
    "Location": {"type": "string", "format": "uri-reference"},
    "Set-Cookie": {"type": "string", "pattern": f"^{cookies.NAME}="},
}

_RETRY_AFTER: Final = {
    "Retry-After": ("Seconds after which to try again.", {"type": "integer", "minimum": 0})
}
_PROBLEM_HEADERS: Final[dict[int, dict[str, tuple[str, dict[str, Any]]]]] = {
    401: {"WWW-Authenticate": ("How to do better.", {"type": "string", "pattern": "^Bearer "})},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}

_BARE: Final = {"type": "string", "minLength": 1, "pattern": r"\S", "examples": ["2+2*2"]}


def install(app: Quart, version: str) -> Callable[[], dict[str, Any]]:
    """Make quart-schema describe `app`; the returned function builds the document, once all routes are
    there."""
    extension = QuartSchema(
        app,
        openapi_path=None,  # the page and the document are routes of ours: open, and from this site alone
        info=Info(title="Curta", version=version, description=_DESCRIPTION),
        tags=[Tag(name=name, description=description) for name, description in _TAGS.items()],
        security_schemes={
            "bearer": HttpSecurityScheme(scheme="bearer"),
            "session": APIKeySecurityScheme(cookies.NAME, "cookie"),
        },
        security=[{"bearer": []}, {"session": []}],
        conversion_preference="msgspec",
        openapi_provider_class=_Provider,
    )
    return extension.openapi_provider.schema


class _Provider(OpenAPIProvider):
    """quart-schema's provider; msgspec's nested shapes become components, which it would lose."""

    def schema(self) -> dict[str, Any]:
        document = super().schema()
        document["paths"] = dict(document["paths"])
        shapes = [
            shape
            for _, shape in inspect.getmembers(resources, inspect.isclass)
            if issubclass(shape, msgspec.Struct) and shape.__module__ == resources.__name__
        ]
        shapes += live_messages.MESSAGES
        _, components = msgspec.json.schema_components(shapes, ref_template=_REFERENCE)
        for shape, fields in resources.EXACTLY_ONE_OF.items():
            components[shape.__name__]["oneOf"] = [{"required": [field]} for field in fields]
        document["components"]["schemas"] = components
        return document

    def generate_rules(self) -> Iterable[Rule]:
        """The documented routes, in the order of their nouns."""
        rules = [rule for rule in super().generate_rules() if self._documentation(rule) is not None]
        return sorted(rules, key=lambda rule: rule.rule)

    def operation_id(self, method: str, path: str, func: Callable[..., Any]) -> str:
        return func.__name__

    def build_request_body(self, model: Any, source: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"required": True, "content": {"application/json": {"schema": _reference(model)}}}, {}

    def build_response_object(self, model: Any, headers_model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        description = inspect.getdoc(model) or model.__name__
        content = {"application/json": {"schema": _reference(model)}}
        return {"description": description, "content": content}, {}

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        paths, components = super().build_paths(rule)
        documentation = self._documentation(rule)
        assert documentation is not None
        roles = roles_of(self._app.view_functions[rule.endpoint]) or ()
        for operations in paths.values():
            for method, operation in operations.items():
                _complete(operation, documentation, roles, acts=method not in ("get", "head"))
        return paths, components

    def _documentation(self, rule: Rule) -> Documentation | None:
        found: Documentation | None = getattr(self._app.view_functions[rule.endpoint], ATTRIBUTE, None)
        return found


def _reference(model: Any) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=model.__name__)}


def _complete(
    operation: dict[str, Any], documentation: Documentation, roles: tuple[str, ...], *, acts: bool
) -> None:
    """Add to an operation what quart-schema does not know of it; `acts` says that its method may change
    something."""
    operation["description"] = operation.get("description", "").strip()
    operation["x-roles"] = list(roles)
    if not roles:
        operation["security"] = []
    has_query = any(parameter["in"] == "query" for parameter in operation["parameters"])
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            parameter["description"], parameter["schema"] = _PARAMETERS[parameter["name"]]
    operation["parameters"] += [
        {"name": name, "in": "header", "description": description, "schema": _HEADERS[name]}
        for name, description in documentation.headers.items()
    ]
    if documentation.takes_body:
        body = operation["requestBody"]
        body["required"] = not documentation.body_optional
        if documentation.bare:
            body["content"]["text/plain"] = {"schema": _BARE}
            body["description"] = (
                "With any other content type than JSON, or none, the bare expression in UTF-8."
            )
    responses = operation["responses"]
    for status, content_type in documentation.texts.items():
        responses[status] = {"description": "No content" if content_type is None else "Text"}
        if content_type is not None:
            responses[status]["content"] = {content_type: {"schema": {"type": "string"}}}
    for name, description in documentation.answer_headers.items():
        for response in responses.values():
            response.setdefault("headers", {})[name] = {
                "description": description,
                "required": True,
                "schema": _HEADERS[name],
            }
    codes = _codes(documentation, bool(roles), has_query, acts)
    for status in sorted({PROBLEMS[code][0] for code in codes}):
        responses[status] = _problem(status, [code for code in codes if PROBLEMS[code][0] == status])
    operation["responses"] = {str(status): response for status, response in responses.items()}


def _codes(documentation: Documentation, needs_token: bool, has_query: bool, acts: bool) -> list[str]:
    """The codes of all problems that a route can answer with, in the order of PROBLEMS."""
    codes = {*documentation.problems, "internal"}
    if needs_token:
        codes |= {"unauthorized", "forbidden", "unavailable"}
        if acts:
            codes.add("cross_origin")
    if documentation.takes_body:
        codes |= {"malformed", "too_long", "unsupported_media_type"}
    if has_query:
        codes.add("malformed")
    return [code for code in PROBLEMS if code in codes]


def _problem(status: int, codes: list[str]) -> dict[str, Any]:
    """The answer with this status: a problem, whose `type` is one of these codes'."""
    description = "; ".join(f"`{code}`: {PROBLEMS[code][1]}" for code in codes)
    types = [f"/problems/{code}" for code in codes]
    narrowed = {"properties": {"type": {"enum": types}, "status": {"const": status}}}
    schema = {"allOf": [_reference(resources.ProblemDocument), narrowed]}
    response: dict[str, Any] = {
        "description": f"{description}.",
        "content": {"application/problem+json": {"schema": schema}},
    }
    if status in _PROBLEM_HEADERS:
        response["headers"] = {
            name: {"description": meaning, "required": True, "schema": form}
            for name, (meaning, form) in _PROBLEM_HEADERS[status].items()
        }
    return response
