"""The browsers' endpoint: `GET /live`, the handshake, and one viewer for each connection. Every orchestrator
serves it, whoever leads.

Who comes in is decided here, before the upgrade, by the same rules as requests: a bearer token, or the cookie
of a session from our own pages. The connection ends with the token or the session. What is shown is the
rooms'. `docs/live.md` says all of it for people.
"""

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from quart import Quart, Response, websocket

from curta_server import metrics
from curta_server.agent_source import AgentSource
from curta_server.api import answers
from curta_server.api.access import READERS, allow, bearer, scope_of
from curta_server.api.services import EXTENSION, Context
from curta_server.channel import DirectConnection, PeerGone
from curta_server.credentials import TokenEnded
from curta_server.errors import Problem
from curta_server.expression_sources import ExpressionSource, ExpressionsSource
from curta_server.live_messages import BEAT_S, PATH, SUBPROTOCOL
from curta_server.operation_source import OperationSource
from curta_server.rooms import Rooms
from curta_server.slices import Slices
from curta_server.sources import Maker
from curta_server.stats_source import StatsSource
from curta_server.viewers import Viewer
from curta_wire.codec import ProtocolError

if TYPE_CHECKING:
    from curta_server.api.services import Services
    from curta_server.known_tokens import Token

log = structlog.get_logger()

CLOSE_S: Final = 2.0
"""A browser that takes nothing gets no more time than this for the word that it is over."""

_ENDED: Final = 4001, "the session ended"


class Live:
    """The rooms of one orchestrator and the browsers in them."""

    def __init__(self, makers: dict[str, Maker], services: "Services") -> None:
        self.rooms = Rooms(makers, services.feed.changed)
        self.viewers: set[Viewer] = set()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.rooms.run(), name="rooms")
            tasks.create_task(self._beat(), name="beats")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            slices = Slices()
            for viewer in list(self.viewers):
                viewer.beat()
                await slices.turn()


def register(app: Quart, services: "Services") -> Live:
    """Add the endpoint to the application, which uses DirectConnection. What is returned is to be run."""
    context = cast("Context", app.extensions[EXTENSION])
    live = Live(makers(context), services)

    @app.websocket(PATH)
    async def look() -> Any:
        with ExitStack() as held:
            try:
                token = await admit(services)
                held.enter_context(context.gate.viewer(token))
            except Problem as problem:
                return answers.problem(problem)
            try:
                await websocket.accept(subprotocol=SUBPROTOCOL)
            except OSError:
                return None  # gone before it was let in
            await serve(DirectConnection.of(websocket), live, services, token)
        return None

    @app.get(PATH)
    @allow(*READERS)
    async def look_without_upgrade() -> Response:
        problem = Problem("malformed", f"This is a WebSocket with the subprotocol {SUBPROTOCOL}.")
        return answers.problem(problem)

    return live


def makers(context: Context) -> dict[str, Maker]:
    """What makes the sources, by the topic's first word."""
    return {
        "expressions": lambda subscribe, scope: ExpressionsSource(context.services, subscribe, scope),
        "expression": lambda subscribe, scope: ExpressionSource(context, subscribe, scope),
        "agents": lambda subscribe, scope: AgentSource(context.services.agent_board, subscribe, scope),
        "stats": lambda subscribe, scope: StatsSource(context.services.stats_board),
        "operations": lambda subscribe, scope: OperationSource(context.services.engine),
    }


async def admit(services: "Services") -> "Token":
    """In whose name it is. Raises: Problem 401, 403, 400 or 503, before the upgrade."""
    token = await bearer(services, websocket.headers)
    if token.role not in READERS:
        raise Problem("forbidden", f"A token of role {token.role} only computes; it has nothing to look at.")
    if SUBPROTOCOL not in websocket.requested_subprotocols:
        raise Problem("malformed", f"Ask for the subprotocol {SUBPROTOCOL}.")
    return token


async def serve(channel: DirectConnection, live: Live, services: "Services", token: "Token") -> None:
    """Serve one accepted connection until either side is gone."""
    viewer = Viewer(channel, live.rooms, scope_of(token))
    live.viewers.add(viewer)
    metrics.live_viewers.set(len(live.viewers))
    close: tuple[int, str] | None = None
    try:
        async with services.credentials.while_good(token):
            # In a task of its own: on Python 3.11 a group whose child failed leaves its task marked as being
            # cancelled, and the timeouts around it would let the cancellation through.
            close = await asyncio.create_task(_converse(viewer), name="viewer")
    except TokenEnded:
        close = _ENDED
    finally:
        live.viewers.discard(viewer)
        metrics.live_viewers.set(len(live.viewers))
        viewer.leave()
    if close is not None:
        await _close(channel, *close)


async def _converse(viewer: Viewer) -> tuple[int, str] | None:
    """Until the connection is over; the close that the browser is to be sent, None where it is gone."""
    close: tuple[int, str] | None = None
    try:
        async with asyncio.TaskGroup() as children:
            children.create_task(viewer.read(), name="read a browser")
            children.create_task(viewer.write(), name="write to a browser")
    except* ProtocolError as errors:
        refused = cast("ProtocolError", errors.exceptions[0])
        log.info("a browser is cut off", code=refused.code, reason=refused.reason)
        close = refused.code, refused.reason
    except* (PeerGone, OSError):
        pass
    return close


async def _close(channel: DirectConnection, code: int, reason: str) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await channel.close(code, reason)
    except (TimeoutError, OSError):
        pass
