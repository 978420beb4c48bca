"""Pages for people: `/docs` (the OpenAPI document, readable), `/problems/<code>`, and the document itself.

They load nothing from other sites and run no script; their content security policy says so.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from quart import Blueprint, Response, redirect
from werkzeug.wrappers import Response as Redirection

from curta_server.api import answers
from curta_server.api.access import open_to_all
from curta_server.api.services import context
from curta_server.errors import PROBLEMS, Problem

pages = Blueprint("pages", __name__)

EXPLANATIONS: Final[dict[str, str]] = {
    "malformed": (
        "The request cannot be read: broken JSON, bytes that are not UTF-8, a field or parameter of the "
        "wrong type. `detail` says what and where. Sending it again unchanged does not help."
    ),
    "invalid_expression": (
        "The text is not an expression. `position` counts Unicode code points from 0, `expected` lists "
        "what could stand there: `number`, `(`, `)`, `-`, `operator`, `end`. Nothing was stored."
    ),
    "literal_too_long": (
        "One number in the text has more digits than are allowed; `position` says where it begins."
    ),
    "unauthorized": (
        "The call needs a token, in the header `Authorization: Bearer <token>`, that is neither revoked "
        "nor expired; or the cookie of a session that is not over, which `POST /session` gives for a token."
    ),
    "forbidden": (
        "The token is good, but its role does not allow the call. `detail` names the roles that do."
    ),
    "cross_origin": (
        "The request carries the cookie of a session and comes from a page of another site: it could do in "
        "your name what you never wanted. Pages of this server may act with the cookie, and programs with a "
        "token, in the header `Authorization: Bearer <token>`. Where the pages are ours, behind a proxy that"
        " changes the header `Host`, set `CURTA_PUBLIC_URL` to the address in the browser."
    ),
    "not_found": "There is nothing here, or it is somebody else's.",
    "method_not_allowed": (
        "The path exists, but not with this method; the header `Allow` lists those it has."
    ),
    "conflict": "What is asked for does not fit the state, such as cancelling what is done.",
    "not_yours": "The attempt was handed to another agent, or never.",
    "last_admin": "Without an admin's token nobody could make tokens any more. Make another one first.",
    "too_long": "The body or the expression is larger than allowed; `detail` names the limit.",
    "too_many_tasks": "The expression needs more tasks than are allowed; `detail` names the limit.",
    "unsupported_media_type": (
        "The call takes JSON: send the header `Content-Type: application/json`, and no content encoding."
    ),
    "id_reused": (
        "The client's id was used for another text, or with another `optimize`. An id means one expression."
    ),
    "unprocessable": "The request is well formed, but a value is out of range; `detail` says which.",
    "too_many_requests": "Wait as many seconds as the header `Retry-After` says.",
    "internal": (
        "A defect. The server's log has the details under the name in `detail`; nobody else needs to know"
        " them."
    ),
    "unavailable": (
        "The database or the leading orchestrator is away, or something bounded is full. Try again after "
        "as many seconds as the header `Retry-After` says; with an id of its own an expression may safely"
        " be sent again."
    ),
}
"""What `/docs` and `/problems/<code>` say of each problem."""

_CODE = re.compile(r"`([^`]+)`")


@pages.get("/")
@open_to_all
async def go_to_ui() -> Redirection:
    """The root leads to the browser's pages."""
    return redirect("/ui/")


@pages.get("/openapi.json")
@open_to_all
async def show_openapi() -> Response:
    """The OpenAPI document."""
    return answers.encoded(answers.encoder.encode(context().describe()))


@pages.get("/docs")
@open_to_all
async def show_docs() -> Response:
    """All routes and all problems on one page."""
    return page("docs.html", document=_readable(context().describe()), problems=_problems())


@pages.get("/problems/<code>")
@open_to_all
async def show_problem(code: str) -> Response:
    """What a problem's `type` leads to."""
    if code not in PROBLEMS:
        raise Problem("not_found", "There is no problem with this code; /docs lists them.")
    return page("problem.html", problem=_problem(code))


def _problems() -> list[dict[str, Any]]:
    return [_problem(code) for code in PROBLEMS]


def _problem(code: str) -> dict[str, Any]:
    status, title = PROBLEMS[code]
    return {"code": code, "status": status, "title": title, "explanation": EXPLANATIONS[code]}


def page(template: str, **values: Any) -> Response:
    """A page made of a template, with the style of all and a policy that allows nothing else."""
    style, policy = _style()
    html = _environment().get_template(template).render(style=style, **values)
    return Response(
        html, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy}
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = _prose
    return environment


@cache
def _style() -> tuple[Markup, str]:
    """The one style sheet, and a policy that allows it and nothing else."""
    style = (Path(__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    forbidden = "; ".join(
        f"{what} 'none'" for what in ("default-src", "base-uri", "form-action", "frame-ancestors")
    )
    return Markup(style), f"{forbidden}; style-src 'sha256-{digest}'"


def _prose(text: str) -> Markup:
    """Text with `code` in backquotes, in paragraphs."""
    paragraphs = (_CODE.sub(r"<code>\1</code>", str(escape(part))) for part in text.strip().split("\n\n"))
    return Markup("".join(f"<p>{part}</p>" for part in paragraphs if part))


# --- the document, as the page walks it -------------------------------------------------------------------


def _readable(document: dict[str, Any]) -> dict[str, Any]:
    """The document by nouns, with types as people write them."""
    nouns = {tag["name"]: {"description": tag["description"], "routes": []} for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            nouns[operation["tags"][0]]["routes"].append(_route(method, path, operation))
    shapes = [
        {
            "name": name,
            "description": shape.get("description", ""),
            "fields": [
                {
                    "name": field,
                    "type": _type(schema),
                    "required": field in shape.get("required", ()),
                    "description": _description(schema),
                }
                for field, schema in shape.get("properties", {}).items()
            ],
        }
        for name, shape in sorted(document["components"]["schemas"].items())
    ]
    return {"info": document["info"], "nouns": nouns, "shapes": shapes}


def _route(method: str, path: str, operation: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody")
    return {
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": operation["description"],
        "roles": operation["x-roles"],
        "parameters": [
            {
                "name": parameter["name"],
                "in": parameter["in"],
                "type": _type(parameter["schema"]),
                "description": parameter.get("description", ""),
            }
            for parameter in operation["parameters"]
        ],
        "body": None
        if body is None
        else {
            "types": [
                {"media": media, "type": _type(content["schema"])}
                for media, content in body["content"].items()
            ],
            "description": body.get("description", ""),
        },
        "responses": [
            {
                "status": status,
                "type": next(
                    (_type(content["schema"]) for content in response.get("content", {}).values()), ""
                ),
                "description": response["description"],
            }
            for status, response in operation["responses"].items()
        ],
    }


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "allOf" in schema:
        return _type(schema["allOf"][0])  # the others narrow it
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(word) for word in schema["enum"])
    if "prefixItems" in schema:
        return f"[{', '.join(map(_type, schema['prefixItems']))}]"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    bounds = f" {schema['minimum']}…{schema.get('maximum', '')}" if "minimum" in schema else ""
    return f"{schema.get('type', 'anything')}{bounds}"


def _description(schema: dict[str, Any]) -> str:
    found = schema.get("description") or next(
        (one["description"] for one in schema.get("anyOf", ()) if "description" in one), ""
    )
    return str(found)
