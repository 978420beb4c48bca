"""Everything that can be set on an orchestrator, with its default and its reason.

Each field is an environment variable `CURTA_<NAME IN CAPITALS>`; docs/settings.md lists them (a test holds
the two together). Units stand in the names.
"""

from dataclasses import dataclass, field
from ipaddress import ip_network
from urllib.parse import urlsplit

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings:
    database_url: str = field(default="", repr=False)
    """libpq's postgresql://…"""
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    """Where people reach this orchestrator; empty means http://host:port."""
    peer_url: str = ""
    """Where agents and other orchestrators reach this one; empty means the public URL."""
    tls_cert: str = ""
    tls_key: str = ""
    peer_ca: str = ""
    """Certificates (PEM) to trust where another orchestrator's peer URL is https; empty: the system's."""
    trusted_proxies: str = ""
    """Addresses and networks, separated by commas, whose forwarded headers are believed."""
    admin_token: str = field(default="", repr=False)
    agent_token: str = field(default="", repr=False)
    """Secrets (at least 32 characters) that become tokens on a fresh database."""

    text_bytes_max: int = 16 * MIB
    body_bytes_max: int = 64 * MIB
    tasks_max: int = 2_000_000
    literal_digits_max: int = 10_000
    batch_max: int = 10_000
    value_digits_max: int = 1_000_000
    values_bytes_max: int = 256 * MIB
    """All values of one expression together."""
    inline_text_bytes: int = 4096
    """Longer texts are parsed and planned in a child process: 4 KiB take about 15 ms, the loop's limit is 50
    ms."""

    submissions_per_s: float = 20_000.0
    """Expressions of one token: twice what one orchestrator is built to store, so that it slows down nobody
    but a client gone wild. Two seconds' worth may come at once."""
    open_expressions_max: int = 2_000_000
    """Of one user: queued and running."""
    waiting_per_token_max: int = 2_000
    """Requests that wait for something, of one token."""
    agents_per_token_max: int = 16_000
    """Fewer than `agents_max`: one token cannot shut out the others."""

    viewers_max: int = 10_000
    """Browsers that look on, each with one WebSocket."""
    viewers_per_token_max: int = 5_000

    http_connections_max: int = 10_000
    """Beside the agents' WebSockets."""
    header_bytes_max: int = 64 * 1024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    """A body has so long to come, an answer so long to be taken away."""
    keep_alive_s: float = 75.0
    """Longer than proxies keep theirs (60 s as a rule): who closes first cannot be told to try again."""
    stall_timeout_s: float = 30.0
    """A connection that takes nothing of what was written for it is dropped after so long."""
    bodies_bytes_max: int = 256 * MIB
    """All bodies and large answers in memory at once: four bodies of the largest size."""

    heartbeat_s: float = 2.0
    idle_heartbeat_s: float = 5.0
    lease_s: float = 10.0
    grace_s: float = 5.0
    pull_lease_s: float = 60.0
    hello_timeout_s: float = 10.0
    agents_max: int = 20_000
    slots_max: int = 5_000
    """Of one agent; a larger number in `hello` is cut to this. To take back all of them at once takes about
    30 ms."""
    frame_bytes: int = 1 * MIB
    """Frames are split where they grow beyond this; the protocol's own limit is 4 MiB."""

    limit_factor: float = 2.0
    limit_extra_s: float = 30.0
    """An attempt older than factor × its duration + extra gets a second one beside it."""
    failures_max: int = 3
    losses_max: int = 5
    """The third failure and the fifth loss of a task fail its expression."""
    recovery_quiet_s: float = 5.0
    recovery_max_s: float = 60.0
    """Recovered tasks wait until the agents are back, or no hello came for quiet_s, at most max_s."""

    loaded_tasks_max: int = 3_000_000
    loaded_expressions_max: int = 20_000
    loaded_bytes_max: int = 2048 * MIB
    """Of values in the leader's memory; what exceeds any of the three waits in the table."""
    journal_rows_max: int = 2_000
    """Of one commit."""
    journal_backlog_max: int = 10_000
    journal_backlog_bytes_max: int = 128 * MIB
    """Uncommitted results; beyond either no new task is handed out."""
    ack_delay_s: float = 0.05

    pool_size: int = 8
    """Connections for REST; journal, leadership and notices have their own."""
    statement_timeout_s: float = 30.0
    planners: int = 1
    """Child processes that parse and plan long texts."""
    keep_journal_days: float = 7.0
    keep_days: float = 0.0
    """Final expressions are deleted after so many days; 0 means never."""

    def __post_init__(self) -> None:
        """Raises: ValueError, with a sentence for people, for what would be ignored or go wrong later."""
        if self.tls_key and not self.tls_cert:
            raise ValueError("CURTA_TLS_KEY is set and CURTA_TLS_CERT is not; TLS needs both")
        for name in ("public_url", "peer_url"):
            url = getattr(self, name)
            if url and not _is_url(url):
                raise ValueError(f"CURTA_{name.upper()} must be http://host:port or https://…, not {url!r}")
        for proxy in self.trusted_proxies.split(",") if self.trusted_proxies else ():
            try:
                ip_network(proxy.strip())
            except ValueError:
                raise ValueError(
                    "CURTA_TRUSTED_PROXIES holds addresses and networks, such as 10.0.0.1 or 10.0.0.0/28; "
                    f"{proxy!r} is neither"
                ) from None


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
