"""Where the simulation takes the place of the world: clock, dice, log and database of the orchestrator's
modules.

The modules say `time.monotonic()`, `random.uniform()`, `log.info()` and `store.connect()`, so it is enough
to give each of them other objects under these names; what asyncio needs comes from the loop. Installed once
for many histories, one after another, and taken out again.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from curta_server import intake, metrics, store
from curta_server.core.execution import Execution
from tests.simulation.driver import Connection
from tests.simulation.loops import Clock, Dice, Loop, World

_PACKAGES = ("curta_server", "curta_wire")


class _Log:
    """Stands where the modules have their loggers; tells the event log, if there is one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def _say(self, message: object, *arguments: object, **details: object) -> None:
        world = self._clock.world
        if world is not None and world.trace is not None:
            who = world.current.name if world.current is not None else "-"
            text = str(message) % arguments if arguments else str(message)
            world.note(who, text, *(f"{name}={value}" for name, value in details.items()))

    debug = info = warning = error = exception = _say


class _Metric:
    """Counts nothing: the real ones cost more than what they count."""

    def __getattr__(self, _: str) -> Any:
        return self

    def __call__(self, *_: object, **__: object) -> "_Metric":
        return self


class Seams:
    """Puts a history's world where the modules look for the real one."""

    def __init__(self) -> None:
        self._clock = Clock()

    def enter(self, world: World) -> None:
        """The history that begins."""
        self._clock.world = world
        intake._last_stamp = 0

    def leave(self) -> None:
        """The history is over; what it left behind has no time any more."""
        self._clock.world = None

    @contextmanager
    def installed(self) -> Iterator["Seams"]:
        """While the block runs the orchestrator's modules live in the simulation."""
        undo: list[tuple[Any, str, Any]] = []

        def put(place: Any, name: str, thing: object) -> None:
            undo.append((place, name, getattr(place, name)))
            setattr(place, name, thing)

        dice, log = Dice(self._clock), _Log(self._clock)
        metric = _Metric()
        for module in _modules():
            for name, thing in (("time", self._clock), ("random", dice), ("secrets", dice)):
                if getattr(module, name, None) is sys.modules[name]:
                    put(module, name, thing)
            if hasattr(module, "log"):
                put(module, "log", log)
        for name, kept in vars(metrics).items():
            if hasattr(kept, "collect") and not isinstance(kept, type):
                put(metrics, name, metric)
        put(store, "connect", _connect)
        put(store, "abandon", _abandon)
        # Otherwise by its address: a set of them would have another order in every run.
        put(Execution, "__hash__", _hash_of_id)
        try:
            yield self
        finally:
            for place, name, thing in reversed(undo):
                setattr(place, name, thing)


def _modules() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _PACKAGES:
            yield module


def _hash_of_id(execution: Execution) -> int:
    return int(execution.id.replace("-", ""), 16) & 0xFFFFFFFFFFFF


def _process() -> Any:
    """The orchestrator whose code runs just now."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    return loop.owner


async def _connect(url: str, *, name: str, statement_timeout_s: float) -> Connection:
    connection: Connection = await _process().connect(name, statement_timeout_s)
    return connection


def _abandon(id: str) -> None:
    _process().wire.abandon(id)
