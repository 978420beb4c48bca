"""What the leader's memory says, for routes that need not know who leads: looked up here, or asked there.

Built by `app`, used by the API. Where the leader cannot be asked, the table's word stands, and this says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from curta_server.core.plan import Plan
from curta_server.leadership import Leader
from curta_server.line import Unanswered
from curta_server.notices import Topic
from curta_server.views import Progress, TaskState

NO_LEADER: Final = "no orchestrator leads at the moment"
NO_ANSWER: Final = "the leader cannot be asked at the moment"


@dataclass(frozen=True, slots=True)
class Memory:
    """What was found of some expressions: those that are in the leader's memory. `is_here` says that it is
    this process's; `away`, where nobody could be asked, is a sentence that says why. `journalled` counts the
    done tasks of those that run and are in nobody's memory, as far as the table was asked."""

    progress: Mapping[str, Progress] = field(default_factory=dict)
    journalled: Mapping[UUID, int] = field(default_factory=dict)
    is_here: bool = False
    away: str | None = None


class Here(Protocol):
    """What is asked of the dispatcher."""

    @property
    def leading(self) -> bool: ...

    def plan(self, expression: str) -> Plan | None: ...

    def progress(self, expression: str) -> Progress | None: ...

    def started(self) -> list[str]: ...

    def task_states(self, expression: str, tasks: Sequence[int]) -> dict[int, TaskState] | None: ...

    def cancelled(self, expression: str) -> None: ...

    def set_duration(self, operation: str, duration_ms: int) -> None: ...


class There(Protocol):
    """What is asked of `following`."""

    async def progress(self, expressions: Sequence[str]) -> dict[str, Progress]: ...

    async def started(self) -> list[str]: ...

    async def task_states(self, expression: str, tasks: Sequence[int]) -> dict[int, TaskState] | None: ...


class Leaders(Protocol):
    """What is asked of `leadership`."""

    @property
    def other(self) -> Leader | None: ...


class Sender(Protocol):
    """What is asked of `notices`."""

    def send(self, topic: Topic, detail: str = "") -> None: ...


class Leading:
    """The leader, wherever it is."""

    def __init__(self, here: Here, there: There, leadership: Leaders, notices: Sender) -> None:
        self._here = here
        self._there = there
        self._leadership = leadership
        self._notices = notices

    @property
    def is_here(self) -> bool:
        """Whether this process leads."""
        return self._here.leading

    @property
    def elsewhere(self) -> Leader | None:
        """Who leads, where it is another process."""
        return None if self._here.leading else self._leadership.other

    async def memory(self, expressions: Sequence[str]) -> Memory:
        """How far these are. Waits for the leader a second at most."""
        if self._here.leading:
            found = ((expression, self._here.progress(expression)) for expression in expressions)
            return Memory({id: progress for id, progress in found if progress is not None}, is_here=True)
        if self._leadership.other is None:
            return Memory(away=NO_LEADER)
        try:
            return Memory(await self._there.progress(expressions))
        except Unanswered:
            return Memory(away=NO_ANSWER)

    async def started(self) -> Sequence[str]:
        """The expressions that run, and whose rows may not say so yet. None where nobody can be asked: then
        nothing else shows them as running, either."""
        if self._here.leading:
            return self._here.started()
        if self._leadership.other is None:
            return ()
        try:
            return await self._there.started()
        except Unanswered:
            return ()

    def plan(self, expression: str) -> Plan | None:
        """The expression's plan, where it is in this process's memory."""
        return self._here.plan(expression)

    async def task_states(self, expression: str, tasks: Sequence[int]) -> Mapping[int, TaskState]:
        """The states of these tasks, as far as the leader's memory knows them."""
        if self._here.leading:
            return self._here.task_states(expression, tasks) or {}
        try:
            return await self._there.task_states(expression, tasks) or {}
        except Unanswered:
            return {}

    def cancelled(self, expression: str) -> None:
        """The expression was cancelled in the table: whoever leads stops its tasks at once, and whoever waits
        for its end is woken, here and elsewhere."""
        self._here.cancelled(expression)
        self._notices.send("cancelled", expression)

    def set_duration(self, operation: str, duration_ms: int) -> None:
        """The operation's duration was changed in the table: it counts from now on, whoever leads."""
        self._here.set_duration(operation, duration_ms)
        self._notices.send("operations", operation)
