"""Where to connect next, and how long to wait before: the contract's rules for reconnecting. Pure.

Called by `agent`, which waits and opens; time (seconds on one monotonic clock) and chance come in as
arguments.
"""

from collections.abc import Callable, Sequence
from random import random
from typing import Final
from urllib.parse import urlsplit, urlunsplit

AGENTS_PATH: Final = "/agents/connect"
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_MAX_S: Final = 5.0
BACKOFF_HOLDING_MAX_S: Final = 3.0
"""Of an agent that holds work, for a whole round of its addresses: a new leader waits for it only until
nobody has come for 5 s."""
BACKOFF_REDIRECTED_MAX_S: Final = 1.0
"""On the way to the leader that an orchestrator has just named: with the one above still less than 5 s."""
RETRY_AFTER_MAX_S: Final = 60.0
"""A server may ask for longer; an agent comes back after this, for it may be needed."""
LASTED_S: Final = 1.0
"""A session that lived so long was a good one: the next attempt is at once again. A shorter one goes on with
the backoff, so that a server which accepts and then throws out is not hammered."""
PEERS_MAX: Final = 64

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def websocket_url(url: str) -> str:
    """The agents' WebSocket of the orchestrator at `url` (http, https, ws or wss, with or without the path).

    Raises: ValueError, with a sentence for people.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ValueError(f"{url!r} is not a URL") from None
    scheme = _SCHEMES.get(parts.scheme.lower())
    if scheme is None or not parts.hostname:
        raise ValueError(f"{url!r} is not the URL of an orchestrator, such as http://127.0.0.1:8080")
    if parts.username is not None:
        raise ValueError("the URL of an orchestrator holds no user name or password")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/")
    path = path if path.endswith(AGENTS_PATH) else path + AGENTS_PATH
    return urlunsplit((scheme, host if port is None else f"{host}:{port}", path, "", ""))


class Addresses:
    """The known orchestrators, the one that served last in front.

    After a good session: the same orchestrator at once, then it and the others in turn, each after a random
    part of a time that doubles from BACKOFF_FIRST_S to BACKOFF_MAX_S, or less (full jitter). A `Retry-After`
    holds for its own address, and keeps nobody from the others. Once an address in use is wss, none that is
    ws is taken from a server: the token would go in clear.
    """

    def __init__(self, urls: Sequence[str], chance: Callable[[], float] = random) -> None:
        self._configured = [websocket_url(url) for url in urls]
        self._order = list(dict.fromkeys(self._configured))
        self._chance = chance
        self._turn = 0
        self._failures = 0
        self._redirects = 0
        self._is_redirected = False
        self._not_before: dict[str, float] = {}

    @property
    def known(self) -> tuple[str, ...]:
        """All addresses, the next round's first in front."""
        return tuple(self._order)

    def next(self, now: float, *, is_holding: bool = False) -> tuple[str, float]:
        """The address to try now, and the seconds to wait before. `is_holding` says whether the agent holds
        work that a new leader waits for.

        Who asked to be left alone for longer than that is passed over while another may be tried; where none
        may, the one whose time comes first is next.
        """
        wait_s = 0.0
        if self._failures:
            longest_s = BACKOFF_HOLDING_MAX_S / len(self._order) if is_holding else BACKOFF_MAX_S
            if self._is_redirected:
                longest_s = BACKOFF_REDIRECTED_MAX_S
            wait_s = self._chance() * min(longest_s, BACKOFF_FIRST_S * 2.0 ** min(self._failures - 1, 16))
        turn = self._turn
        if not self._is_redirected:
            then = now + wait_s
            turn = min(range(turn, turn + len(self._order)), key=lambda turn: self._left_s(turn, then))
        self._is_redirected = False
        self._turn = turn + 1
        url = self._at(turn)
        # Counts as failed until a good session says otherwise.
        self._failures += 1
        return url, max(wait_s, self._not_before.pop(url, now) - now)

    def _at(self, turn: int) -> str:
        return self._order[turn % len(self._order)]

    def _left_s(self, turn: int, now: float) -> float:
        """How long its address is still to be left alone."""
        return max(0.0, self._not_before.get(self._at(turn), now) - now)

    def refused(self, url: str, retry_after_s: float, now: float) -> None:
        """`url` asked to be left alone for a while: it is, and a bit longer, so that not all come at once."""
        wait_s = min(max(retry_after_s, 0.0), RETRY_AFTER_MAX_S)
        self._not_before[url] = now + wait_s * (1 + 0.2 * self._chance())

    def welcomed(self, url: str, peers: Sequence[str]) -> None:
        """`url` serves this agent; `peers` are the orchestrators that it names, the leader first."""
        usable = [peer for peer in (redirect_target(url, peer) for peer in peers[:PEERS_MAX]) if peer]
        self._order = list(dict.fromkeys([url, *usable, *self._configured]))
        self._turn = self._redirects = 0
        self._not_before.clear()

    def ended(self, lasted_s: float, *, restarts: bool = False) -> None:
        """A session ended `lasted_s` after its welcome, or because the orchestrator said that it restarts.

        In the second case whoever leads next waits for what this agent holds, but not for long: however short
        the session was, the backoff starts over.
        """
        if lasted_s >= LASTED_S:
            self._failures = 0
        elif restarts:
            self._failures = min(self._failures, 1)

    def redirected(self, to: str, wait_s: float, now: float) -> None:
        """Go to `to` (from `redirect_target`) next, `wait_s` from now.

        The first two redirects without a welcome between them are followed at once; more look like two
        servers that name each other, and go on with the backoff, up to BACKOFF_REDIRECTED_MAX_S.
        """
        self._order = list(dict.fromkeys([to, *self._order]))[: PEERS_MAX + len(self._configured)]
        self._turn = 0
        self._is_redirected = True
        self._redirects += 1
        if self._redirects <= 2:
            self._failures = 0
        self._not_before[to] = now + max(wait_s, 0.0)


def redirect_target(url: str, to: str) -> str | None:
    """The WebSocket URL of `to`, as named by the orchestrator at `url`; None where not to be followed."""
    target = _usable(to)
    return None if target is None or _is_downgrade(url, target) else target


def _usable(url: str) -> str | None:
    try:
        return websocket_url(url)
    except ValueError:
        return None


def _is_downgrade(url: str, to: str) -> bool:
    return url.startswith("wss:") and not to.startswith("wss:")
