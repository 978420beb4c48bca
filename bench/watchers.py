"""Many browsers in one process that look at the list of expressions: `python -m bench.watchers --viewers N`.

Started by the scenario `viewers` with CURTA_URL and CURTA_TOKEN, and told what to do line by line on its
standard input; it answers each with a line when that is done:

    subscribe, unsubscribe      all of them
    take                        what they have seen since, as JSON, and forget it

They stand for machines of their own, so a viewer does as little as can be: a protocol that cuts frames, and
one decoding of what all of them are sent alike.
"""

import argparse
import asyncio
import base64
import json
import os
import struct
import sys
import time
from collections import OrderedDict
from datetime import datetime
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

from bench.spread import percentile, quantiles

SUBPROTOCOL = "curta.live.v1"
SUBSCRIBE = {"type": "subscribe", "topic": "expressions"}
UNSUBSCRIBE = {"type": "unsubscribe", "topic": "expressions"}
AT_ONCE = 50
KEPT = 64
"""Of the latest different messages, what they say: viewers get the same ones within moments."""

Event = tuple[str, float]
"""What changed in the list, and when, by the database's clock, which is this machine's."""


class Messages:
    """What a message tells, decoded once for all who get it."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[str, list[Event]]] = OrderedDict()

    def read(self, payload: bytes) -> tuple[str, list[Event]]:
        """Its type and the events in it."""
        found = self._known.get(payload)
        if found is None:
            message = json.loads(payload)
            found = self._known[payload] = message["type"], _events(message.get("items", ()))
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return found


def _events(items: Any) -> list[Event]:
    return [
        (f"{item['id']} {name}", datetime.fromisoformat(item[name]).timestamp())
        for item in items
        for name in ("created_at", "finished_at")
        if item[name] is not None
    ]


class Seen:
    """What all viewers have seen since it was last taken."""

    def __init__(self) -> None:
        self.messages = Messages()
        self.took_ms: list[float] = []
        self.deltas = self.snapshots = 0

    def take(self) -> dict[str, Any]:
        took_ms, self.took_ms = self.took_ms, []
        told = {"updates": len(took_ms), "deltas": self.deltas, "snapshots": self.snapshots}
        self.deltas = self.snapshots = 0
        if not took_ms:
            return told
        return told | {
            "p50_ms": percentile(took_ms, 50),
            "p99_ms": percentile(took_ms, 99),
            "quantiles_ms": quantiles(took_ms),
        }


class Viewer(asyncio.Protocol):
    """One connection. Every event counts once, with the first message that shows it, be it a delta or, for
    who was too slow, a later snapshot; what the first snapshot shows is no news."""

    def __init__(self, request: bytes, seen: Seen) -> None:
        self._request = request
        self._seen = seen
        self._buffer = b""
        self._events: set[str] = set()
        self.is_subscribed = False
        self.is_open = asyncio.get_running_loop().create_future()
        self.is_served = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.is_open.done():
            self.is_open.set_exception(error or ConnectionResetError())
        else:
            _give_up(f"its connection ended: {error!r}")

    def send(self, message: dict[str, str]) -> None:
        payload = json.dumps(message).encode()
        # The mask may be zeros: it protects proxies, of which there are none here.
        self._transport.write(bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload)
        self.is_subscribed = message is SUBSCRIBE
        self.is_served.clear()
        self._events.clear()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.is_open.done():
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self._buffer = rest
            if head.startswith(b"HTTP/1.1 101 "):
                self.is_open.set_result(None)
            else:
                self.is_open.set_exception(ConnectionError(head.decode(errors="replace")))
        at = 0
        while (found := frame(self._buffer, at)) is not None:
            payload, at = found
            self._message(payload)
        self._buffer = self._buffer[at:]

    def _message(self, payload: bytes) -> None:
        now = time.time()
        kind, events = self._seen.messages.read(payload)
        if kind == "error":
            raise RuntimeError(payload.decode())
        if kind == "beat" or not self.is_subscribed:
            return
        if kind == "delta":
            self._seen.deltas += 1
        else:
            self._seen.snapshots += 1
        is_news = self.is_served.is_set()
        for event, at in events:
            if event not in self._events:
                self._events.add(event)
                if is_news:
                    self._seen.took_ms.append((now - at) * 1000)
        self.is_served.set()


def frame(buffer: bytes, at: int) -> tuple[bytes, int] | None:
    """The payload of the server's frame that begins at this place, and where the next one begins; None while
    it is not complete. Raises: ValueError for anything but a whole text message."""
    if len(buffer) < at + 2:
        return None
    if buffer[at] != 0x81:
        raise ValueError(f"a frame of kind {buffer[at]:#x}")
    size, start = buffer[at + 1], at + 2
    if size >= 126:
        form = ">H" if size == 126 else ">Q"
        start += struct.calcsize(form)
        if len(buffer) < start:
            return None
        (size,) = struct.unpack_from(form, buffer, at + 2)
    if len(buffer) < start + size:
        return None
    return buffer[start : start + size], start + size


def request(url: str, token: str) -> bytes:
    """The handshake."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET /live HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


async def watch(count: int) -> None:
    """Connect so many viewers, say so, and obey until standard input ends."""
    url, token = os.environ["CURTA_URL"], os.environ["CURTA_TOKEN"]
    port, loop, seen = urlsplit(url).port, asyncio.get_running_loop(), Seen()
    assert port is not None
    loop.set_exception_handler(lambda loop, context: _give_up(str(context)))
    viewers: list[Viewer] = []
    while len(viewers) < count:
        some = [Viewer(request(url, token), seen) for _ in range(min(AT_ONCE, count - len(viewers)))]
        for viewer in some:
            await loop.create_connection(partial(_same, viewer), "127.0.0.1", port)
        await asyncio.gather(*(viewer.is_open for viewer in some))
        viewers += some
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    _say(str(len(viewers)))
    while order := (await orders.readline()).decode().strip():
        if order == "take":
            _say(json.dumps(seen.take()))
            continue
        for viewer in viewers:
            viewer.send(SUBSCRIBE if order == "subscribe" else UNSUBSCRIBE)
        if order == "subscribe":
            for viewer in viewers:
                await viewer.is_served.wait()
        _say(order)


def _same(viewer: Viewer) -> Viewer:
    return viewer


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _give_up(why: str) -> None:
    """Fewer viewers than were asked for would be a better figure than is true."""
    sys.stderr.write(f"a viewer fell: {why}\n")
    os._exit(1)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--viewers", type=int, required=True)
    chosen = arguments.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(watch(chosen.viewers))


if __name__ == "__main__":
    main()
