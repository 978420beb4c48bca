"""Everything that can be set on an agent, with its default and its reason; docs/agents.md lists the same.

Built by the command line from flags and `CURTA_…` variables. Knows no environment and no files.
"""

import os
import socket
from dataclasses import dataclass, field
from typing import Final

from curta_agent.addresses import websocket_url
from curta_wire.frames import OPERATIONS

NAME_MAX: Final = 255
SLOTS_MAX: Final = 20_000
"""So that all attempts an agent holds fit into one heartbeat of at most 4 MiB."""


def _cores() -> int:
    return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """Raises: ValueError, with a sentence for people, where a value cannot be used."""

    urls: tuple[str, ...]
    """Orchestrators, `http://host:port` or `https://…` (also `ws`, `wss`), tried in this order."""
    token: str = field(repr=False)
    """A secret of role `agent`; also opens the agent's own HTTP port."""
    slots: int = field(default_factory=_cores)
    """How many tasks at once, 1 to SLOTS_MAX."""
    name: str = field(default_factory=socket.gethostname)
    """What people see in the list of agents; need not be unique."""
    operations: tuple[str, ...] | None = None
    """What it computes; None means all four."""
    ca: str = ""
    """A PEM file with the certificates to trust instead of the system's."""
    drain_s: float = 5.0
    """How long a stopping agent goes on with what it has begun."""
    http: str = ""
    """Own HTTP port, `port` (on 127.0.0.1) or `host:port`; empty means none."""

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("an agent needs the URL of at least one orchestrator")
        for url in self.urls:
            websocket_url(url)
        if not self.token or not self.token.isascii() or not self.token.isprintable():
            raise ValueError("an agent needs a token of printable ASCII characters")
        if not 1 <= self.slots <= SLOTS_MAX:
            raise ValueError(f"an agent has 1 to {SLOTS_MAX} slots, not {self.slots}")
        if not 1 <= len(self.name) <= NAME_MAX:
            raise ValueError(f"an agent's name has 1 to {NAME_MAX} characters")
        if self.drain_s < 0:
            raise ValueError("the time to drain cannot be negative")
        unknown = set(self.operations or ()) - set(OPERATIONS)
        if unknown:
            raise ValueError(f"unknown operation {min(unknown)!r}; there are {', '.join(OPERATIONS)}")
        if self.operations is not None and not self.operations:
            raise ValueError("an agent offers at least one operation")
        if self.http:
            self.http_address()

    def http_address(self) -> tuple[str, int]:
        """Host and port of `http`, which must not be empty. Raises: ValueError."""
        host, _, port = self.http.rpartition(":")
        if not port.isascii() or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f'the agent\'s own HTTP port is "port" or "host:port", not {self.http!r}')
        return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)
