"""Everything that can be set on an orchestrator, with its default and its reason.

Each field is an environment variable `CURTA_<NAME IN CAPITALS>`; docs/settings.md lists them (a test holds
the two together). Units stand in the names.
"""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings:
    database_url: str = ""
    """libpq's postgresql://…"""
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    """Where people reach this orchestrator; empty means http://host:port."""
    peer_url: str = ""
    """Where agents and other orchestrators reach this one; empty means the public URL."""
    tls_cert: str = ""
    tls_key: str = ""
    trusted_proxies: str = ""
    """Addresses, separated by commas, whose forwarded headers are believed."""
    admin_token: str = ""
    agent_token: str = ""
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

    heartbeat_s: float = 2.0
    idle_heartbeat_s: float = 5.0
    lease_s: float = 10.0
    grace_s: float = 5.0
    pull_lease_s: float = 60.0
    hello_timeout_s: float = 10.0
    agents_max: int = 20_000
    slots_max: int = 100_000
    """Of one agent; a larger number in `hello` is cut to this."""
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
    retry_after_s: int = 1
