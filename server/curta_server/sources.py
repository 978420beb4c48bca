"""What a topic of `GET /live` is made of: the interface between the rooms, which look again and compare, and
whoever knows the data.

A source belongs to one room, that is to one topic, scope and window; all browsers in the room share what it
says. Rooms call `items` one call at a time, and drop the source with the room. The sources themselves:
`expression_sources` (expressions, one expression), `operation_source`, `agent_source`, `stats_source`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from curta_server.live_messages import Subscribe

PACE_S: Final = 0.1
"""A change is on its way to the browsers this late at most, where there is little to do."""


@dataclass(frozen=True, slots=True)
class Items:
    """Everything in the window now: each item's key and its JSON, in order. `next` is the cursor of the page
    after it."""

    items: Mapping[str, bytes] = field(default_factory=dict)
    next: str | None = None


class Source(Protocol):
    """The items of one window.

    `pace_s`: no more often is it asked. `always`: asked at every pace while somebody looks; otherwise only
    when something changed, and now and then for what was missed.
    """

    @property
    def pace_s(self) -> float: ...

    @property
    def always(self) -> bool: ...

    async def items(self) -> Items:
        """What the window shows now. Raises: Problem where the topic cannot be served (any more), and what
        `store.is_outage` knows while the database is away; then it is asked again."""
        ...


Maker = Callable[[Subscribe, str | None], Source]
"""Makes the source for a window and a scope: None sees everything, a name what that user may see. Raises:
Problem for a window that cannot be (malformed, unprocessable, not_found)."""
