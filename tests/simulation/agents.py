"""Agents as they are, good and bad: they compute exactly, keep results until these are acknowledged, come
back.

They follow docs/protocol.md word by word (the real agent's ledger: an attempt is open or has its result,
never both). Faults are done to them from outside: `freeze`, `forget`, `lie` and the like; only what they
send on their own attempts is always right, for wrong values are not detected and not promised to be.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from uuid import UUID

from curta_wire.codec import encode
from curta_wire.frames import (
    Ack,
    Assignment,
    Attempt,
    Bye,
    Cancel,
    Drain,
    Fault,
    Heartbeat,
    Hello,
    Redirect,
    Result,
    Results,
    Tasks,
    Welcome,
)
from tests.simulation.loops import Violation, World
from tests.simulation.network import Channel, Closing

if TYPE_CHECKING:
    from tests.simulation.orchestrators import Orchestrator

Key = tuple[str, int]

OPENING_S = 5.0
"""A connection that nobody answers is given up after this."""
WELCOME_S = 10.0
BYE_S = 5.0
SLOW_MAX_S = 60.0
"""A slow agent needs no more than so much longer: it is slow, and not lost."""


class Agent:
    """One agent process. `choose` names an orchestrator to try; it may be any, the leader or not."""

    def __init__(
        self,
        world: World,
        name: str,
        *,
        slots: int,
        operations: tuple[str, ...],
        token: UUID,
        choose: Callable[[], "Orchestrator"],
        promises: Any,
    ) -> None:
        self.world = world
        self.id = str(UUID(int=world.random.getrandbits(128), version=4))
        self.name = name
        self.slots = slots
        self.operations = operations
        self.token = token
        self.open: dict[Key, Any] = {}
        """The timers of what it computes."""
        self.results: dict[Key, Result] = {}
        self.former: list[Result] = []
        """The latest results that were acknowledged."""
        self.handed: dict[Key, float] = {}
        """When it read of each attempt that it holds."""
        self.channel: Channel | None = None
        self.is_here = False
        """Welcomed."""
        self.is_dead = False
        self.is_frozen = False
        self.is_leaving = False
        self.is_draining = False
        self.failing = 0.0
        self.slowness = 1.0
        self.is_deaf_once = False
        self.seen = 0
        self._choose = choose
        self._promises = promises
        self._missed: list[Callable[[], None]] = []
        self._backoff_s = 0.0
        self._heard_s = world.now
        self._beat_s = world.now
        self._flush_is_due = False
        self._try = 0
        world.at(world.between(0, 0.3), self._go)

    # --- its process --------------------------------------------------------------------------------

    def later(self, delay_s: float, do: Callable[..., None], *arguments: Any) -> Any:
        """A timer of its own: stands still while it is frozen, gone when it is dead."""

        def ring() -> None:
            if self.is_frozen:
                self._missed.append(ring)
            elif not self.is_dead:
                do(*arguments)

        return self.world.at(delay_s, ring)

    def freeze(self) -> None:
        self.is_frozen = True

    def thaw(self) -> None:
        self.is_frozen = False
        missed, self._missed = self._missed, []
        for do in missed:
            do()

    def die(self) -> None:
        """kill -9: what it held is gone, its socket is closed by its system."""
        self.is_dead = True
        channel, self.channel = self.channel, None
        if channel is not None:
            channel.leave(1006)

    # --- coming and going ---------------------------------------------------------------------------

    def _go(self) -> None:
        if self.channel is not None or self.is_leaving:
            return
        self.connect(self._choose())

    def connect(self, orchestrator: "Orchestrator") -> None:
        """Open a connection, beside another one if there is one."""
        channel = self.channel = Channel(self.world, self, orchestrator)
        self.is_here = False
        self._try += 1
        self.later(OPENING_S, self._give_up, channel)
        self.world.at(0.001, orchestrator.knock, channel)

    def _give_up(self, channel: Channel) -> None:
        if self.channel is channel and not self.is_here:
            self._again(channel)

    def refused(self, channel: Channel) -> None:
        """503, or nobody there."""
        self.later(0.0, self._refused, channel)

    def _refused(self, channel: Channel) -> None:
        if self.channel is channel:
            channel.is_broken = True
            self._again(channel)

    def accepted(self, channel: Channel) -> None:
        self.later(0.0, self._accepted, channel)

    def _accepted(self, channel: Channel) -> None:
        if self.channel is channel:
            channel.say(
                encode(
                    Hello(1, self.id, self.name, self.slots, self._held(), list(self.operations), "simulated")
                )
            )

    def lose(self, channel: Channel) -> None:
        """The connection broke."""
        self.later(0.0, self._lost, channel)

    def _lost(self, channel: Channel) -> None:
        if self.channel is channel:
            self._again(channel)

    def _again(self, channel: Channel) -> None:
        channel.leave(1006)
        self.channel = None
        self.is_here = False
        if self.is_leaving:
            self._stop()
            return
        self.later(self.world.between(0, self._backoff_s), self._go)
        self._backoff_s = min(5.0, max(0.2, 2 * self._backoff_s))

    def _stop(self) -> None:
        self.die()

    def bye(self) -> None:
        """Leave on purpose."""
        channel = self.channel
        if channel is None or not self.is_here or self.is_leaving:
            return
        self.is_leaving = True
        self._flush()
        channel.said_bye = True
        for timer in self.open.values():
            timer.cancel()
        self.open.clear()
        channel.say(encode(Bye()))
        self.later(BYE_S, self._stop)
        if not self.results:
            self._stop()

    # --- what it hears ------------------------------------------------------------------------------

    def hear(self, channel: Channel, frame: Any) -> None:
        if self.is_dead:
            return
        if self.is_frozen:
            self._missed.append(lambda: self.hear(channel, frame))
            return
        if channel is not self.channel:
            return
        self._heard_s = self.world.now
        kind = type(frame)
        if kind is Ack:
            self._acknowledged(frame)
        elif kind is Tasks:
            self._take(frame)
        elif kind is Cancel:
            self._cancel(frame)
        elif kind is Welcome:
            self._welcomed(frame)
        elif kind is Drain:
            self.is_draining = True
        elif kind is Redirect:
            self._redirected(channel, frame)
        elif kind is Closing:
            self._closed(channel, frame)

    def _welcomed(self, frame: Welcome) -> None:
        self.is_here = True
        self.is_draining = False
        self._backoff_s = 0.0
        self.seen = 0
        for one in frame.drop:
            self._forget((one.task, one.attempt))
        self._send_results(list(self.results.values()))
        self._beat_s = self.world.now
        self.later(frame.heartbeat_s, self._rhythm, self.channel, frame.heartbeat_s, frame.idle_heartbeat_s)
        self._lease_s = frame.lease_s

    def _redirected(self, channel: Channel, frame: Redirect) -> None:
        channel.leave()
        self.channel = None
        self.is_here = False
        target = self._promises.orchestrator_at(frame.url)
        if target is None:
            self.later(0.2, self._go)
        else:
            self.later(0.001, self._follow, target)

    def _follow(self, target: "Orchestrator") -> None:
        if self.channel is None and not self.is_leaving:
            self.connect(target)

    def _closed(self, channel: Channel, closing: Closing) -> None:
        if closing.code in (4001, 4002, 4003):
            self.world.note(self.name, "stops", closing.code)
            self._stop()
        elif closing.code in (1003, 1007, 1008, 1009, 4000):
            raise Violation(f"{self.name} broke the protocol: {closing.code} {closing.reason}")
        else:
            self._again(channel)

    def _take(self, frame: Tasks) -> None:
        if self.is_deaf_once:
            self.is_deaf_once = False
            self.seen = frame.n
            self.world.note(self.name, "does not hear", *(f"{a.task[-6:]}#{a.attempt}" for a in frame.tasks))
            return
        for assignment in frame.tasks:
            key = (assignment.task, assignment.attempt)
            if key in self.open:
                continue
            if key in self.results:
                self._send_results([self.results[key]])
                continue
            duration_s = assignment.duration_ms / 1000
            delay_s = min(duration_s * self.slowness, duration_s + SLOW_MAX_S)
            self.open[key] = self.later(delay_s, self._finish, assignment)
            self.handed[key] = self.world.now
        self.seen = frame.n
        if len(self.open) > self.slots and self.id not in self._promises.liars:
            raise Violation(f"{self.name} holds {len(self.open)} tasks and has {self.slots} slots")

    def _cancel(self, frame: Cancel) -> None:
        answers = []
        for one in frame.tasks:
            key = (one.task, one.attempt)
            if key in self.results:
                answers.append(self.results[key])
            else:
                self._forget(key)
                answers.append(Result(one.task, one.attempt, error=Fault("cancelled")))
        self._send_results(answers)

    def _acknowledged(self, frame: Ack) -> None:
        for one in frame.tasks:
            key = (one.task, one.attempt)
            result = self.results.get(key)
            if result is not None:
                self._promises.acknowledged(self, result)
                self.former = [*self.former[-5:], result]
            self._forget(key)
        if self.is_leaving and not self.results:
            self._stop()

    def _forget(self, key: Key) -> None:
        self.results.pop(key, None)
        self.handed.pop(key, None)
        timer = self.open.pop(key, None)
        if timer is not None:
            timer.cancel()

    # --- what it does -------------------------------------------------------------------------------

    def _finish(self, assignment: Assignment) -> None:
        key = (assignment.task, assignment.attempt)
        if self.open.pop(key, None) is None:
            return
        if self.world.chance(self.failing):
            result = Result(*key, error=Fault("out_of_memory", "so it is"))
            self._promises.failed(self, assignment.task)
        else:
            value = computed(assignment.operation, *assignment.operands)
            if value is None:
                result = Result(*key, error=Fault("division_by_zero"))
            else:
                result = Result(*key, value)
        self.results[key] = result
        if not self._flush_is_due:
            self._flush_is_due = True
            self.later(0.0, self._flush)

    def _flush(self) -> None:
        """Send what was finished since the last time."""
        self._flush_is_due = False
        self._send_results([result for key, result in self.results.items() if key not in self._sent])

    @property
    def _sent(self) -> set[Key]:
        channel: Any = self.channel
        return set() if channel is None else channel.__dict__.setdefault("sent", set())

    def _send_results(self, results: list[Result]) -> None:
        if results and self.channel is not None and self.is_here:
            self._sent.update((result.task, result.attempt) for result in results)
            self.channel.say(encode(Results(results)))

    def _held(self) -> list[Attempt]:
        return [Attempt(*key) for keys in (self.open, self.results) for key in keys]

    def _rhythm(self, channel: Channel, busy_s: float, idle_s: float) -> None:
        """Beat, and notice silence."""
        if self.channel is not channel or not self.is_here:
            return
        now = self.world.now
        if now - self._heard_s > self._lease_s:
            self.world.note(self.name, "hears nothing")
            self._again(channel)
            return
        if now - self._beat_s >= (busy_s if self.open or self.results else idle_s) - 0.001:
            self.beat()
        self.later(busy_s, self._rhythm, channel, busy_s, idle_s)

    def beat(self, held: list[Attempt] | None = None) -> None:
        if self.channel is not None and self.is_here:
            self._beat_s = self.world.now
            self.channel.say(encode(Heartbeat(self._held() if held is None else held, self.seen)))

    # --- what goes wrong with it --------------------------------------------------------------------

    def forget_one(self) -> None:
        """An attempt goes astray in it."""
        if self.open:
            key = self.world.random.choice(list(self.open))
            self._promises.forgot(self, key[0])
            self._forget(key)

    def repeat(self) -> None:
        """Send again what was sent, and what was acknowledged before."""
        self._send_results([*self.results.values(), *self.former])

    def lie(self, key: Key, value: str) -> None:
        """A result for an attempt that was never in its hands."""
        if key not in self.open and key not in self.results and self.channel is not None and self.is_here:
            self.channel.say(encode(Results([Result(*key, value)])))


def computed(operation: str, a: str, b: str) -> str | None:
    """The exact value, None for a division by zero."""
    left, right = Fraction(a), Fraction(b)
    match operation:
        case "addition":
            return str(left + right)
        case "subtraction":
            return str(left - right)
        case "multiplication":
            return str(left * right)
    return str(left / right) if right else None
