"""The messages of `curta.live.v1`, the browsers' WebSocket; the OpenAPI document lists them as shapes.

    browser ─► subscribe (topic, window)        unsubscribe (topic)
            ◄─ snapshot (topic, seq, items)     first, and again after a gap: replaces everything before
            ◄─ delta (topic, seq, items, removed)   numbered without a gap from the snapshot's on
            ◄─ error (topic, code, message)     the topic is not served; the connection goes on
            ◄─ beat                             every 15 s

Topics and what their items are, each with its key:

    expressions        Expression (`id`), the page of GET /expressions for the same window, newest first
    expression/<id>    Expression (`id`), cut as in lists, and PlanTask (`task`) of the window
    agents             Agent (`id`), by name
    operations         Operation (`name`)
    stats              Point (`at`), one a second, and Orchestrator (`id`)

A connection has one subscription of each topic; subscribing again replaces the window. `removed` lists keys
that are no longer in the window, which says nothing about whether they still exist.

A snapshot of `stats` has the points of the last ten minutes at most; each second's delta has the new point
and lists the key of the one that became older than that. A new leader begins with no points. `agents` has at
most 100 tasks of an agent, fewer where many agents on a page have many; `running` counts them all. Of an
agent of which nothing else changed `last_seen_s` is told once a second.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from curta_server.resources import Status

SUBPROTOCOL: Final = "curta.live.v1"
PATH: Final = "/live"
BEAT_S: Final = 15.0

_ITEMS: Final = ("Expression", "PlanTask", "Agent", "Operation", "Point", "Orchestrator")

Topic = Annotated[
    str,
    Meta(
        max_length=64,
        description="expressions, expression/<id>, agents, operations or stats.",
        examples=["expressions", "agents"],
    ),
]
Seq = Annotated[int, Meta(ge=0, description="Counts the messages of a subscription since its snapshot.")]
Items = Annotated[
    list[
        Annotated[
            Any,
            Meta(extra_json_schema={"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in _ITEMS]}),
        ]
    ],
    Meta(description="By topic; see there."),
]


class Subscribe(Struct, frozen=True, tag="subscribe", kw_only=True):
    """Show me this topic from now on.

    `status`, `q`, `limit` and `cursor` choose a page of expressions, `limit` and `cursor` one of agents,
    `root` and `depth` a part of an expression's plan, as the query parameters of the same names do.
    """

    topic: Topic
    status: list[Status] = []
    q: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    cursor: Annotated[str, Meta(max_length=600)] | None = None
    root: Annotated[str, Meta(max_length=64)] | None = None
    depth: Annotated[int, Meta(ge=0)] | None = None


class Unsubscribe(Struct, frozen=True, tag="unsubscribe"):
    """Show me this topic no more."""

    topic: Topic


class Snapshot(Struct, frozen=True, tag="snapshot", kw_only=True):
    """Everything in the window. `next` is the cursor of the page after it, null where there is none."""

    topic: Topic
    seq: Seq
    items: Items
    next: str | None = None


class Delta(Struct, frozen=True, tag="delta", kw_only=True):
    """What changed since the message before: whole items, new or changed, and the keys of those that left."""

    topic: Topic
    seq: Seq
    items: Items
    removed: list[str]


class Beat(Struct, frozen=True, tag="beat"):
    """Nothing but a sign of life."""


class LiveError(Struct, frozen=True, tag="error", kw_only=True):
    """The topic is not served, or is no more; codes as those of problems."""

    topic: Topic
    code: Literal["malformed", "forbidden", "not_found", "unprocessable", "too_many_requests", "unavailable"]
    message: str


BrowserMessage = Subscribe | Unsubscribe
ServerMessage = Snapshot | Delta | Beat | LiveError
MESSAGES: Final[tuple[type[msgspec.Struct], ...]] = (Subscribe, Unsubscribe, Snapshot, Delta, Beat, LiveError)
