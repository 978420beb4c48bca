"""The leader's side of the live connections: `GET /peers/connect`, one connection for each follower.

Answers what followers ask of the leader's memory, and tells each of them which expressions became final. Who
shows the term's secret is an orchestrator: only they can read it (in the table). Decides nothing.
"""

import asyncio
import hmac
from typing import TYPE_CHECKING, Any, Final

import structlog
from quart import Quart, websocket

from curta_server import metrics
from curta_server.agent_pages import live_page
from curta_server.api import answers
from curta_server.api.access import secret_of, unauthorized
from curta_server.changed import Changed as Hub
from curta_server.changed import Touched
from curta_server.channel import Channel, DirectConnection, PeerGone
from curta_server.dispatcher import Dispatcher
from curta_server.errors import Problem, unavailable
from curta_server.leadership import Leader
from curta_server.peer_frames import (
    BEAT_S,
    CHANGED_MAX,
    FINALS_MAX,
    SILENCE_S,
    STARTED_MAX,
    SUBPROTOCOL,
    AgentsFound,
    AskAgents,
    AskProgress,
    AskStarted,
    AskStats,
    AskTasks,
    Beat,
    Changed,
    Finals,
    LeaderFrame,
    Malformed,
    ProgressFound,
    StartedFound,
    StatsFound,
    TasksFound,
    Watch,
    decode_from_follower,
    encode,
)
from curta_server.slices import Slices
from curta_server.views import Progress, TaskState

if TYPE_CHECKING:
    from curta_server.api.services import Services

log = structlog.get_logger()

FOLLOWERS_MAX: Final = 64
WAITING_FINALS_MAX: Final = 100_000
"""A follower that is so far behind is cut off; it comes back and looks into the table."""

CHANGED_EVERY_S: Final = 0.1
"""A follower hears of changes no more often."""


class FollowerEnded(Exception):
    """The connection is given up; the message says why."""


def register(app: Quart, services: "Services") -> None:
    """Add the endpoint to the application, which uses DirectConnection."""
    connected: set[Follower] = set()

    @app.websocket("/peers/connect")
    async def follow() -> Any:
        try:
            leader = admit(services)
            if len(connected) >= FOLLOWERS_MAX:
                raise unavailable("So many orchestrators follow that no more can be served.", 5)
        except Problem as problem:
            return answers.problem(problem)
        follower = Follower(DirectConnection.of(websocket), services.dispatcher, services.feed.changed)
        # From before the handshake's end: the follower takes itself for informed from then on.
        with services.feed.listening(follower.note_final):
            try:
                await websocket.accept(subprotocol=SUBPROTOCOL)
            except OSError:
                return None  # gone before it was let in
            connected.add(follower)
            metrics.followers.inc()
            try:
                await serve(follower, services, leader)
            finally:
                metrics.followers.dec()
                connected.remove(follower)
        return None


def admit(services: "Services") -> Leader:
    """The term in which the caller is a follower. Raises: Problem 401, 400 or 503, before the upgrade."""
    secret = secret_of(websocket.headers)
    leader = services.leadership.leader
    if leader is None or leader.id != services.leadership.id or not services.dispatcher.leading:
        raise unavailable("This orchestrator does not lead.")
    if not hmac.compare_digest(secret.encode(), leader.secret.encode()):
        raise unauthorized("This is not the secret of the leader's term.")
    if SUBPROTOCOL not in websocket.requested_subprotocols:
        raise Problem("malformed", f"Ask for the subprotocol {SUBPROTOCOL}.")
    return leader


async def serve(follower: "Follower", services: "Services", leader: Leader) -> None:
    """Serve one follower until either side is gone or the term is over."""
    log.info("a follower is connected")
    why = "the connection is gone"
    try:
        async with asyncio.TaskGroup() as children:
            children.create_task(follower.read(), name="read a follower")
            children.create_task(follower.write(), name="write to a follower")
            children.create_task(follower.tell_changes(), name="tell a follower of changes")
            children.create_task(_until_over(services, leader), name="the term's end")
    except* (FollowerEnded, PeerGone, Malformed, OSError) as ended:
        why = str(ended.exceptions[0])
    log.info("a follower is gone", why=why)


async def _until_over(services: "Services", leader: Leader) -> None:
    await services.leadership.other_than(leader)
    raise FollowerEnded("the term is over")


class Follower:
    """One follower's connection. Bounded: one ask at a time is answered, ends gather up to a limit."""

    def __init__(self, channel: Channel, dispatcher: Dispatcher, changed: Hub) -> None:
        self._channel = channel
        self._dispatcher = dispatcher
        self._changed = changed
        self._watches = False
        self._touched: dict[str, str | None] = {}
        self._is_any_touched = False
        self._has_changes = asyncio.Event()
        self._finals: list[str] = []
        self._wake = asyncio.Event()

    def note_final(self, expression: str) -> None:
        """The expression ended; the follower is told soon. Never waits."""
        if len(self._finals) <= WAITING_FINALS_MAX:
            self._finals.append(expression)
        self._wake.set()

    async def read(self) -> None:
        """Answer asks. Raises: FollowerEnded, PeerGone, Malformed, OSError."""
        slices = Slices()
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    data = await self._channel.receive()
            except TimeoutError:
                raise FollowerEnded(f"nothing was heard for {SILENCE_S:g} s") from None
            match decode_from_follower(data):
                case AskProgress(n, expressions):
                    await self._send(ProgressFound(n, self._progress(expressions)))
                case AskStarted(n):
                    await self._send(StartedFound(n, self._dispatcher.started()[:STARTED_MAX]))
                case AskTasks(n, expression, tasks):
                    await self._send(TasksFound(n, self._task_states(expression, tasks)))
                case AskAgents(n, after, limit):
                    await self._send(AgentsFound(n, await live_page(self._dispatcher, after, limit)))
                case AskStats(n, epoch, after_us):
                    await self._send(StatsFound(n, self._dispatcher.recent(epoch, after_us)))
                case Watch(on):
                    self._watch(on)
            await slices.turn()

    def _progress(self, expressions: list[str]) -> dict[str, Progress]:
        found = {}
        for expression in expressions:
            progress = self._dispatcher.progress(expression)
            if progress is not None:
                found[expression] = progress
        return found

    def _task_states(self, expression: str, tasks: list[int]) -> dict[int, TaskState] | None:
        plan = self._dispatcher.plan(expression)
        if plan is None:
            return None
        return self._dispatcher.task_states(expression, [task for task in tasks if task < len(plan)])

    # --- what changes ------------------------------------------------------------------------------

    def _watch(self, on: bool) -> None:
        if on and not self._watches:
            self._changed.look(self._note)
        elif self._watches and not on:
            self._changed.look_away(self._note)
        self._watches = on

    def _note(self, touched: Touched) -> None:
        self._is_any_touched = self._is_any_touched or touched.everything
        self._touched.update(touched.expressions)
        if len(self._touched) > CHANGED_MAX:
            self._is_any_touched = True
        if self._is_any_touched:
            self._touched.clear()
        if self._touched or self._is_any_touched:
            self._has_changes.set()

    async def tell_changes(self) -> None:
        """Tell of changes while the follower watches. Raises: FollowerEnded, OSError."""
        try:
            while True:
                await self._has_changes.wait()
                self._has_changes.clear()
                touched, self._touched = self._touched, {}
                is_any, self._is_any_touched = self._is_any_touched, False
                await self._send(Changed([(owner, id) for id, owner in touched.items()], is_any))
                await asyncio.sleep(CHANGED_EVERY_S)
        finally:
            self._watch(False)

    # --- ends -------------------------------------------------------------------------------------

    async def write(self) -> None:
        """Tell of ends, and beat where there are none. Raises: FollowerEnded, OSError."""
        while True:
            try:
                async with asyncio.timeout(BEAT_S):
                    await self._wake.wait()
            except TimeoutError:
                await self._send(Beat())
            self._wake.clear()
            while self._finals:
                if len(self._finals) > WAITING_FINALS_MAX:
                    raise FollowerEnded("it is too slow")
                some, self._finals = self._finals[:FINALS_MAX], self._finals[FINALS_MAX:]
                await self._send(Finals(some))

    async def _send(self, frame: LeaderFrame) -> None:
        try:
            async with asyncio.timeout(SILENCE_S):
                await self._channel.send(encode(frame))
        except TimeoutError:
            raise FollowerEnded("it does not read") from None
