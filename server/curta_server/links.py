"""The sessions of this process: all by number, and each agent's current one."""

import itertools
from collections.abc import Iterator

from curta_server.link import Link


class Links:
    """Who is connected here. An agent that came again has several sessions until the earlier ones end; the
    latest is its current one."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._current: dict[str, Link] = {}
        self._by_number: dict[int, Link] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Link]:
        """Those of now; they may come and go meanwhile."""
        return iter(list(self._by_number.values()))

    def next_number(self) -> int:
        """The number of a new session: later ones are greater."""
        return next(self._numbers)

    def add(self, link: Link) -> None:
        """It is its agent's current one from now on."""
        self._current[link.guest.id] = link
        self._by_number[link.number] = link

    def discard(self, link: Link) -> None:
        """It is over; its agent may have another one."""
        self._by_number.pop(link.number, None)
        if self._current.get(link.guest.id) is link:
            del self._current[link.guest.id]

    def numbered(self, number: int) -> Link | None:
        return self._by_number.get(number)

    def current(self, agent: str) -> Link | None:
        """The session through which the agent is connected now."""
        return self._current.get(agent)

    def heard_of(self, agent: str, number: int | None) -> Link | None:
        """The agent's current session, unless the scheduler has not heard of it yet: `number` is the latest
        that it knows, None where it knows nothing of the agent. The new session's hello says what the agent
        holds, and what was meant for the one before is decided anew by that."""
        link = self._current.get(agent)
        return link if link is None or number is None or number == link.number else None
