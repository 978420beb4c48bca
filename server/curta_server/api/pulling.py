"""Tasks for agents that cannot hold a WebSocket: take, answer, renew. `curl` is enough."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from quart import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed

from curta_server import resources as shapes
from curta_server import values
from curta_server.api import answers, reading
from curta_server.api.access import AGENTS, allow, caller
from curta_server.api.documentation import documented
from curta_server.api.led import led
from curta_server.api.services import context, services
from curta_server.errors import Problem, unavailable
from curta_wire.frames import OPERATIONS
from curta_wire.offload import OffloadError

pulling = Blueprint("pulling", __name__)

SLOTS_MAX: Final = 100_000
"""A setting may cut what is asked for to fewer, as it does with a `hello`."""

_TASK = re.compile(shapes.TASK_PATTERN)
_result: Final = msgspec.json.Decoder(shapes.TaskResult)
_renewal: Final = msgspec.json.Decoder(shapes.LeaseRenewal)


class TakeQuery(Struct):
    agent: (
        Annotated[
            str,
            Meta(
                description="A UUID of the agent's own; without it the token stands for one agent.",
                extra_json_schema={"format": "uuid"},
            ),
        ]
        | UnsetType
    ) = UNSET
    wait: Annotated[float, Meta(description="Seconds to wait for a task.", ge=0, le=reading.WAIT_S_MAX)] = 0
    slots: Annotated[int, Meta(description="At most so many tasks.", ge=1, le=SLOTS_MAX)] = 1
    operations: (
        Annotated[
            str,
            Meta(
                description="Which operations it computes, separated by commas; all four by default. "
                "Unknown ones are ignored."
            ),
        ]
        | UnsetType
    ) = UNSET


@pulling.get("/tasks")
@allow(*AGENTS)
@documented(
    "tasks",
    {200: shapes.TakenTasks, 204: None},
    query=TakeQuery,
    problems=("unprocessable", "too_many_requests"),
)
@led
async def take_tasks() -> Response:
    """Take ready tasks, each for `lease_s` seconds. 204 when there are none."""
    if request.method == "HEAD":
        # Taking is not looking: a HEAD would take tasks and throw them away.
        raise MethodNotAllowed(["GET"])
    agent = request.args.get("agent")
    if agent is not None:
        try:
            agent = str(reading.uuid(agent, "agent"))
        except Problem:
            raise Problem("malformed", "`agent` must be a UUID.") from None
    settings = services().settings
    slots = min(reading.integer("slots", 1, 1, SLOTS_MAX), settings.slots_max)
    wait_s = reading.seconds("wait", reading.WAIT_S_MAX)
    async with context().gate.waiting(caller()):
        tasks = await services().pull.take(caller(), agent, slots, _operations(), wait_s)
    if not tasks:
        return answers.nothing()
    return answers.answer(shapes.TakenTasks(tasks, settings.pull_lease_s))


@pulling.post("/tasks/<task>/result")
@allow(*AGENTS)
@documented(
    "tasks",
    {200: shapes.StoredResult},
    body=shapes.TaskResult,
    problems=("not_found", "not_yours", "unprocessable"),
)
@led
async def put_result(task: str) -> Response:
    """Hand in what became of an attempt. 200: stored for good, or no longer wanted; also when repeated."""
    _check_task(task)
    result = await reading.json_body(_result)
    value, fault = result.value, result.error
    if (value is UNSET) == (fault is UNSET):
        raise Problem("malformed", "A result has either `value` or `error`.")
    _check_attempt(result.attempt)
    token = caller()
    if fault is not UNSET:
        if not 1 <= len(fault.code) <= shapes.FAULT_CODE_MAX:
            raise Problem("unprocessable", f"`error.code` has 1 to {shapes.FAULT_CODE_MAX} characters.")
        code, message = values.printable(fault.code), values.printable(fault.message)
        await services().pull.result(token, task, result.attempt, None, code, message)
    elif value is not UNSET:
        await _check_value(value)
        await services().pull.result(token, task, result.attempt, value, None, "")
    return answers.answer(shapes.StoredResult(task, result.attempt))


@pulling.post("/tasks/<task>/lease")
@allow(*AGENTS)
@documented(
    "tasks",
    {200: shapes.Lease},
    body=shapes.LeaseRenewal,
    body_optional=True,
    problems=("not_found", "not_yours", "unprocessable"),
)
@led
async def renew_lease(task: str) -> Response:
    """Go on with an attempt for another `lease_s` seconds."""
    _check_task(task)
    attempt = None
    if data := await reading.body():
        attempt = (await reading.json_body(_renewal)).attempt if data.strip() else None
    if attempt is not None:
        _check_attempt(attempt)
    await services().pull.renew(caller(), task, attempt)
    return answers.answer(shapes.Lease(services().settings.pull_lease_s))


def _operations() -> list[str] | None:
    """The operations asked for, None for all; unknown ones are ignored, as in `hello`."""
    words = [
        word.strip()
        for part in request.args.getlist("operations")
        for word in part.split(",")
        if word.strip()
    ]
    return [name for name in OPERATIONS if name in words] if words else None


def _check_task(task: str) -> None:
    if not _TASK.fullmatch(task):
        raise Problem("not_found", "There is no such task.")


def _check_attempt(attempt: int) -> None:
    if not 0 <= attempt <= shapes.ATTEMPT_MAX:
        raise Problem("unprocessable", f"`attempt` must lie between 0 and {shapes.ATTEMPT_MAX}.")


async def _check_value(value: str) -> None:
    limit = services().settings.value_digits_max
    try:
        fault = await values.fault(value, limit, services().checks.run)
    except OffloadError as error:
        raise unavailable(f"The value cannot be checked at the moment: {error}.") from None
    if fault == "too_large":
        raise Problem(
            "unprocessable", f"A value has at most {limit:,} digits; report the error `too_large` instead."
        )
    if fault is not None:
        raise Problem(
            "malformed", "`value` is not a number of the wire: an integer, or a reduced fraction such as 1/3."
        )
