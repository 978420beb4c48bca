"""The frames of `curta.peer.v1`, the one connection from each follower to the leader; and their codec.

Spoken by `following` (the follower's side) and `followers` (the leader's). JSON in text frames; the tag
`type` says which frame it is. Releases are replaced one by one, so two of them may speak to each other: a
`type` that is not known is ignored, and so is an unknown field.

    follower ─► progress (n, expressions) ─► leader       how far are these?
             ◄─ progress (n, found)
             ─► started (n)                               which run, and may not be so in the table yet?
             ◄─ started (n, found)
             ─► tasks (n, expression, tasks)              in what state are these tasks of it?
             ◄─ tasks (n, found)
             ─► agents (n, after, limit)                  who is there, and what do they compute?
             ◄─ agents (n, found)
             ─► stats (n, epoch, after_us)                what were the last seconds like?
             ◄─ stats (n, found)
             ─► watch (on)                                tell me what changes, or no more
             ◄─ changed (expressions, all)                these changed, in whatever way
             ◄─ finals (expressions)                      these ended, durably
             ◄► beat                                      I am here
"""

from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from curta_server.views import AgentsView, Progress, Recent, TaskState

SUBPROTOCOL: Final = "curta.peer.v1"
PATH: Final = "/peers/connect"

EXPRESSIONS_MAX: Final = 1_000
"""In one ask; whoever has more asks several times."""
TASKS_MAX: Final = 2_000
STARTED_MAX: Final = 50_000
"""In one frame: two megabytes. Of more, the table has to do for the rest, a moment behind."""
FINALS_MAX: Final = 10_000
"""In one frame: less than half a megabyte."""
AGENTS_MAX: Final = 1_000
CHANGED_MAX: Final = 1_000
"""In one frame; where more changed, everything counts as changed."""
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024

BEAT_S: Final = 1.0
SILENCE_S: Final = 4.0
"""Who is not heard for so long is gone. Above every pause that a process in good order makes."""

Number = Annotated[int, Meta(ge=0)]
"""Of an ask, counted on the connection; its answer carries the same."""
Identifier = Annotated[str, Meta(max_length=36)]


class AskProgress(Struct, frozen=True, tag="progress"):
    n: Number
    expressions: Annotated[list[Identifier], Meta(max_length=EXPRESSIONS_MAX)]


class AskStarted(Struct, frozen=True, tag="started"):
    """The expressions that run, and whose rows may not say so yet."""

    n: Number


class AskTasks(Struct, frozen=True, tag="tasks"):
    """`tasks` are numbers within the expression's plan."""

    n: Number
    expression: Identifier
    tasks: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=TASKS_MAX)]


class AskAgents(Struct, frozen=True, tag="agents"):
    """Those whose name and id come after these, by name."""

    n: Number
    after: tuple[str, Identifier] | None
    limit: Annotated[int, Meta(ge=1, le=AGENTS_MAX)]


class AskStats(Struct, frozen=True, tag="stats"):
    """The seconds after `after_us`, if the term is still this one; else all."""

    n: Number
    epoch: Annotated[int, Meta(ge=0)]
    after_us: int


class Watch(Struct, frozen=True, tag="watch"):
    """Whether somebody looks through this follower, so that it wants to hear of every change."""

    on: bool


class ProgressFound(Struct, frozen=True, tag="progress"):
    """Only what is in the leader's memory is in `found`."""

    n: Number
    found: dict[str, Progress]


class StartedFound(Struct, frozen=True, tag="started"):
    n: Number
    found: Annotated[list[Identifier], Meta(max_length=STARTED_MAX)]


class TasksFound(Struct, frozen=True, tag="tasks"):
    """`found` is None where the expression is not in the leader's memory."""

    n: Number
    found: dict[int, TaskState] | None


class AgentsFound(Struct, frozen=True, tag="agents"):
    n: Number
    found: AgentsView


class StatsFound(Struct, frozen=True, tag="stats"):
    """`found` is None where the term is just over."""

    n: Number
    found: Recent | None


class Changed(Struct, frozen=True, tag="changed"):
    """Owner and id of the expressions that changed since the last such frame, as `changed.Touched` has them;
    with `all` it may be any."""

    expressions: list[tuple[str | None, str]] = []
    all: bool = False


class Finals(Struct, frozen=True, tag="finals"):
    """These became final since the last such frame; the rows are in the table."""

    expressions: list[str]


class Beat(Struct, frozen=True, tag="beat"):
    """Nothing but a sign of life."""


FollowerFrame = AskProgress | AskStarted | AskTasks | AskAgents | AskStats | Watch | Beat
LeaderFrame = ProgressFound | StartedFound | TasksFound | AgentsFound | StatsFound | Changed | Finals | Beat

F = TypeVar("F")

_encoder: Final = msgspec.json.Encoder()
_follower_decoder: Final = msgspec.json.Decoder(FollowerFrame)
_leader_decoder: Final = msgspec.json.Decoder(LeaderFrame)
_FOLLOWER_TYPES: Final = frozenset({"progress", "started", "tasks", "agents", "stats", "watch", "beat"})
_LEADER_TYPES: Final = frozenset(
    {"progress", "started", "tasks", "agents", "stats", "changed", "finals", "beat"}
)


class _Tagged(Struct):
    type: str


_tagged: Final = msgspec.json.Decoder(_Tagged)


class Malformed(Exception):
    """The peer sent what is no frame: a defect of one of the two."""


def encode(frame: FollowerFrame | LeaderFrame) -> str:
    """The text of a frame."""
    return _encoder.encode(frame).decode()


def decode_from_follower(data: str | bytes) -> FollowerFrame | None:
    """What a follower sent; None for what another release may mean. Raises: Malformed, and nothing else."""
    return _decode(data, _follower_decoder, _FOLLOWER_TYPES)


def decode_from_leader(data: str | bytes) -> LeaderFrame | None:
    """What the leader sent; None for what another release may mean. Raises: Malformed, and nothing else."""
    return _decode(data, _leader_decoder, _LEADER_TYPES)


def _decode(data: str | bytes, decoder: "msgspec.json.Decoder[F]", known: frozenset[str]) -> F | None:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        if _type_of(data) in known:
            raise Malformed(f"malformed frame: {error}") from None
        return None


def _type_of(data: str | bytes) -> str:
    try:
        return _tagged.decode(data).type
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Malformed(f"malformed frame: {error}") from None
