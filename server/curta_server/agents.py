"""The agents' endpoint: `GET /agents/connect`, the handshake, and one session for each connection. A follower
sends them to the leader.

A session is two children that end only by raising: a reader that turns frames into events, and the outbox's
writer. It decides nothing; liveness is the scheduler's, which hears every frame. `Joined` comes first and
`Left` last, whatever happens in between, so that the grace for what the agent held can begin.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from quart import Quart, Response, websocket

from curta_server.api import answers
from curta_server.api.access import AGENTS, allow, bearer
from curta_server.api.services import context
from curta_server.channel import Channel, DirectConnection, PeerGone
from curta_server.credentials import TokenEnded
from curta_server.dispatcher import Dispatcher
from curta_server.errors import Problem, unavailable
from curta_server.hearing import decoded, named, read
from curta_server.outbox import Outbox, SessionEnded
from curta_server.roster import Guest
from curta_server.settings import Settings
from curta_server.values import printable
from curta_wire import PROTOCOL, SUBPROTOCOL
from curta_wire.codec import ProtocolError, encode, other_protocol
from curta_wire.frames import OPERATIONS, Hello, Redirect
from curta_wire.offload import Offload

if TYPE_CHECKING:
    from curta_server.api.services import Services
    from curta_server.known_tokens import Token
    from curta_server.leading import Leading

log = structlog.get_logger()

_REVOKED = 4001, "the token was revoked"

AHEAD_S = 0.2
"""So long a hello of an agent that is connected already is watched for the end of its connection."""

GO_S = 3.0
"""So long an agent that was redirected may take to close; then we do."""


def register(app: Quart, services: "Services", offload: Offload) -> None:
    """Add the endpoint to the application."""
    app.asgi_websocket_class = DirectConnection
    dispatcher, settings = services.dispatcher, services.settings

    @app.websocket("/agents/connect")
    async def connect() -> Any:
        with ExitStack() as held:
            try:
                token = await admit(services)
                held.enter_context(context().gate.socket(token))
            except Problem as problem:
                return answers.problem(problem)
            try:
                await websocket.accept(subprotocol=SUBPROTOCOL)
            except OSError:
                return None  # gone before it was let in
            channel = DirectConnection.of(websocket)
            # Whoever has said hello is ended by the dispatcher, which hands out again what it held.
            greeting = services.credentials.while_good(token)
            if services.leading.elsewhere is None:
                await serve(channel, token, dispatcher, settings, offload, greeting)
            else:
                await redirect(channel, services.leading, settings.hello_timeout_s, greeting)
        return None

    @app.get("/agents/connect")
    @allow(*AGENTS)
    async def without_upgrade() -> Response:
        problem = Problem("malformed", f"This is a WebSocket with the subprotocol {SUBPROTOCOL}.")
        return answers.problem(problem)


async def admit(services: "Services") -> "Token":
    """Whose token it is. Raises: Problem 401, 403, 400 or 503, before the upgrade."""
    token = await bearer(services, websocket.headers)
    if token.role != "agent":
        raise Problem(
            "forbidden", f"Only a token of role agent may connect; yours has the role {token.role}."
        )
    if SUBPROTOCOL not in websocket.requested_subprotocols:
        raise Problem("malformed", f"Ask for the subprotocol {SUBPROTOCOL}.")
    if services.leading.elsewhere is not None:
        return token
    services.dispatcher.leader()
    if len(services.dispatcher.links) >= services.settings.agents_max:
        raise unavailable("So many agents are connected that no more can be served.", 5)
    return token


async def redirect(
    channel: Channel, leading: "Leading", hello_timeout_s: float, greeting: AbstractAsyncContextManager[None]
) -> None:
    """Send an agent to the leader: in answer to its hello, as the protocol has it."""
    try:
        async with greeting:
            hello = await receive_hello(channel, hello_timeout_s)
        check_protocol(hello)
        leader = leading.elsewhere
        if leader is not None:
            log.info("redirecting an agent", agent=hello.agent[:36], to=leader.url)
            await channel.send(encode(Redirect(leader.url)))
            async with asyncio.timeout(GO_S):
                while True:
                    await channel.receive()
        await channel.close(1013, "another orchestrator leads; try again")
    except ProtocolError as error:
        await channel.close(error.code, error.reason)
    except TimeoutError:
        await channel.close(1013, "another orchestrator leads")
    except TokenEnded:
        await channel.close(*_REVOKED)
    except (PeerGone, OSError):
        pass


class Session:
    """One connection of an agent that has said hello."""

    def __init__(self, number: int, guest: Guest, settings: Settings) -> None:
        self.number = number
        self.guest = guest
        self.outbox = Outbox(frame_bytes=settings.frame_bytes, ack_delay_s=settings.ack_delay_s)


async def serve(
    channel: Channel,
    token: "Token",
    dispatcher: Dispatcher,
    settings: Settings,
    offload: Offload,
    greeting: AbstractAsyncContextManager[None] = nullcontext(),  # noqa: B008 (it has no state)
) -> None:
    """Serve one accepted connection until either side is gone; closes it with the code that says why.

    `greeting` is entered until the agent has said hello, and may raise TokenEnded meanwhile.
    """
    try:
        async with greeting:
            hello = await receive_hello(channel, settings.hello_timeout_s)
        held = await named(hello.held)
        check_protocol(hello)
        is_here = dispatcher.links.current(identity(hello)) is not None
        ahead = await read_ahead(channel) if is_here else None
        guest = introduce(hello, token, dispatcher, settings)
        session = Session(dispatcher.links.next_number(), guest, settings)
        dispatcher.join(session, held)
    except ProtocolError as error:
        log.warning("an agent was refused", token=token.name, code=error.code, reason=error.reason)
        await channel.close(error.code, error.reason)
        return
    except Problem as problem:
        await channel.close(1013, problem.detail)
        return
    except TokenEnded:
        await channel.close(*_REVOKED)
        return
    except PeerGone:
        return
    if guest.slots < hello.slots:
        log.warning(
            "an agent has more slots than it is served with; CURTA_SLOTS_MAX says how many",
            agent=guest.id,
            name=guest.name,
            slots=hello.slots,
            served=guest.slots,
        )
    log.info("agent connected", agent=guest.id, name=guest.name, slots=guest.slots, held=len(hello.held))
    why = "the connection is gone"
    try:
        async with asyncio.TaskGroup() as children:
            children.create_task(session.outbox.write(channel), name=f"write {guest.id}")
            children.create_task(
                read(channel, session, dispatcher, settings, offload, ahead), name=f"read {guest.id}"
            )
    except* SessionEnded as ended:
        why = str(ended.exceptions[0])
    except* (PeerGone, OSError) as lost:
        why = str(lost.exceptions[0])
    finally:
        dispatcher.leave(session)
        log.info("agent left", agent=guest.id, name=guest.name, why=why)


async def receive_hello(channel: Channel, timeout_s: float) -> Hello:
    """The first frame. Raises: ProtocolError."""
    until = asyncio.get_running_loop().time() + timeout_s
    frame = None
    while frame is None:  # a type that only later versions know
        try:
            async with asyncio.timeout_at(until):
                data = await channel.receive()
        except TimeoutError:
            raise ProtocolError(1008, f"no hello within {timeout_s:g} s") from None
        frame = await decoded(data, _nobody_waits)
    if not isinstance(frame, Hello):
        raise ProtocolError(1008, "the first frame must be a hello")
    return frame


def _nobody_waits() -> None:
    """Before its hello there is no agent that could be thought silent."""


async def read_ahead(channel: Channel) -> str | bytes | None:
    """What follows the hello within AHEAD_S, None where nothing does. Raises: PeerGone.

    A hello that was held up by the network may come after that of the agent's newer connection; what follows
    it then is the end of its own. It must not replace the newer session: with 4002 the agent would stop.
    """
    try:
        async with asyncio.timeout(AHEAD_S):
            return await channel.receive()
    except TimeoutError:
        return None


def check_protocol(hello: Hello) -> None:
    """Raises: ProtocolError where it speaks another protocol than ours."""
    if hello.protocol != PROTOCOL:
        raise other_protocol()


def identity(hello: Hello) -> str:
    """Its UUID, the same however it was written. Raises: ProtocolError."""
    try:
        return str(UUID(hello.agent))
    except ValueError:
        raise ProtocolError(1007, "malformed frame: `agent` is no UUID") from None


def introduce(hello: Hello, token: "Token", dispatcher: Dispatcher, settings: Settings) -> Guest:
    """Who the agent is. Raises: ProtocolError where it may not come in, Problem 503 where not yet."""
    agent = identity(hello)
    if hello.slots < 1:
        raise ProtocolError(1007, "malformed frame: `slots` must be at least 1")
    if dispatcher.roster.is_kept_out(agent):
        raise ProtocolError(4003, "removed by an admin; it is not let in for a minute")
    if dispatcher.roster.holder(agent) not in (None, str(token.id)):
        if dispatcher.links.current(agent) is not None:
            raise ProtocolError(4002, "an agent with this UUID and another token is connected")
        raise unavailable("an agent with this UUID and another token may come back; try again in a minute")
    offered = hello.operations or OPERATIONS
    return Guest(
        id=agent,
        name=printable(hello.name),
        token_id=str(token.id),
        owner=token.name,
        slots=min(hello.slots, settings.slots_max),
        operations=tuple(operation for operation in OPERATIONS if operation in offered),
        version=printable(hello.version),
        connected_us=dispatcher.now_us(),
    )
