"""The frames of `curta.agent.v1`, exactly as docs/protocol.md names them.

Owned by both sides; knows neither sockets nor arithmetic. The tag `type` says which frame it is; unknown
fields are ignored. The few frames of the hot path (`Tasks`, `Results`, `Ack`) hold plain lists, so that one
frame carries many.
"""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

OPERATIONS = ("addition", "subtraction", "multiplication", "division")
"""Every operation, in the order that plans number them."""

Count = Annotated[int, Meta(ge=0, lt=2**53)]
"""An integer that every JSON library reads exactly."""

TaskName = Annotated[str, Meta(max_length=255)]
"""Opaque to agents. Bounded, so that what is remembered by name is."""

Offer = Annotated[list[str], Meta(max_length=100)]
"""Names of operations, of which a later version may have more than ours."""


class Attempt(Struct, frozen=True, gc=False):
    """One task handed to one agent: the name by which both sides speak of it."""

    task: TaskName
    attempt: Count


class Assignment(Struct, frozen=True, gc=False):
    """An attempt and what to compute: `operands` are two wire numbers, `duration_ms` is how long it takes."""

    task: TaskName
    attempt: Count
    operation: str
    operands: tuple[str, str]
    duration_ms: int


class Fault(Struct, frozen=True, gc=False):
    """Why there is no value: `division_by_zero` and `too_large` are results, others the agent's failure."""

    code: str
    message: str = ""


class Result(Struct, frozen=True, gc=False):
    """What became of an attempt: exactly one of `value` and `error` is set (codec.decode sees to it)."""

    task: TaskName
    attempt: Count
    value: str | UnsetType = UNSET
    error: Fault | UnsetType = UNSET


class Hello(Struct, frozen=True, tag="hello"):
    """First frame of an agent. `agent` is a UUID in text; without `operations` (None, or an empty list) it
    offers all four."""

    protocol: int
    agent: str
    name: str
    slots: Annotated[int, Meta(ge=1)]
    held: list[Attempt] = []
    operations: Offer | None = None
    version: str = ""


class Welcome(Struct, frozen=True, tag="welcome"):
    """First frame in return. A held attempt in neither `keep` nor `drop` is undecided: go on with it."""

    heartbeat_s: float
    idle_heartbeat_s: float
    lease_s: float
    keep: list[Attempt]
    drop: list[Attempt]
    peers: list[str]


class Results(Struct, frozen=True, tag="results"):
    results: list[Result]


class Tasks(Struct, frozen=True, tag="tasks"):
    """`n` counts these frames on this connection, from 1."""

    n: Count
    tasks: list[Assignment]


class Ack(Struct, frozen=True, tag="ack"):
    """Attempts stored for good or no longer wanted; empty where it only answers a heartbeat."""

    tasks: list[Attempt]


class Cancel(Struct, frozen=True, tag="cancel"):
    tasks: list[Attempt]


class Heartbeat(Struct, frozen=True, tag="heartbeat"):
    """`held`: all attempts the agent holds; `seen`: the last `n` it read."""

    held: list[Attempt]
    seen: Count


class Bye(Struct, frozen=True, tag="bye"):
    """Leaving on purpose: what is still held is ready for others at once."""


class Drain(Struct, frozen=True, tag="drain"):
    """No more tasks will come; finish what you have."""


class Redirect(Struct, frozen=True, tag="redirect", omit_defaults=True):
    """Connect to `url` instead; with `retry_after_s` after a random part of it."""

    url: str
    retry_after_s: float | None = None


AgentFrame = Hello | Results | Heartbeat | Bye
ServerFrame = Welcome | Tasks | Ack | Cancel | Drain | Redirect
