"""What the leader's memory says to whoever asks: data only, made by the dispatcher, shown by the API.

Times are microseconds since 1970 UTC by the database's clock.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """An expression in memory. `waiting_for` is a sentence, or None while something runs."""

    status: str
    done: int
    running: int
    eta_s: float | None
    waiting_for: str | None
    started_at_us: int | None


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task in memory: `waiting ready running done failed cancelled`, and who has it."""

    state: str
    attempt: int | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    started_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """A task in an agent's hands."""

    task: str
    expression_id: str
    owner: str
    operation: str
    operands: tuple[str, str]
    started_at_us: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class AgentView:
    """An agent: `connected`, `draining` or `lost` (closed connections within their grace count as
    connected)."""

    id: str
    name: str
    slots: int
    operations: tuple[str, ...]
    status: str
    connected_at_us: int
    last_seen_s: float
    running: int
    """How many tasks are in its hands."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures for the metrics, of this moment."""

    leading: bool
    tasks: dict[str, int]
    agents: dict[str, int]
    slots_total: int
    slots_used: int
    expressions_loaded: int
    journal_backlog: int
