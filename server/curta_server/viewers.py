"""One browser on `GET /live`: what it subscribed to, and how its messages reach it.

Rooms push what is new, which is written at once while the browser takes what it gets. When it does not, its
subscriptions are behind, and one writer brings them up to date as soon as it reads again: by the messages
that the room still keeps, else by a fresh snapshot. So a slow browser costs nothing but its place, and a room
never waits for it. Made by `live` for each connection.
"""

import asyncio
from typing import Any, Final, cast

import msgspec

from curta_server import metrics
from curta_server.channel import Channel, frame_of
from curta_server.errors import Problem
from curta_server.live_messages import Beat, BrowserMessage, LiveError, Subscribe, Unsubscribe
from curta_server.rooms import Room, Rooms
from curta_wire.codec import ProtocolError

SUBSCRIPTIONS_MAX: Final = 16
MESSAGE_BYTES_MAX: Final = 64 * 1024

_decoder: Final[msgspec.json.Decoder[BrowserMessage]] = msgspec.json.Decoder(BrowserMessage)
_encoder: Final = msgspec.json.Encoder()
_CODES: Final = frozenset(
    {"malformed", "forbidden", "not_found", "unprocessable", "too_many_requests", "unavailable"}
)


class _AnyMessage(msgspec.Struct):
    """What is looked at in a message that does not fit."""

    type: str = ""
    topic: Any = ""


_any_decoder: Final = msgspec.json.Decoder(_AnyMessage)
BEAT: Final = frame_of(_encoder.encode(Beat()))


class Subscription:
    """A browser in a room. `seq` is the last message that it was sent, None before its snapshot."""

    __slots__ = ("_viewer", "room", "seq", "topic")

    def __init__(self, viewer: "Viewer", topic: str) -> None:
        self._viewer = viewer
        self.topic = topic
        self.room: Room | None = None
        self.seq: int | None = None

    def push(self, seq: int, frame: bytes) -> None:
        """From the room: its next message."""
        if self.seq is not None and self.seq >= seq:
            return  # its snapshot was newer
        if self.seq == seq - 1 and self._viewer.put(frame):
            self.seq = seq
        else:
            self._viewer.lag(self)

    def ended(self, problem: Problem) -> None:
        """From the room: it is no more."""
        self._viewer.lost(self, problem)

    def next_frame(self) -> bytes | None:
        """What it has to be sent next; None where it is up to date, or its room is not ready."""
        room = self.room
        if room is None or not room.is_filled or self.seq == room.seq:
            return None
        frame = None if self.seq is None else room.after(self.seq)
        if frame is not None and self.seq is not None:
            self.seq += 1
            return frame
        if self.seq is not None:
            metrics.live_lagging.inc()
        self.seq = room.seq
        return room.snapshot()


class Viewer:
    """A connection. `scope` is the name of the user whose things it may see, None for everybody's."""

    def __init__(self, channel: Channel, rooms: Rooms, scope: str | None) -> None:
        self._channel = channel
        self._rooms = rooms
        self._scope = scope
        self._subscriptions: dict[str, Subscription] = {}
        self._behind: dict[Subscription, None] = {}
        self._errors: dict[str, LiveError] = {}
        """Of rooms that ended, by topic; not sent yet."""
        self._wake = asyncio.Event()

    # --- from the browser -------------------------------------------------------------------------

    async def read(self) -> None:
        """Take what the browser says. Raises: PeerGone, ProtocolError."""
        while True:
            data = await self._channel.receive()
            if isinstance(data, bytes):
                raise ProtocolError(1003, "binary frames are not understood")
            if len(data if data.isascii() else data.encode()) > MESSAGE_BYTES_MAX:
                raise ProtocolError(1009, f"a message has at most {MESSAGE_BYTES_MAX} bytes")
            try:
                match _decode(data):
                    case Subscribe() as subscribe:
                        self._subscribe(subscribe)
                    case Unsubscribe(topic):
                        self._unsubscribe(topic)
            except _Refused as refused:
                # Waited for: who sends nonsense and does not listen is not read any further.
                await self._channel.writable()
                self._channel.put(_frame(refused.topic, refused.problem))

    def _subscribe(self, subscribe: Subscribe) -> None:
        topic = subscribe.topic
        taken = self._subscriptions.keys() | self._errors.keys()
        if topic not in taken and len(taken) >= SUBSCRIPTIONS_MAX:
            raise _Refused(
                topic,
                Problem("too_many_requests", f"A connection has at most {SUBSCRIPTIONS_MAX} subscriptions."),
            )
        self._unsubscribe(topic)
        subscription = Subscription(self, topic)
        try:
            subscription.room = self._rooms.join(subscription, subscribe, self._scope)
        except Problem as problem:
            raise _Refused(topic, problem) from None
        self._subscriptions[topic] = subscription
        if subscription.room.is_filled:
            self.lag(subscription)

    def _unsubscribe(self, topic: str) -> None:
        subscription = self._subscriptions.pop(topic, None)
        self._errors.pop(topic, None)
        if subscription is not None and subscription.room is not None:
            self._behind.pop(subscription, None)
            self._rooms.leave(subscription.room, subscription)

    def leave(self) -> None:
        """The connection is over."""
        for topic in list(self._subscriptions):
            self._unsubscribe(topic)

    # --- to the browser ---------------------------------------------------------------------------

    def put(self, frame: bytes) -> bool:
        """Write at once; False, and nothing written, where the browser is busy with what it got."""
        return self._channel.put(frame)

    def lag(self, subscription: Subscription) -> None:
        """It is behind its room: it is brought up to date as soon as may be."""
        self._behind[subscription] = None
        self._wake.set()

    def lost(self, subscription: Subscription, problem: Problem) -> None:
        """The room of a subscription ended."""
        if self._subscriptions.get(subscription.topic) is subscription:
            self._behind.pop(subscription, None)
            del self._subscriptions[subscription.topic]
            self._errors[subscription.topic] = _error(subscription.topic, problem)
            self._wake.set()

    def beat(self) -> None:
        """Say something, where nothing else is on its way."""
        self._channel.put(BEAT)

    async def write(self) -> None:
        """Bring up to date what is behind, until the connection is over. Raises: PeerGone."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._behind or self._errors:
                await self._channel.writable()
                self._write_one()

    def _write_one(self) -> None:
        if self._errors:
            error = self._errors.pop(next(iter(self._errors)))
            self._channel.put(frame_of(_encoder.encode(error)))
            return
        # The one that was served last waits behind the others.
        subscription = next(iter(self._behind))
        del self._behind[subscription]
        frame = subscription.next_frame()
        if frame is not None:
            self._channel.put(frame)
            self._behind[subscription] = None


class _Refused(Exception):
    """A message is not followed; the connection goes on."""

    def __init__(self, topic: str, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.topic = topic
        self.problem = problem


def _decode(data: str) -> BrowserMessage | None:
    """The message; None for a type of a later release. Raises: ProtocolError for what is no message, _Refused
    for one that does not fit."""
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError as error:
        try:
            found = _any_decoder.decode(data)
        except msgspec.DecodeError:
            raise ProtocolError(1007, f"malformed message: {error}") from None
        if found.type not in ("subscribe", "unsubscribe"):
            return None
        topic = found.topic[:64] if isinstance(found.topic, str) else ""
        raise _Refused(topic, Problem("unprocessable", f"It does not fit: {error}.")) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise ProtocolError(1007, f"malformed message: {error}") from None


def _error(topic: str, problem: Problem) -> LiveError:
    code = problem.code if problem.code in _CODES else "unavailable"
    return LiveError(topic=topic, code=cast("Any", code), message=problem.detail)


def _frame(topic: str, problem: Problem) -> bytes:
    return frame_of(_encoder.encode(_error(topic, problem)))
