"""The application: routes, who may call them, what becomes of errors, and what is measured."""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from quart import Quart, Response, g, has_websocket_context, request, websocket
from werkzeug.exceptions import NotFound

from curta_server import metrics
from curta_server.api import access, answers, bodies, openapi
from curta_server.api.agents import agents
from curta_server.api.durations import DurationCache
from curta_server.api.expressions import expressions
from curta_server.api.gate import Gate
from curta_server.api.health import OpenCount, health
from curta_server.api.operations import operations
from curta_server.api.pages import pages
from curta_server.api.plan_figures import FigureCache
from curta_server.api.plan_tasks import plan_tasks
from curta_server.api.plans import PlanCache
from curta_server.api.pulling import pulling
from curta_server.api.services import EXTENSION, Context
from curta_server.api.session import session
from curta_server.api.statistics import statistics
from curta_server.api.submissions import submissions
from curta_server.api.tokens import tokens
from curta_server.api.ui import ui

if TYPE_CHECKING:
    from curta_server.api.services import Services

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def create_app(services: Services) -> Quart:
    """The REST application. It starts nothing and owns nothing: the services live and end with their maker.

    Further routes may be added to it; an HTTP route needs a mark of `access` then, or it answers 403 to
    everybody.
    """
    app = Quart("curta_server", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = services.settings.body_bytes_max
    app.config["BODY_TIMEOUT"] = app.config["RESPONSE_TIMEOUT"] = services.settings.body_timeout_s
    app.url_map.merge_slashes = False
    describe = openapi.install(app, _version())
    gate = Gate(services)
    bodies.install(app, gate.bytes)
    plans = PlanCache(services.engine)
    app.extensions[EXTENSION] = Context(
        services=services,
        durations=DurationCache(services.engine),
        plans=plans,
        figures=FigureCache(services, plans),
        open_count=OpenCount(),
        gate=gate,
        describe=describe,
    )
    _measure(app)
    _refuse_other_names(app)
    access.install(app, services)
    answers.install(app)
    for routes in (
        submissions,
        expressions,
        plan_tasks,
        operations,
        agents,
        pulling,
        tokens,
        session,
        statistics,
        health,
        pages,
        ui,
    ):
        app.register_blueprint(routes)
    for endpoint, view in app.view_functions.items():
        assert access.roles_of(view) is not None, f"{endpoint} says to nobody whom it serves"
    return app


def _refuse_other_names(app: Quart) -> None:
    """`//expressions` is a mistake and not another name; the router overlooks a slash too many in front."""

    async def refuse() -> None:
        asked = websocket if has_websocket_context() else request
        if asked.scope["path"].startswith("//"):
            raise NotFound

    app.before_request(refuse)
    app.before_websocket(refuse)


def _measure(app: Quart) -> None:
    """Count and time every request by its route, and say that nobody is to keep or to reinterpret an
    answer."""

    async def begin() -> None:
        g.began = time.perf_counter()

    async def end(response: Response) -> Response:
        route = "unknown" if request.url_rule is None else request.url_rule.rule
        # Anybody can make up a method; a label for each would fill the memory.
        method = request.method if request.method in _METHODS else "other"
        metrics.http_requests.labels(route, method, response.status_code).inc()
        metrics.http_request_seconds.labels(route, method).observe(time.perf_counter() - g.began)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    app.before_request(begin)
    app.after_request(end)


def _version() -> str:
    try:
        return version("curta")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
