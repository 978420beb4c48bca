"""The follower's side of the live connection: what the leader's memory says, and which expressions ended.

Run by `app` for the life of the process; connects to whoever else leads, and does nothing while this process
leads itself. `leading` asks here on behalf of the routes. The connection is a convenience: without it what
the table says is shown, and waiting requests learn of an end by a slow poll.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from curta_server import metrics, store
from curta_server.agent_pages import Place
from curta_server.feed import Feed
from curta_server.leadership import Leader
from curta_server.line import Line, LineEnded, Unanswered
from curta_server.peer_frames import (
    EXPRESSIONS_MAX,
    FRAME_BYTES_MAX,
    PATH,
    SILENCE_S,
    SUBPROTOCOL,
    AskAgents,
    AskProgress,
    AskStarted,
    AskStats,
    AskTasks,
    FollowerFrame,
    Malformed,
)
from curta_server.views import AgentsView, Progress, Recent, TaskState

log = logging.getLogger(__name__)

OPEN_S: Final = 3.0
RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 1.0
POLL_S: Final = 1.0
"""While the leader does not tell which expressions ended, the table is asked so often."""
POLL_IDS: Final = 1_000

# The library writes tracebacks for what is an ordinary event here.
_quiet: Final = logging.getLogger("curta.peer.websocket")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


class _Connect(connect):
    """`connect` that follows no HTTP redirect: the term's secret is for the leader alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Leaders(Protocol):
    """What is asked of `leadership`."""

    @property
    def leader(self) -> Leader | None: ...

    @property
    def other(self) -> Leader | None: ...

    async def other_than(self, leader: Leader | None) -> Leader | None: ...


class Following:
    """The one connection to the leader, whoever that is."""

    def __init__(self, leadership: Leaders, feed: Feed, engine: AsyncEngine, tls: ssl.SSLContext) -> None:
        self._leadership = leadership
        self._feed = feed
        self._engine = engine
        self._tls = tls
        self._line: Line | None = None
        self._is_told = False
        """Whether whoever knows which expressions end tells this process's feed."""
        self._changed = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        return self._line is not None

    async def progress(self, expressions: Sequence[str]) -> dict[str, Progress]:
        """How far those are that are in the leader's memory. Raises: Unanswered."""
        found: dict[str, Progress] = {}
        for at in range(0, len(expressions), EXPRESSIONS_MAX):
            some = list(expressions[at : at + EXPRESSIONS_MAX])
            found |= await self._ask(lambda n, some=some: AskProgress(n, some))  # type: ignore[misc]
        return found

    async def started(self) -> list[str]:
        """The expressions that run, and whose rows may not say so yet. Raises: Unanswered."""
        found: list[str] = await self._ask(AskStarted)
        return found

    async def task_states(self, expression: str, tasks: Sequence[int]) -> dict[int, TaskState] | None:
        """The states of these tasks (at most TASKS_MAX); None where the expression is not in the leader's
        memory. Raises: Unanswered."""
        found: dict[int, TaskState] | None = await self._ask(lambda n: AskTasks(n, expression, list(tasks)))
        return found

    async def agents(self, after: Place | None, limit: int) -> AgentsView:
        """The leader's agents from this place on (at most AGENTS_MAX). Raises: Unanswered."""
        found: AgentsView = await self._ask(lambda n: AskAgents(n, after, limit))
        return found

    async def recent(self, epoch: int, after_us: int) -> Recent | None:
        """The last seconds, of this term those that are newer; None where the term is just over. Raises:
        Unanswered."""
        found: Recent | None = await self._ask(lambda n: AskStats(n, epoch, after_us))
        return found

    async def _ask(self, ask: Callable[[int], FollowerFrame]) -> Any:
        if self._line is None:
            raise Unanswered("there is no connection to the leader")
        return await self._line.ask(ask)

    async def run(self) -> None:
        """Follow whoever leads, until cancelled."""
        async with asyncio.TaskGroup() as children:
            children.create_task(self._follow(), name="follow the leader")
            children.create_task(self._catch_up(), name="catch up with the table")

    # --- the connection ---------------------------------------------------------------------------

    async def _follow(self) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            leader = self._leadership.other
            if leader is None:
                itself = self._leadership.leader
                self._tell(itself is not None)
                await self._leadership.other_than(itself)
                retry_s = RETRY_FIRST_S
                continue
            began = time.monotonic()
            try:
                # In a task of its own: on Python 3.11 a group whose child failed leaves its task marked as
                # being cancelled, and a later asyncio.timeout in it would let the cancellation through.
                async with asyncio.TaskGroup() as conversation:
                    conversation.create_task(self._converse(leader), name="leader's connection")
            except* (LineEnded, ConnectionClosed, Malformed) as ended:
                log.debug("no connection to the leader at %s: %s", leader.url, ended.exceptions[0])
            if time.monotonic() - began > SILENCE_S:
                retry_s = RETRY_FIRST_S
            await asyncio.sleep(random.uniform(0, retry_s))
            retry_s = min(RETRY_MAX_S, retry_s * 2)

    async def _converse(self, leader: Leader) -> None:
        """Raises: LineEnded, ConnectionClosed, Malformed; groups of those."""
        connection = await self._connect(leader)
        line = Line(connection, self._feed)
        try:
            if connection.subprotocol != SUBPROTOCOL:
                raise LineEnded("it is no orchestrator")
            with self._speaking(line):
                async with asyncio.TaskGroup() as children:
                    children.create_task(line.read(), name="read the leader")
                    children.create_task(line.write(), name="write to the leader")
                    children.create_task(self._until_another_than(leader), name="who leads")
        finally:
            connection.transport.abort()

    async def _connect(self, leader: Leader) -> ClientConnection:
        """Raises: LineEnded, also where the leader's URL is none."""
        try:
            url = websocket_url(leader.url)
            # The library takes `ssl` for a wss URL only.
            tls: dict[str, Any] = {"ssl": self._tls} if url.startswith("wss:") else {}
            return await _Connect(
                url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                additional_headers={"Authorization": f"Bearer {leader.secret}"},
                compression=None,
                ping_interval=None,
                proxy=None,
                max_size=FRAME_BYTES_MAX,
                open_timeout=OPEN_S,
                close_timeout=0.2,
                logger=_quiet,
                **tls,
            )
        except (OSError, WebSocketException, EOFError, ValueError, OverflowError) as error:
            raise LineEnded(str(error) or type(error).__name__) from None

    @contextmanager
    def _speaking(self, line: Line) -> Iterator[None]:
        self._line = line
        changed = self._feed.changed
        changed.watch(line.watch)
        if changed.is_looked_at:
            line.watch(True)
            changed.touch_everything()  # nobody told of what changed before
        self._tell(True)
        metrics.leader_connected.set(1)
        log.info("following the leader")
        try:
            yield
        finally:
            self._line = None
            changed.unwatch(line.watch)
            self._tell(False)
            metrics.leader_connected.set(0)
            line.give_up()

    async def _until_another_than(self, leader: Leader) -> None:
        """Raises: LineEnded as soon as somebody else leads. Nobody is not somebody: the database may be away
        for this process alone."""
        seen: Leader | None = leader
        while seen is None or seen == leader:
            seen = await self._leadership.other_than(seen)
        raise LineEnded("another one leads")

    # --- waiting requests -------------------------------------------------------------------------

    def _tell(self, is_told: bool) -> None:
        """Every change is a gap, in which an end may have been missed."""
        self._is_told = is_told
        self._changed.set()

    async def _catch_up(self) -> None:
        """After every gap, and now and then as long as it lasts, look up in the table what is waited for."""
        while True:
            self._changed.clear()
            is_known = await self._look_up()
            try:
                async with asyncio.timeout(None if is_known and self._is_told else POLL_S):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _look_up(self) -> bool:
        """Publish those of the watched expressions that are final; False where the database is away."""
        watched = self._feed.watched()
        try:
            for at in range(0, len(watched), POLL_IDS):
                async with self._engine.connect() as connection:
                    ids = map(UUID, watched[at : at + POLL_IDS])
                    for id in await store.final_statuses(connection, ids):
                        self._feed.publish_final(str(id))
        except Exception as error:
            if not store.is_outage(error):
                raise
            return False
        return True


def websocket_url(url: str) -> str:
    """The followers' WebSocket of the orchestrator at `url`, whose path may not be the root."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + PATH, "", ""))
