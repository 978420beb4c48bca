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
class PassedOnTask:
    """A task that was taken from a lost agent. `state` is `waiting`, `running` or `done`."""

    task: str
    expression_id: str
    owner: str
    state: str


@dataclass(frozen=True, slots=True)
class PassedOnView:
    """What became of the tasks that were taken from a lost agent: `total` counts them all, the rest the first
    100. `done` are also those that nobody needs any more."""

    total: int
    waiting: int
    running: int
    done: int
    tasks: tuple[PassedOnTask, ...] = ()
    """Those that are counted; none from a leader of an earlier release."""


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
    passed_on: PassedOnView | None = None
    """Of a lost one."""


@dataclass(frozen=True, slots=True)
class BusyAgent:
    """An agent, and (some of) what it computes."""

    agent: AgentView
    runs: list[RunView]


@dataclass(frozen=True, slots=True)
class AgentsView:
    """Some agents by name; `is_more` says that others come after them."""

    agents: list[BusyAgent]
    is_more: bool


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the whole system, for the charts. Latencies are None where nothing happened."""

    at_us: int
    tasks_per_s: float
    commits_per_s: float
    ready: int
    running: int
    slots_used: int
    slots_total: int
    agents: int
    expressions: int
    dispatch_p50_ms: float | None
    dispatch_p99_ms: float | None
    journal_backlog: int


@dataclass(frozen=True, slots=True)
class Recent:
    """The last seconds of one term, oldest first."""

    epoch: int
    seconds: list[Second]


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
