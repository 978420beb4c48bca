"""Orchestrators: the real parts, put together as `curta_server.app` does, on a simulated loop, database and
network.

Real are leadership, notices, dispatcher (with scheduler, journal, loader, roster), the agents' sessions,
intake, planning, and the watch over revoked tokens. Left out are HTTP and the tokens themselves: requests
are calls here, whose answers may get lost.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from curta_server import agents, app, store
from curta_server.api import submissions
from curta_server.changes import Changes
from curta_server.core.events import Commands, Named
from curta_server.credentials import Credentials
from curta_server.dispatcher import Dispatcher
from curta_server.errors import Problem
from curta_server.feed import Feed
from curta_server.following import Unanswered
from curta_server.intake import Intake
from curta_server.known_tokens import Token
from curta_server.leadership import Leadership
from curta_server.leading import Leading
from curta_server.link import Link
from curta_server.notices import Notices
from curta_server.planning import Planned, Planning
from curta_server.presence import Presence
from curta_server.pulse import Pulse
from curta_server.settings import Settings
from curta_server.views import Progress, TaskState
from tests.simulation.database import Database
from tests.simulation.driver import Connection, Wire, connect
from tests.simulation.engines import Engine
from tests.simulation.loops import Loop, World
from tests.simulation.network import Channel
from tests.simulation.promises import Promises
from tests.simulation.statements import Handler

_SERVED: ContextVar[Channel] = ContextVar("_SERVED")
"""The connection that the running task serves."""


class SimulatedOffload:
    """Child processes without processes: the answer takes its time."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        await asyncio.sleep(self._world.between(0.001, 0.2))
        return function(*arguments)

    run_anyway = run  # which never refuses here


class _NoLine:
    """The connection to the leader, which a follower may always be without."""

    async def progress(self, expressions: Sequence[str]) -> dict[str, Progress]:
        raise Unanswered("it is not simulated")

    async def task_states(self, expression: str, tasks: Sequence[int]) -> dict[int, TaskState] | None:
        raise Unanswered("it is not simulated")


class _Watched(Dispatcher):
    """A dispatcher that is looked at after every turn."""

    def __init__(self, orchestrator: "Orchestrator", settings: Settings, **parts: Any) -> None:
        super().__init__(settings, **parts)
        self._orchestrator = orchestrator

    async def lead(self, epoch: int) -> None:
        self._orchestrator.promises.began(self._orchestrator, epoch)
        await super().lead(epoch)

    def join(self, link: Link, held: Sequence[Named]) -> None:
        super().join(link, held)
        self._orchestrator.promises.joined(_SERVED.get())

    def _perform(self, commands: Commands) -> None:
        super()._perform(commands)
        self._orchestrator.promises.after_turn(self._orchestrator)


class Orchestrator:
    """One orchestrator process, from its start to its end; the next one on the same machine is another."""

    def __init__(
        self,
        world: World,
        database: Database,
        catalogue: dict[Any, Handler],
        settings: Settings,
        promises: Promises,
        name: str,
        *,
        watches_tokens: bool,
    ) -> None:
        self.world = world
        self.database = database
        self.settings = settings
        self.promises = promises
        self.name = name
        self.url = f"http://{name}"
        self.id = UUID(int=world.random.getrandbits(128), version=4)
        self.loop = Loop(world, name)
        self.loop.owner = self
        self.wire = Wire(world, database, catalogue)
        self.channels: list[Channel] = []
        self.paused_s = 0.0
        self.naps: list[tuple[float, float]] = []
        """When it was stopped, and when it went on."""
        self.is_ending = False
        self.on_end: Callable[[], None] = lambda: None
        self._watches_tokens = watches_tokens
        self.dispatcher: Dispatcher
        self.main = self.loop.start(self._run(), name="main")

    # --- its process --------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Like app.serve."""
        settings = self.settings
        offload: Any = SimulatedOffload(self.world)
        pulse = Pulse("simulated", id=self.id)
        self._is_silent = pulse.is_silent
        engine: Any = self._engine(f"curta {self.id}", settings.pool_size, settings.statement_timeout_s)
        journal_engine: Any = self._engine(f"curta journal {self.id}", 1, 10.0)
        self.engine = engine
        self.feed = Feed()
        self.notices = Notices("simulated", id=self.id)
        self.leadership = Leadership(
            "simulated", id=self.id, url=self.url, on_term=lambda epoch: self.dispatcher.lead(epoch)
        )
        self.dispatcher = dispatcher = _Watched(
            self,
            settings,
            journal_engine=journal_engine,
            engine=engine,
            feed=self.feed,
            offload=offload,
            clock=self.leadership.clock,
            peers=lambda: presence.urls(),
        )
        presence = Presence(engine, id=self.id, url=self.url)
        changes = Changes(engine, dispatcher, self.feed)
        self.leading = Leading(dispatcher, _NoLine(), self.leadership, self.notices)
        self.intake = Intake(
            engine,
            hold=dispatcher.hold,
            on_stored=dispatcher.stored,
            on_waiting=lambda: self.notices.send("expressions"),
            changed=self.feed.changed,
            statement_timeout_s=settings.statement_timeout_s,
        )
        self.notices.listen("expressions", lambda _: dispatcher.wake_loader())
        self.notices.listen("cancelled", changes.cancelled)
        self.notices.listen("operations", changes.durations)
        self.planning = Planning(settings, offload)
        self.offload = offload
        parts: list[tuple[str, Coroutine[Any, Any, None]]] = [
            ("pulse", pulse.run()),
            ("notices", self.notices.run()),
            ("presence", presence.run(lambda: dispatcher.leading)),
            ("changes", changes.run()),
            ("intake", self.intake.run()),
        ]
        if self._watches_tokens:
            parts.append(("revocations", app._watch_revocations(dispatcher, Credentials(engine))))
        self._stop = asyncio.Event()
        async with asyncio.TaskGroup() as children:
            leading = children.create_task(self.leadership.run(), name="leadership")
            running = [children.create_task(part, name=name) for name, part in parts]
            await self._stop.wait()
            try:
                async with asyncio.timeout(app.RESIGN_S):
                    await dispatcher.resign()
            except TimeoutError:
                pass
            leading.cancel()
            await asyncio.sleep(self.world.between(0.0, 1.0))
            for child in running:
                child.cancel()
            asyncio.get_running_loop().call_later(app.FAREWELL_S, store.abandon, str(self.id))
        self.kill()

    def _engine(self, name: str, size: int, timeout_s: float) -> Engine:
        return Engine(
            self.wire,
            self.loop,
            self,
            name=name,
            pool_size=size,
            statement_timeout_s=timeout_s,
            is_silent=self._is_silent,
        )

    async def connect(self, name: str, statement_timeout_s: float) -> Connection:
        """What store.connect is for this process."""
        return await connect(self.wire, self.loop, self, name=name, statement_timeout_s=statement_timeout_s)

    def stop(self) -> None:
        """SIGTERM."""
        if not self.is_ending:
            self.is_ending = True
            self.loop.from_outside(self._stop.set)

    def kill(self) -> None:
        """kill -9; its system closes what it had open."""
        if self.loop.is_dead:
            return
        self.is_ending = True
        self.loop.die()
        for connection in list(self.wire.connections):
            connection.drop("killed")
        for channel in list(self.channels):
            channel.down.release()
            channel.cut()
        self.world.note(self.name, "is dead")
        self.world.at(0.0, self.on_end)

    def pause(self) -> None:
        """SIGSTOP."""
        if not self.loop.is_dead:
            self.loop.is_paused = True
            self.paused_s = self.world.now
            for connection in self.wire.connections:
                connection.client_stands_still()

    def resume(self) -> None:
        """SIGCONT."""
        if self.loop.is_paused:
            self.naps.append((self.paused_s, self.world.now))
            self.world.resume(self.loop)

    def slept_since(self, moment_s: float) -> float:
        """How long of the time since then it did not run."""
        return sum(max(0.0, end - max(begin, moment_s)) for begin, end in self.naps)

    @property
    def is_alive(self) -> bool:
        return not self.loop.is_dead and not self.loop.is_paused

    @property
    def leads(self) -> bool:
        """Whether it says that it leads, right or wrong."""
        return not self.loop.is_dead and hasattr(self, "dispatcher") and self.dispatcher.leading

    @property
    def epoch(self) -> int:
        term = self.dispatcher.term if hasattr(self, "dispatcher") else None
        return term.epoch if term is not None else 0

    # --- agents -------------------------------------------------------------------------------------

    def knock(self, channel: Channel) -> None:
        """An agent wants to connect: refused before the upgrade, or served."""
        if self.loop.is_dead:
            self.world.at(0.001, channel.agent.refused, channel)
        else:
            self.loop.call_soon(self._admit, channel)

    def _admit(self, channel: Channel) -> None:
        if not hasattr(self, "dispatcher"):
            self.world.at(0.001, channel.agent.refused, channel)
            return
        if self.leading.elsewhere is not None:
            self.loop.start(self._redirect(channel), name=f"redirecting {channel.agent.name}")
            return
        try:
            self.dispatcher.leader()
        except Problem:
            self.world.at(0.001, channel.agent.refused, channel)
        else:
            self.loop.start(self._serve(channel), name=f"session of {channel.agent.name}")

    async def _redirect(self, channel: Channel) -> None:
        async with self._connected(channel):
            await agents.redirect(
                channel, self.leading, self.settings.hello_timeout_s, contextlib.nullcontext()
            )

    async def _serve(self, channel: Channel) -> None:
        channel.served_s = self.world.now
        _SERVED.set(channel)
        token = Token(channel.agent.token, "agents", "agent", None)
        async with self._connected(channel):
            await agents.serve(channel, token, self.dispatcher, self.settings, self.offload)

    @contextlib.asynccontextmanager
    async def _connected(self, channel: Channel) -> AsyncIterator[None]:
        self.channels.append(channel)
        self.world.at(0.001, channel.agent.accepted, channel)
        try:
            yield
        finally:
            self.channels.remove(channel)
            if channel.ended_s is None:
                channel.ended_s = self.world.now
            await channel.close(1001, "")

    # --- requests -----------------------------------------------------------------------------------

    def request(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Somebody's request; its task belongs to this process and ends with it."""
        if self.loop.is_dead:
            coroutine.close()
        else:
            self.loop.start(coroutine, name="request")

    async def submit(
        self,
        text: str,
        owner: str,
        client_id: str | None,
        optimize: bool,
        seen: Callable[[Planned, Any], None],
    ) -> Any:
        """POST /expressions. Raises: Problem."""
        operations = self.database.tables["operations"]
        durations = tuple(
            operations[name] for name in ("addition", "subtraction", "multiplication", "division")
        )
        assert len(durations) == 4
        planned = await self.planning.plan(text, optimize, durations)
        draft = submissions._draft(owner, client_id, planned)
        seen(planned, draft)
        (insertion,) = await self.intake.submit([draft])
        return insertion

    async def cancel(self, expression: UUID, owner: str) -> str:
        """DELETE /expressions/{id}."""
        progress = self.dispatcher.progress(str(expression))
        async with self.engine.begin() as connection:
            outcome = await store.cancel_expression(
                connection,
                expression,
                owner=owner,
                tasks_done=None if progress is None else progress.done,
            )
        if outcome == "cancelled":
            self.leading.cancelled(str(expression))
        return outcome

    async def set_duration(self, operation: str, duration_ms: int) -> None:
        """PUT /operations/{name}."""
        async with self.engine.begin() as connection:
            await store.set_duration(connection, operation, duration_ms)
        self.leading.set_duration(operation, duration_ms)
