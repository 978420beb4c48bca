"""The agent's own HTTP port, where one is set: what it computes, computing on the spot, passing results on.

Imported only when used. Shows and feeds `slots`; knows nothing of sessions but whether there is one. The
bearer token is the agent's own; every error is `application/problem+json` (RFC 9457).
"""

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import uvicorn
from msgspec import UNSET, Struct, UnsetType
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from curta_agent.slots import DURATION_MS_MAX, NoFreeSlot, NotHeld
from curta_wire.frames import OPERATIONS, Fault
from curta_wire.numbers import is_number

if TYPE_CHECKING:
    from curta_agent.agent import Agent

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
ITEMS_MAX: Final = 2_000
"""How many tasks `GET /tasks` lists; `total` counts all."""
SHOWN_MAX: Final = 200
"""Characters of an operand in that list."""
_SHUTDOWN_S: Final = 1
_OPEN: Final = frozenset({"/healthz", "/metrics"})

T = TypeVar("T")


class Execute(Struct):
    operation: str
    operands: tuple[str, str]
    duration_ms: int = 0


class Outcome(Struct):
    attempt: int
    value: str | UnsetType = UNSET
    error: Fault | UnsetType = UNSET


class Problem(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str, title: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.body = {"type": f"/problems/{code}", "title": title, "status": status, "detail": detail}
        self.headers = headers


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed", "The request is malformed", detail)


def _unprocessable(detail: str) -> Problem:
    return Problem(422, "unprocessable", "A value is out of range", detail)


@asynccontextmanager
async def serve(agent: "Agent", address: tuple[str, int]) -> AsyncIterator[int]:
    """Serve on `address` while the context lasts; gives the port. Raises: OSError where it cannot be had."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.create_server(address, family=family)
    config = uvicorn.Config(
        create_app(agent),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=agent.slots.count + 100,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    server = _Server(config)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(sockets=[listener]), name="agent http")
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the agent has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def create_app(agent: "Agent") -> Quart:
    """The application; `agent.settings.token` opens it."""
    app = Quart("curta_agent", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX
    slots = agent.slots
    registry = CollectorRegistry()
    registry.register(_Metrics(agent))
    secret = agent.settings.token.encode()

    @app.before_request
    def authenticate() -> None:
        if request.path in _OPEN:
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), secret):
            raise Problem(
                401,
                "unauthorized",
                "A token is needed",
                "send the agent's own token as `Authorization: Bearer …`",
                **{"WWW-Authenticate": "Bearer"},
            )

    @app.errorhandler(Problem)
    def refuse(problem: Problem) -> Response:
        return _json(problem.body, problem.status, "application/problem+json", problem.headers)

    @app.errorhandler(HTTPException)
    def refuse_http(error: HTTPException) -> Response:
        status = error.code or 500
        name = error.name or "Error"
        headers = {
            key: value for key, value in error.get_headers() if key.lower() in ("allow", "retry-after")
        }
        body = {
            "type": f"/problems/{name.lower().replace(' ', '_')}",
            "title": name,
            "status": status,
            "detail": error.description or name,
        }
        return _json(body, status, "application/problem+json", headers)

    @app.get("/healthz")
    async def healthz() -> Response:
        return _json({"status": "alive", "connected": agent.session is not None})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), content_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/tasks")
    async def tasks() -> Response:
        return _json(_tasks(agent))

    @app.post("/tasks/<task>/execute")
    async def execute(task: str) -> Response:
        body = await _body(Execute)
        if body.operation not in (agent.settings.operations or OPERATIONS):
            raise _unprocessable(f"this agent does not offer {body.operation[:40]!r}")
        if not 0 <= body.duration_ms <= DURATION_MS_MAX:
            raise _unprocessable(f"`duration_ms` is 0 to {DURATION_MS_MAX}")
        if not all(map(is_number, body.operands)):
            raise _unprocessable('an operand is a number such as "0", "-12" or "1/3"')
        try:
            outcome = await slots.execute(task, body.operation, body.operands, body.duration_ms)
        except NoFreeSlot:
            raise Problem(
                429,
                "too_many_requests",
                "Too many requests",
                "no slot is free",
                **{"Retry-After": "1"},
            ) from None
        if isinstance(outcome, Fault):
            return _json({"error": {"code": outcome.code, "message": outcome.message}})
        return _json({"value": outcome})

    @app.post("/tasks/<task>/result")
    async def result(task: str) -> Response:
        body = await _body(Outcome)
        outcome = _outcome(body)
        try:
            slots.pass_on(task, body.attempt, outcome)
        except NotHeld as error:
            if error.other is None:
                raise Problem(
                    404, "not_found", "There is no such thing", "this agent does not hold the task"
                ) from None
            detail = f"this agent holds attempt {error.other} of the task, not {body.attempt}"
            raise Problem(409, "not_yours", "The attempt was not handed to you", detail) from None
        return _json({"task": task, "attempt": body.attempt}, 202)

    return app


def _tasks(agent: "Agent") -> dict[str, Any]:
    now = asyncio.get_running_loop().time()
    slots = agent.slots
    items = [
        {
            "task": visit.task,
            "attempt": None,
            "operation": visit.operation,
            "operands": [operand[:SHOWN_MAX] for operand in visit.operands],
            "duration_ms": visit.duration_ms,
            "elapsed_ms": round((now - visit.started) * 1000),
        }
        for visit in slots.visits.values()
    ]
    for entry in slots.ledger.open.values():
        if len(items) >= ITEMS_MAX:
            break
        assignment = entry.assignment
        items.append(
            {
                "task": assignment.task,
                "attempt": assignment.attempt,
                "operation": assignment.operation,
                "operands": [operand[:SHOWN_MAX] for operand in assignment.operands],
                "duration_ms": assignment.duration_ms,
                "elapsed_ms": None if entry.started is None else round((now - entry.started) * 1000),
            }
        )
    return {
        "items": items[:ITEMS_MAX],
        "total": len(slots.visits) + len(slots.ledger.open),
        "slots": slots.count,
        "unacknowledged": len(slots.ledger.results),
    }


def _outcome(body: Outcome) -> str | Fault:
    if not 0 <= body.attempt < 2**53:
        raise _unprocessable("`attempt` is an integer from 0 to 2^53 - 1")
    if (body.value is UNSET) == (body.error is UNSET):
        raise _malformed("a result has either `value` or `error`")
    if isinstance(body.error, Fault):
        if not 1 <= len(body.error.code) <= 100 or len(body.error.message) > 1000:
            raise _unprocessable(
                "`error` has a `code` of 1 to 100 and a `message` of at most 1000 characters"
            )
        return body.error
    assert isinstance(body.value, str)
    if not is_number(body.value):
        raise _unprocessable('`value` is a number such as "0", "-12" or "1/3"')
    return body.value


async def _body(kind: type[T]) -> T:
    """The JSON body, whatever the content type says. Raises: Problem."""
    try:
        return msgspec.json.decode(await request.get_data(as_text=False), type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _malformed(str(error)) from None


def _json(
    body: object, status: int = 200, kind: str = "application/json", headers: dict[str, str] | None = None
) -> Response:
    return Response(msgspec.json.encode(body), status=status, content_type=kind, headers=headers)


class _Metrics:
    """Reads the agent's own counts when it is asked, so that nothing is counted twice on the hot path."""

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        agent, slots = self._agent, self._agent.slots
        tasks = CounterMetricFamily("curta_agent_tasks", "Values computed.", labels=["operation"])
        for operation, count in slots.computed.items():
            tasks.add_metric([operation], count)
        faults = CounterMetricFamily("curta_agent_faults", "Tasks without a value.", labels=["code"])
        for code, count in slots.faults.items():
            faults.add_metric([code], count)
        yield tasks
        yield faults
        yield CounterMetricFamily("curta_agent_sessions", "Sessions established.", agent.sessions)
        yield GaugeMetricFamily(
            "curta_agent_connected", "Whether there is a session.", agent.session is not None
        )
        yield GaugeMetricFamily("curta_agent_slots", "Slots.", slots.count)
        yield GaugeMetricFamily("curta_agent_slots_used", "Slots taken.", slots.used)
        yield GaugeMetricFamily("curta_agent_held", "Attempts not finished.", len(slots.ledger.open))
        yield GaugeMetricFamily(
            "curta_agent_unacknowledged", "Results not yet stored.", len(slots.ledger.results)
        )
