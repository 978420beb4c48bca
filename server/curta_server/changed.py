"""Which expressions changed, for those who look at this moment: the hub between the scheduler's turns and the
rooms of `GET /live`.

Touched by intake (stored), the dispatcher (loaded, handed out, committed, ended, cancelled) and, at a
follower, by what the leader tells. It carries no data: whoever looks reads again. What gathers is told to all
who look GATHER_S later; while nobody looks, nothing is gathered, and callers on the leader's path ask
`is_looked_at` first. What is missed all the same is found by the rooms' slow refresh.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from curta_server.core.events import (
    Commands,
    Drained,
    DurationSet,
    Event,
    Joined,
    Left,
    Loaded,
    Removed,
    Stored,
)  # fmt: skip

GATHER_S: Final = 0.025
GATHERED_MAX: Final = 10_000
"""Beyond so many, everything may have changed."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What changed: expressions with their owners (None: not known whose; an id "": not known which, but new
    in the lists), or `everything` that has to do with expressions; `durations` of operations."""

    expressions: Mapping[str, str | None]
    everything: bool
    durations: bool


Looker = Callable[[Touched], None]


class Changed:
    """One for the process. Lookers are called in the event loop and must not wait."""

    def __init__(self) -> None:
        self.is_looked_at = False
        self._lookers: list[Looker] = []
        self._watchers: list[Callable[[bool], None]] = []
        self._expressions: dict[str, str | None] = {}
        self._everything = False
        self._durations = False
        self._timer: asyncio.TimerHandle | None = None

    # --- who looks --------------------------------------------------------------------------------

    def look(self, looker: Looker) -> None:
        """Have `looker` told from now on."""
        self._lookers.append(looker)
        if not self.is_looked_at:
            self.is_looked_at = True
            self._tell_watchers()

    def look_away(self, looker: Looker) -> None:
        """Tell `looker` no more."""
        self._lookers.remove(looker)
        if not self._lookers:
            self.is_looked_at = False
            self._forget()
            self._tell_watchers()

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Have `watcher` called whenever somebody begins to look, and when nobody does any more."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[bool], None]) -> None:
        self._watchers.remove(watcher)

    def _tell_watchers(self) -> None:
        for watcher in list(self._watchers):
            watcher(self.is_looked_at)

    # --- what changed -----------------------------------------------------------------------------

    def touch(self, owner: str | None, expression: str) -> None:
        """The expression changed; `owner` None where it is not known whose it is."""
        if not self.is_looked_at:
            return
        if self._expressions.get(expression) is None:
            if len(self._expressions) >= GATHERED_MAX:
                self._everything = True
            else:
                self._expressions[expression] = owner
            self._tell_soon()

    def touch_new(self) -> None:
        """Expressions that are not known here were stored elsewhere."""
        self.touch(None, "")

    def touch_everything(self) -> None:
        """Any expression may have changed."""
        if self.is_looked_at:
            self._everything = True
            self._tell_soon()

    def touch_durations(self) -> None:
        """The duration of an operation was changed."""
        if self.is_looked_at:
            self._durations = True
            self._tell_soon()

    def turn(
        self, events: Sequence[Event], commands: Commands, owner_of: Callable[[str], str | None]
    ) -> None:
        """What a turn of the scheduler changed: its events and what came of them. To be called only while
        somebody looks; `owner_of` knows the expressions that left memory."""
        changed = {run.execution for runs in commands.pushes.values() for run in runs}
        for event in events:
            match event:
                case Stored(runs):
                    changed.update([run.execution for run in runs])
                case Loaded(execution, owner):
                    self.touch(owner, execution.id)
                case Joined() | Left() | Removed() | Drained() | DurationSet():
                    self.touch_everything()  # what waits for an agent, and for how long
        for execution in changed:
            self.touch(execution.user.name, execution.id)
        for expression in commands.dropped:
            self.touch(owner_of(expression), expression)
        if commands.lost:
            self.touch_everything()

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._tell)

    def _tell(self) -> None:
        touched = Touched(self._expressions, self._everything, self._durations)
        self._forget()
        for looker in list(self._lookers):
            looker(touched)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._expressions = {}
        self._everything = self._durations = False
