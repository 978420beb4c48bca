"""The gate after a restart: recovered tasks wait a while for the agents that may still hold them.

Owned by `liveness`, which says who came; pure time and names.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curta_server.core.scheduler import Rules


class Gate:
    """Closed while agents are expected that were connected when the last epoch ended."""

    def __init__(self, rules: "Rules", expected: Iterable[str], now: float) -> None:
        self._rules = rules
        self._expected = set(expected)
        self.since_s = now
        self._hello_s = now
        self.is_closed = bool(self._expected)

    def came(self, agent: str, now: float, *, says_hello: bool) -> None:
        """The agent is there. A hello lets more be hoped for; the requests of one that pulls do not."""
        self._expected.discard(agent)
        if says_hello:
            self._hello_s = now

    def open_in_time(self, now: float, *, is_anyone_arriving: bool = False) -> list[str] | None:
        """Open when all expected agents are back and nobody's hello is still being decided about, or none
        came for a while, or it takes too long, whatever the agents do: who never came; None while it stays as
        it is."""
        rules = self._rules
        is_overdue = now - self.since_s >= rules.recovery_max_s
        is_quiet = now - self._hello_s >= rules.recovery_quiet_s
        is_ready = not is_anyone_arriving and (not self._expected or is_quiet)
        if not self.is_closed or not (is_ready or is_overdue):
            return None
        self.is_closed = False
        # Whoever comes later is welcome, but the next restart need not wait for those who never do.
        missing, self._expected = sorted(self._expected), set()
        return missing
