"""The JSON shapes of the REST interface: what comes in, what goes out.

The one source of the OpenAPI document and of the browser client's types. The routes build and read these
structs; nothing here knows a database row, a plan or a request. Ranges stand in the schema only
(`_documented`): a value of the wrong type is malformed (400), one out of range is refused with a sentence
of its own (422), and the routes tell the two apart. Unknown fields are ignored, as on the agents'
WebSocket.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from curta_wire.frames import Assignment

CUT = 200
"""Texts and numbers are cut to so many characters everywhere but in the answer to `GET
/expressions/{id}`."""

Status = Literal["queued", "running", "done", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = ("queued", "running", "done", "failed", "cancelled")
FINAL: frozenset[str] = frozenset({"done", "failed", "cancelled"})

TaskStatus = Literal["waiting", "ready", "running", "done", "failed", "cancelled"]
AgentStatus = Literal["connected", "draining", "lost"]
PassedOnState = Literal["waiting", "running", "done"]
Role = Literal["viewer", "user", "admin", "agent"]
ROLES: tuple[Role, ...] = ("viewer", "user", "admin", "agent")
OperationName = Literal["addition", "subtraction", "multiplication", "division"]
OPERATION_NAMES: tuple[OperationName, ...] = ("addition", "subtraction", "multiplication", "division")
"""In the order in which plans number them, which is the wire's."""

DURATION_MS_MAX = 604_800_000
"""A week."""

EXPECTED = ("number", "(", ")", "-", "operator", "end")
"""What a bad expression may be told that it lacks."""

ATTEMPT_MAX = 2**53 - 1
"""Every JSON library reads it exactly."""

FAULT_CODE_MAX = 100

NUMBER_PATTERN = "^(0|-?[1-9][0-9]*)(/[1-9][0-9]*)?$"


def _documented(description: str, **schema: Any) -> Meta:
    """A description and bounds that appear in the OpenAPI document and are checked by the routes, not by
    msgspec."""
    return Meta(description=description, extra_json_schema=schema or None)


Number = Annotated[
    str, _documented("An exact number: an integer, or a reduced fraction.", pattern=NUMBER_PATTERN)
]
CutNumber = Annotated[str, _documented("A wire number, cut to 200 characters.")]
Time = Annotated[datetime, _documented("RFC 3339, UTC, by the database's clock.")]
Id = Annotated[str, _documented("A UUID.", format="uuid")]
CLIENT_ID_SCHEMA: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "pattern": "^[ -~]+$",
    "examples": ["invoice 2031-07"],
}
TASK_PATTERN = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\.(0|[1-9][0-9]{0,6})$"
TaskName = Annotated[
    str,
    _documented(
        "A task's name: the expression's id, a point, and the task's number.",
        pattern=TASK_PATTERN,
        examples=["01961f0a-6b7c-7d4e-8f12-3456789abcde.0"],
    ),
]
ClientId = Annotated[
    str,
    _documented("The client's own id, 1 to 255 printable ASCII characters.", **CLIENT_ID_SCHEMA),
]

# --- requests ---------------------------------------------------------------------------------------------


class Submission(Struct, frozen=True):
    """An expression to compute."""

    expression: Annotated[
        str, _documented("The text; white space around it is ignored.", minLength=1, examples=["2+2*2"])
    ]
    id: ClientId | None = None
    optimize: Annotated[bool, _documented("false plans exactly as written.", default=True)] | UnsetType = (
        UNSET
    )


class BatchSubmission(Struct, frozen=True):
    """Many expressions, stored in one transaction."""

    expressions: Annotated[list[Submission], _documented("At most 10,000.", maxItems=10_000)]


class DurationChange(Struct, frozen=True):
    """How long an operation takes from now on."""

    duration_ms: Annotated[
        int, _documented("Milliseconds, up to a week.", minimum=0, maximum=DURATION_MS_MAX, examples=[1000])
    ]


class TokenRequest(Struct, frozen=True):
    """A token to make. Tokens with one name are one user."""

    name: Annotated[
        str,
        _documented(
            "The owner: 1 to 255 printable characters.", minLength=1, maxLength=255, examples=["anna"]
        ),
    ]
    role: Annotated[str, _documented("What the token may do.", enum=list(ROLES))]
    expires_at: (
        Annotated[
            datetime,
            _documented("RFC 3339 with a time zone, in the future.", examples=["2099-12-31T23:59:59Z"]),
        ]
        | None
    ) = None


class SessionRequest(Struct, frozen=True):
    """Sign in: a token for a cookie."""

    token: Annotated[str, _documented("A token's secret.", minLength=1)]


Attempt = Annotated[int, _documented("As handed out.", minimum=0, maximum=ATTEMPT_MAX, examples=[1048577])]


class TaskFault(Struct, frozen=True):
    """Why there is no value: `division_by_zero` and `too_large` are results, others the agent's failure."""

    code: Annotated[
        str,
        _documented("For programs.", minLength=1, maxLength=FAULT_CODE_MAX, examples=["division_by_zero"]),
    ]
    message: Annotated[str, _documented("For people; the first 200 characters count.")] = ""


class TaskResult(Struct, frozen=True):
    """What became of an attempt: exactly one of `value` and `error`."""

    attempt: Attempt
    value: Number | UnsetType = UNSET
    error: TaskFault | UnsetType = UNSET


class LeaseRenewal(Struct, frozen=True):
    """The attempt to go on with; without `attempt` whichever the token holds of the task."""

    attempt: Attempt | None = None


EXACTLY_ONE_OF: dict[type[Struct], tuple[str, ...]] = {TaskResult: ("value", "error")}
"""What a body must have one of and no more; a Struct cannot say it."""


# --- answers ----------------------------------------------------------------------------------------------


class ExpressionError(Struct, frozen=True):
    """Why an expression failed: `division_by_zero`, `too_large`, `agents_failed` or `plan_lost`."""

    code: str
    message: str
    task: TaskName | None


class TaskCounts(Struct, frozen=True):
    """How far an expression is."""

    total: int
    done: int
    running: int


class Expression(Struct, frozen=True, kw_only=True):
    """An expression and what became of it. Fields not yet known are null."""

    id: Id
    client_id: str | None
    owner: str
    expression: str
    optimize: bool
    status: Status
    result: Annotated[str, _documented("For people: a decimal number, exact or rounded to 30 digits.")] | None
    exact: Annotated[str, _documented("The fraction, where `result` is rounded.")] | None
    error: ExpressionError | None
    waiting_for: Annotated[str, _documented("Why nothing runs.")] | None
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    tasks: TaskCounts
    eta_s: Annotated[float, _documented("Seconds until it is done, estimated.")] | None
    truncated: Annotated[list[str], _documented("The fields cut to 200 characters.")]


class ProblemDocument(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"kind": "type"}):
    """An answer other than success (RFC 9457). `/docs` lists the types."""

    kind: Annotated[str, _documented("/problems/<code>")]
    title: str
    status: int
    detail: str
    position: Annotated[int, _documented("Where the expression is wrong, in code points from 0.")] | None = (
        None
    )
    expected: (
        Annotated[
            list[str],
            _documented("What could stand there.", items={"type": "string", "enum": list(EXPECTED)}),
        ]
        | None
    ) = None


class ExpressionPage(Struct, frozen=True):
    """Expressions, newest first; `next` is the cursor of the next page."""

    items: list[Expression]
    next: str | None


class BatchAnswer(Struct, frozen=True):
    """One item for each expression sent, in order: an expression, or a problem (only problems have
    `title`)."""

    items: list[
        Annotated[
            Any,
            Meta(
                extra_json_schema={
                    "anyOf": [
                        {"$ref": "#/components/schemas/Expression"},
                        {"$ref": "#/components/schemas/ProblemDocument"},
                    ]
                }
            ),
        ]
    ]


class TaskOperand(Struct, frozen=True):
    """Another task's result, with its sign turned where `negated`."""

    task: TaskName
    negated: bool


class AgentName(Struct, frozen=True):
    """Who computed or computes a task."""

    id: Id
    name: str


class PlanTask(Struct, frozen=True, kw_only=True):
    """One task of a plan as it stands."""

    task: TaskName
    operation: OperationName
    operands: Annotated[list[CutNumber | TaskOperand], _documented("Two of them.", minItems=2, maxItems=2)]
    state: TaskStatus
    value: Annotated[CutNumber, _documented("Null also where the journal has been pruned.")] | None
    agent: AgentName | None
    attempt: int | None
    started_at: Time | None
    finished_at: Time | None
    below: (
        Annotated[int, _documented("Tasks under this one that are cut off; 10000 means so many or more.")]
        | None
    )
    """None where so much is cut off that counting it all would take too long."""
    truncated: Annotated[list[str], _documented("The fields cut to 200 characters.")]


class PlanTasks(Struct, frozen=True):
    """The plan from `root` down, breadth first. `root` is the operand that the expression's value is."""

    root: CutNumber | TaskOperand
    items: list[PlanTask]


class PlanFigures(Struct, frozen=True):
    """What an expression's plan costs. Times in milliseconds, by the operations' durations now."""

    tasks: int
    sequential_ms: Annotated[int, _documented("On one slot.")]
    critical_path_ms: Annotated[int, _documented("With unlimited agents.")]
    computed_ms: (
        Annotated[int, _documented("What its tasks took in fact, all together, once it is done.")] | None
    )
    """Null also where the journal has been pruned."""


class PlanSummary(Struct, frozen=True):
    """What a plan costs. Times in milliseconds, by the operations' durations now."""

    tasks: int
    sequential_ms: int
    critical_path_ms: int
    critical_path_as_written_ms: int
    width: Annotated[int, _documented("The most tasks that ever run at once, with unlimited agents.")]


class Operation(Struct, frozen=True):
    """A kind of work and how long it takes."""

    name: str
    symbol: str
    duration_ms: int


class Operations(Struct, frozen=True):
    """All operations."""

    items: list[Operation]


class AgentTask(Struct, frozen=True, kw_only=True):
    """What an agent computes. Of somebody else's expression only the operation is told."""

    task: TaskName | None
    expression_id: Id | None
    operation: str
    operands: list[CutNumber] | None
    started_at: Time | None
    duration_ms: int | None
    truncated: Annotated[list[str], _documented("The fields cut to 200 characters.")]


class PassedOnTask(Struct, frozen=True):
    """A task that a lost agent had. `GET /expressions/{id}/tasks?root=<task>` says more of it."""

    task: TaskName
    expression_id: Id
    state: Annotated[
        PassedOnState,
        _documented("`done` also where nobody needs it any more."),
    ]


class PassedOn(Struct, frozen=True, kw_only=True):
    """What became of the tasks that a lost agent had: others compute them."""

    total: Annotated[int, _documented("So many were taken from it; the others count the first 100.")]
    waiting: Annotated[int, _documented("Wait for a slot of another agent.")]
    running: Annotated[int, _documented("Run elsewhere.")]
    done: Annotated[int, _documented("Computed meanwhile, or nobody needs them any more.")]
    tasks: Annotated[
        list[PassedOnTask], _documented("Of these, the first that the caller may see; at most 10.")
    ]


class Agent(Struct, frozen=True, kw_only=True):
    """A computing resource."""

    id: Id
    name: str
    slots: int
    operations: list[str]
    status: AgentStatus
    connected_at: Time | None
    last_seen_s: Annotated[float, _documented("Seconds since its last frame.")] | None
    tasks: Annotated[
        list[AgentTask], _documented("At most 1000, by `GET /live` 100; `running` counts them all.")
    ]
    running: int
    passed_on: Annotated[PassedOn, _documented("Null unless it is lost.")] | None


class AgentPage(Struct, frozen=True):
    """Agents by name; `next` is the cursor of the next page."""

    items: list[Agent]
    next: str | None


class AgentChange(Struct, frozen=True):
    """What was done to an agent."""

    id: Id
    status: Literal["draining", "removed"]


class Lease(Struct, frozen=True):
    """How long the attempt is yours without a further sign of life."""

    lease_s: float


class TakenTasks(Struct, frozen=True):
    """Attempts to compute, each as on the agents' WebSocket."""

    tasks: list[Assignment]
    lease_s: float


class StoredResult(Struct, frozen=True):
    """The result is stored, or nobody wants it any more: forget the attempt."""

    task: TaskName
    attempt: int


class Token(Struct, frozen=True, kw_only=True):
    """A token without its secret."""

    id: Id
    name: str
    role: Role
    created_at: Time | None
    expires_at: Time | None
    last_used_at: Annotated[datetime, _documented("To the minute.")] | None


class Tokens(Struct, frozen=True):
    """All tokens that were not revoked, oldest first."""

    items: list[Token]


class NewToken(Struct, frozen=True, kw_only=True):
    """A token with its secret, which is shown this once."""

    id: Id
    name: str
    role: Role
    expires_at: Time | None
    secret: str


class RevokedToken(Struct, frozen=True):
    """A token that nobody can use any more."""

    id: Id
    status: Literal["revoked"]


class Session(Struct, frozen=True, kw_only=True):
    """Who is signed in, by cookie or by token."""

    name: str
    role: Role
    expires_at: Annotated[Time, _documented("Null for a token without an end.")] | None


class Point(Struct, frozen=True, kw_only=True):
    """One second of the whole system, as its leader sees it."""

    at: Time
    tasks_per_s: Annotated[float, _documented("Results that became durable.")]
    ready: Annotated[int, _documented("Tasks that wait for a slot.")]
    running: int
    slots_used: int
    slots_total: int
    agents: Annotated[int, _documented("Connected ones, draining ones among them.")]
    expressions: Annotated[int, _documented("In the leader's memory.")]
    dispatch_p50_ms: Annotated[float, _documented("From an event's arrival to what it caused.")] | None
    dispatch_p99_ms: float | None
    commits_per_s: Annotated[float, _documented("Transactions of the journal.")]
    journal_backlog: Annotated[int, _documented("Results that wait for their commit.")]


class Orchestrator(Struct, frozen=True, kw_only=True):
    """A process that serves."""

    id: Id
    url: Annotated[str, _documented("Where its peers reach it.")]
    leads: bool
    seen_s: Annotated[float, _documented("Seconds since it last said that it is there.")]


class Statistics(Struct, frozen=True):
    """The last minutes, oldest first, and the orchestrators."""

    items: list[Point]
    orchestrators: list[Orchestrator]


class Health(Struct, frozen=True):
    """What the health check found."""

    status: str
