"""What an agent says, turned into events: one frame after the other, until its session ends.

The reading half of a session, a child of `agents.serve`. It looks at values, and decides nothing. Sockets are
always read; where looking at a long value keeps the next frame waiting, the agent is not to suffer for it.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

import structlog
from msgspec import UNSET

from curta_server import values
from curta_server.channel import Channel
from curta_server.core.events import Answer, Answered, Beaten, Heard, Named
from curta_server.dispatcher import Dispatcher
from curta_server.settings import Settings
from curta_server.slices import Slices, turn
from curta_wire import numbers
from curta_wire.codec import ProtocolError, decode_from_agent
from curta_wire.frames import AgentFrame, Attempt, Bye, Heartbeat, Hello, Result, Results
from curta_wire.offload import Offload

if TYPE_CHECKING:
    from curta_server.agents import Session

log = structlog.get_logger()

RESULTS_PER_EVENT: Final = 1_000
"""Longer frames become several events, so that a turn of the dispatcher may end between them."""
LONG_FRAME: Final = 128 * 1024
"""Longer frames wait for their turn, whoever sent them: reading one of 4 MiB takes up to 30 ms."""
UNSETTLED_MAX: Final = 4_000
"""Results and held attempts of one session that may wait to be dealt with; then it is read on."""
HEARD_EVERY_S: Final = 0.25
"""So often it is said of an agent whose values are being looked at that it is not silent."""
BYE_S: Final = 6.0
"""Who said bye waits up to 5 s for its last ack, and closes; after a little more we do."""


async def read(
    channel: Channel,
    session: "Session",
    dispatcher: Dispatcher,
    settings: Settings,
    offload: Offload,
    ahead: str | bytes | None = None,
) -> None:
    """Turn frames into events until the session ends; after a fault the writer closes, and ends it.

    `ahead` is the first of them, where it has been read already.
    """
    agent, number = session.guest.id, session.number

    def hear() -> None:
        dispatcher.post(Heard(agent, number))

    channel.on_part = hear
    unsettled = 0
    while True:
        if unsettled > UNSETTLED_MAX:
            with repeated(hear):
                await dispatcher.settled()
            unsettled = 0
        data = await channel.receive() if ahead is None else ahead
        ahead = None
        try:
            frame = await decoded(data, hear)
        except ProtocolError as error:
            log.warning("malformed frame", agent=agent, code=error.code, reason=error.reason)
            session.outbox.close(error.code, error.reason)
            return
        match frame:
            case Results(results):
                slices = Slices()
                for at in range(0, len(results), RESULTS_PER_EVENT):
                    some = results[at : at + RESULTS_PER_EVENT]
                    answers = plain(some, settings.value_digits_max)
                    if answers is None:
                        with repeated(hear):
                            answers = await judged(some, settings.value_digits_max, offload)
                    dispatcher.post(Answered(agent, number, answers))
                    unsettled += 1 + len(answers)
                    await slices.turn()
            case Heartbeat(held, seen):
                dispatcher.post(Beaten(agent, number, await named(held), session.outbox.seen(seen)))
                unsettled += 1 + len(held)
            case Bye():
                dispatcher.say_bye(session)
                session.outbox.close_after(BYE_S, 1000, "it said bye")
            case Hello():
                session.outbox.close(1008, "a second hello")
                return


async def decoded(data: str | bytes, hear: Callable[[], None]) -> AgentFrame | None:
    """What `decode_from_agent` says, which takes a turn where the frame is long; `hear` is called now and
    then meanwhile. Raises: ProtocolError."""
    if len(data) <= LONG_FRAME:
        return decode_from_agent(data)
    with repeated(hear):
        await turn()
        frame = decode_from_agent(data)
        await turn()
    return frame


async def named(held: Sequence[Attempt]) -> Collection[Named]:
    """Held attempts as the scheduler takes them, each once; however many, the event loop is not held."""
    slices = Slices()
    found: dict[Named, None] = {}
    for at in range(0, len(held), RESULTS_PER_EVENT):
        some = [Named(one.task, one.attempt) for one in held[at : at + RESULTS_PER_EVENT]]
        found.update(dict.fromkeys(some))
        await slices.turn()
    return found


@contextmanager
def repeated(hear: Callable[[], None]) -> Iterator[None]:
    """Call it every HEARD_EVERY_S while the block runs."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def again() -> None:
        if timers:
            hear()
        timers[:] = [loop.call_later(HEARD_EVERY_S, again)]

    again()
    try:
        yield
    finally:
        timers.pop().cancel()


# --- values ---------------------------------------------------------------------------------------


def plain(results: Sequence[Result], digits_max: int) -> Sequence[Answer] | None:
    """Results as the scheduler takes them, where all are numbers of moderate length; else None."""
    short = min(values.INLINE_DIGITS, digits_max)
    is_number = numbers.is_number
    for result in results:
        value = result.value
        if value is UNSET or len(value) > short or not is_number(value):
            return None
    # A result with a value has the shape of an Answer, and an `error` that is not true.
    return cast("Sequence[Answer]", results)


async def judged(results: Sequence[Result], digits_max: int, checks: Offload) -> Sequence[Answer]:
    """Results as the scheduler takes them, whatever they are."""
    slices = Slices()
    answers: list[Answer] = []
    for result in results:
        answers.append(await judge(answer_of(result), digits_max, checks))
        await slices.turn()
    return answers


def answer_of(result: Result) -> Answer:
    """A wire result as the scheduler takes it."""
    if result.value is not UNSET:
        return Answer(result.task, result.attempt, result.value)
    assert result.error is not UNSET, "the codec lets no result through that has neither"
    code, message = values.printable(result.error.code), values.printable(result.error.message)
    return Answer(result.task, result.attempt, None, code or "unnamed", message)


async def judge(answer: Answer, digits_max: int, checks: Offload) -> Answer:
    """The answer, or the failure of an agent whose value is no number, or the result that it is too large."""
    if answer.value is None:
        return answer
    fault = await values.fault(answer.value, digits_max, checks.run_anyway)
    if fault == "too_large":
        message = f"a value has at most {digits_max:,} digits"
        return answer._replace(value=None, error=fault, message=message)
    if fault is not None:
        return answer._replace(value=None, error=fault, message="the value is not a number")
    return answer
