"""What happens and what shall be done about it: data only.

The scheduler takes a batch of events with the time (seconds, monotonic) and gives one `Commands`. Agents and
expressions are named by their UUIDs in text; a session is a number that grows with every connection, so that
what a replaced connection still says can be told apart.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from curta_server.core.crew import Run
from curta_server.core.execution import Execution


class Named(NamedTuple):
    """An attempt by its names on the wire."""

    task: str
    attempt: int


class Answer(NamedTuple):
    """A value, or the code of an error."""

    task: str
    attempt: int
    value: str | None
    error: str | None = None
    message: str = ""


class Error(NamedTuple):
    """Why an expression failed: one of the contract's codes, a sentence, and the task."""

    code: str
    message: str
    task: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """An expression comes into memory: fresh, or recovered with its journal folded in."""

    execution: Execution
    user: str
    gated: bool = False
    """Recovered: wait until the agents had time to come back."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The expression got its final status elsewhere; what runs of it is to stop."""

    expression: str


@dataclass(frozen=True, slots=True)
class Absent:
    """An answer to `Commands.unknown`: the expression is final or was never there; nobody wants its
    attempts."""

    expression: str


@dataclass(frozen=True, slots=True)
class Joined:
    agent: str
    session: int
    slots: int
    operations: int
    """A bit for each operation it offers, bit 0 the first of the wire's OPERATIONS."""
    held: Collection[Named] = ()
    draining: bool = False
    pulls: bool = False
    """It asks for tasks by `Asked` and has no heartbeat; each of its attempts has a lease of its own."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A pulling agent wants `count` more tasks (0: it stopped waiting)."""

    agent: str
    session: int
    count: int


@dataclass(frozen=True, slots=True)
class Renewed:
    """A pulling agent is still at work on the task."""

    agent: str
    task: str


@dataclass(frozen=True, slots=True)
class Heard:
    """Part of a long frame came, or one that came waits to be looked at: a sign of life, and nothing more."""

    agent: str
    session: int


@dataclass(frozen=True, slots=True)
class Beaten:
    """A heartbeat. `seen` counts the pushes (of this session) that the agent has read whole."""

    agent: str
    session: int
    held: Collection[Named]
    seen: int


@dataclass(frozen=True, slots=True)
class Answered:
    agent: str
    session: int
    answers: Sequence[Answer]


@dataclass(frozen=True, slots=True)
class Unsent:
    """These attempts were cancelled before they were sent: the agent will never answer them."""

    agent: str
    session: int
    attempts: Sequence[Named]


@dataclass(frozen=True, slots=True)
class Left:
    """The connection is gone; after `bye` there is no grace."""

    agent: str
    session: int
    bye: bool = False


@dataclass(frozen=True, slots=True)
class Drained:
    agent: str


@dataclass(frozen=True, slots=True)
class Removed:
    agent: str
    code: int = 4003
    reason: str = "removed by an admin"


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch of the journal is durable. `ended` are the expressions that became final by it."""

    runs: Sequence[Run]
    ended: Sequence[str]


@dataclass(frozen=True, slots=True)
class DurationSet:
    """Counts for tasks handed out from now on."""

    operation: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """Whether too many results wait for their commit; while they do, nothing is handed out."""

    blocked: bool


@dataclass(frozen=True, slots=True)
class Ticked:
    """A moment passed; `late_s` is by how much later than planned, which extends every lease."""

    late_s: float = 0.0


Event = (
    Loaded | Cancelled | Absent | Joined | Asked | Renewed | Heard | Beaten | Answered | Unsent | Left
    | Drained | Removed | Stored | DurationSet | Blocked | Ticked
)  # fmt: skip


class Welcomed(NamedTuple):
    agent: str
    session: int
    keep: list[Named]
    drop: list[Named]


class Closed(NamedTuple):
    """The session is to be closed with this code."""

    agent: str
    session: int
    code: int
    reason: str


class Final(NamedTuple):
    """An expression's end: `value` (wire number) when done, else `error`."""

    expression: str
    value: str | None
    error: Error | None


@dataclass(slots=True)
class Commands:
    """What shall be done, in this order: journal first; acks come only with `Stored`."""

    journal: list[Run] = field(default_factory=list)
    finals: list[Final] = field(default_factory=list)
    """In the same transaction as `journal`."""
    welcomes: list[Welcomed] = field(default_factory=list)
    pushes: dict[str, list[Run]] = field(default_factory=dict)
    cancels: dict[str, list[Named]] = field(default_factory=dict)
    acks: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    beats: dict[str, int] = field(default_factory=dict)
    """How many heartbeats the acks of an agent answer, perhaps without any attempt."""
    drains: list[str] = field(default_factory=list)
    closes: list[Closed] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Agents whose time is up."""
    started: list[Execution] = field(default_factory=list)
    """Of which the first task was handed out."""
    dropped: list[str] = field(default_factory=list)
    """Expressions that left memory."""
    unknown: set[str] = field(default_factory=set)
    """Expressions that agents hold tasks of and that are not in memory: are they still open?"""
    again: bool = False
    """There is more to do at once: call again, with no events if there are none."""
