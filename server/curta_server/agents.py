"""The agents' endpoint: `GET /agents/connect`, the handshake, and one session for each connection.

A session is two children that end only by raising: a reader that turns frames into events, and the outbox's
writer. It decides nothing; liveness is the scheduler's, which hears every frame. `Joined` comes first and
`Left` last, whatever happens in between, so that the grace for what the agent held can begin.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import structlog
from msgspec import UNSET
from quart import Quart, Response, websocket

from curta_server import values
from curta_server.api import answers
from curta_server.api.access import AGENTS, allow, secret_of, unauthorized
from curta_server.channel import Channel, DirectConnection, PeerGone
from curta_server.core.events import Answer, Answered, Beaten, Named
from curta_server.dispatcher import Dispatcher
from curta_server.errors import Problem, unavailable
from curta_server.outbox import Outbox, SessionEnded
from curta_server.roster import Guest
from curta_server.settings import Settings
from curta_wire import PROTOCOL, SUBPROTOCOL, numbers
from curta_wire.codec import ProtocolError, decode_from_agent
from curta_wire.frames import OPERATIONS, Bye, Heartbeat, Hello, Result, Results
from curta_wire.offload import Offload, OffloadError

if TYPE_CHECKING:
    from curta_server.api.services import Services
    from curta_server.credentials import Token

log = structlog.get_logger()

NAME_MAX = 200
RESULTS_PER_EVENT = 1_000
"""Longer frames become several events, so that a turn of the dispatcher may end between them."""


def register(app: Quart, services: "Services", offload: Offload) -> None:
    """Add the endpoint to the application."""
    app.asgi_websocket_class = DirectConnection
    dispatcher, settings = services.dispatcher, services.settings

    @app.websocket("/agents/connect")
    async def connect() -> Any:
        try:
            token = await admit(services)
        except Problem as problem:
            return answers.problem(problem)
        try:
            await websocket.accept(subprotocol=SUBPROTOCOL)
        except OSError:
            return None  # gone before it was let in
        await serve(DirectConnection.of(websocket), token, dispatcher, settings, offload)
        return None

    @app.get("/agents/connect")
    @allow(*AGENTS)
    async def without_upgrade() -> Response:
        problem = Problem("malformed", f"This is a WebSocket with the subprotocol {SUBPROTOCOL}.")
        return answers.problem(problem)


async def admit(services: "Services") -> "Token":
    """Whose token it is. Raises: Problem 401, 403, 400 or 503, before the upgrade."""
    token = await services.credentials.verify(secret_of(websocket.headers))
    if token is None:
        raise unauthorized("The token is unknown, revoked or expired.")
    if token.role != "agent":
        raise Problem(
            "forbidden", f"Only a token of role agent may connect; yours has the role {token.role}."
        )
    if SUBPROTOCOL not in websocket.requested_subprotocols:
        raise Problem("malformed", f"Ask for the subprotocol {SUBPROTOCOL}.")
    services.dispatcher.leader()
    if len(services.dispatcher.sessions()) >= services.settings.agents_max:
        raise unavailable("So many agents are connected that no more can be served.", 5)
    return token


class Session:
    """One connection of an agent that has said hello."""

    def __init__(self, number: int, guest: Guest, settings: Settings) -> None:
        self.number = number
        self.guest = guest
        self.outbox = Outbox(frame_bytes=settings.frame_bytes, ack_delay_s=settings.ack_delay_s)


async def serve(
    channel: Channel, token: "Token", dispatcher: Dispatcher, settings: Settings, offload: Offload
) -> None:
    """Serve one accepted connection until either side is gone; closes it with the code that says why."""
    try:
        hello = await receive_hello(channel, settings.hello_timeout_s)
        guest = introduce(hello, token, dispatcher, settings)
        session = Session(dispatcher.next_number(), guest, settings)
        dispatcher.join(session, [Named(one.task, one.attempt) for one in hello.held])
    except ProtocolError as error:
        log.warning("an agent was refused", token=token.name, code=error.code, reason=error.reason)
        await channel.close(error.code, error.reason)
        return
    except Problem as problem:
        await channel.close(1013, problem.detail)
        return
    except PeerGone:
        return
    log.info("agent connected", agent=guest.id, name=guest.name, slots=guest.slots, held=len(hello.held))
    why = "the connection is gone"
    try:
        async with asyncio.TaskGroup() as children:
            children.create_task(session.outbox.write(channel), name=f"write {guest.id}")
            children.create_task(
                read(channel, session, dispatcher, settings, offload), name=f"read {guest.id}"
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
    try:
        async with asyncio.timeout(timeout_s):
            frame = decode_from_agent(await channel.receive())
    except TimeoutError:
        raise ProtocolError(1008, f"no hello within {timeout_s:g} s") from None
    if not isinstance(frame, Hello):
        raise ProtocolError(1008, "the first frame must be a hello")
    return frame


def introduce(hello: Hello, token: "Token", dispatcher: Dispatcher, settings: Settings) -> Guest:
    """Who the agent is. Raises: ProtocolError where it may not come in."""
    if hello.protocol != PROTOCOL:
        raise ProtocolError(4000, f"this orchestrator speaks protocol {PROTOCOL}, not {hello.protocol}")
    try:
        agent = str(UUID(hello.agent))
    except ValueError:
        raise ProtocolError(1007, "malformed frame: `agent` is no UUID") from None
    if hello.slots < 1:
        raise ProtocolError(1007, "malformed frame: `slots` must be at least 1")
    if dispatcher.roster.is_kept_out(agent):
        raise ProtocolError(4003, "removed by an admin; it is not let in for a minute")
    present = dispatcher.current(agent)
    if present is not None and present.guest.token_id != str(token.id):
        raise ProtocolError(4002, "an agent with this UUID and another token is connected")
    offered = OPERATIONS if hello.operations is None else hello.operations
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


def printable(text: str) -> str:
    """A name as it can be stored and shown: cut, and without characters that are neither."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:NAME_MAX])


async def read(
    channel: Channel, session: Session, dispatcher: Dispatcher, settings: Settings, offload: Offload
) -> None:
    """Turn frames into events until the session ends; after a fault the writer closes, and ends it."""
    agent, number = session.guest.id, session.number
    while True:
        data = await channel.receive()
        try:
            frame = decode_from_agent(data)
        except ProtocolError as error:
            log.warning("malformed frame", agent=agent, code=error.code, reason=error.reason)
            session.outbox.close(error.code, error.reason)
            return
        match frame:
            case Results(results):
                for at in range(0, len(results), RESULTS_PER_EVENT):
                    some = results[at : at + RESULTS_PER_EVENT]
                    dispatcher.post(
                        Answered(agent, number, await judged(some, settings.value_digits_max, offload))
                    )
            case Heartbeat(held, seen):
                named = [Named(one.task, one.attempt) for one in held]
                dispatcher.post(Beaten(agent, number, named, session.outbox.seen(seen)))
            case Bye():
                dispatcher.say_bye(session)
            case Hello():
                session.outbox.close(1008, "a second hello")
                return


async def judged(results: list[Result], digits_max: int, checks: Offload) -> Sequence[Answer]:
    """Results as the scheduler takes them: as they are, where all are numbers of moderate length."""
    short = min(values.INLINE_DIGITS, digits_max)
    if all(
        (value := result.value) is not UNSET and len(value) <= short and numbers.is_number(value)
        for result in results
    ):
        # A result with a value has the shape of an Answer, and an `error` that is not true.
        return cast("Sequence[Answer]", results)
    return [await judge(answer_of(result), digits_max, checks) for result in results]


def answer_of(result: Result) -> Answer:
    """A wire result as the scheduler takes it."""
    if result.value is not UNSET:
        return Answer(result.task, result.attempt, result.value)
    assert result.error is not UNSET, "the codec lets no result through that has neither"
    code, message = printable(result.error.code), printable(result.error.message)
    return Answer(result.task, result.attempt, None, code or "unnamed", message)


async def judge(answer: Answer, digits_max: int, checks: Offload) -> Answer:
    """The answer, or the failure of an agent whose value is no number, or the result that it is too large."""
    if answer.value is None:
        return answer
    try:
        fault = await values.fault(answer.value, digits_max, checks)
    except OffloadError:
        # Nothing to check it with: believed like any value of an authenticated agent.
        return answer
    if fault == "too_large":
        message = f"a value has at most {digits_max:,} digits"
        return answer._replace(value=None, error=fault, message=message)
    if fault is not None:
        return answer._replace(value=None, error=fault, message="the value is not a number")
    return answer
