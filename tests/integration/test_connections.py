"""The server's protocols on real sockets, with an application that is none of ours: whoever is slow, sends
too much or reads nothing ends, and costs the others nothing."""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from curta_server.connections import ANSWERING, IDLE, Connections
from curta_server.parsing import PIPELINE_MAX, BoundedHttp, BoundedSocket
from tests.support.waiting import until

HEAD_S = 0.6
IDLE_S = 1.5
STALL_S = 0.6
HEAD_BYTES = 4096
MOST = 40
GET = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Site:
    port: int
    connections: Connections
    held: asyncio.Event
    """Whoever asks for /held waits for it."""
    served: list[str]

    async def dial(self, *, buffer: int | None = None) -> "Wire":
        sock = socket.socket()
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=2**26)
        return Wire(reader, writer)

    async def get(self) -> None:
        """One ordinary request on a connection of its own, which must be answered soon."""
        async with asyncio.timeout(5):
            wire = await self.dial()
            wire.send(GET)
            assert await wire.status() == 200
            wire.close()


@dataclass
class Wire:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def status(self) -> int:
        """The status of the next answer, which is read to its end."""
        return (await self.answer())[0]

    async def problem(self) -> dict[str, Any]:
        """The next answer, a problem with everything that problems have."""
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
        problem: dict[str, Any] = json.loads(body)
        assert problem["status"] == status
        return problem

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            return (
                int(head.split()[1]),
                headers,
                await self.reader.readexactly(int(headers["content-length"])),
            )

    async def gone(self, *, within_s: float = 10.0) -> float:
        """Return when the server has closed, with the seconds it took; what it said before is thrown away."""
        began = time.monotonic()
        async with asyncio.timeout(within_s):
            with contextlib.suppress(OSError):
                while await self.reader.read(65536):
                    pass
        self.close()
        return time.monotonic() - began

    def close(self) -> None:
        self.writer.transport.abort()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    connections = Connections(most=MOST, head_s=HEAD_S, idle_s=IDLE_S, stall_s=STALL_S)
    held = asyncio.Event()
    served: list[str] = []

    async def answer(send: Any, body: bytes) -> None:
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            return
        served.append(scope["path"])
        match scope["path"]:
            case "/held":
                await held.wait()
                await answer(send, b"at last")
            case "/body":
                while (await receive()).get("more_body"):
                    pass
                await answer(send, b"read")
            case "/large":
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await answer(send, b"x" * 30_000_000)
                        await send({"type": "http.response.body", "body": b""})
            case "/headers":
                await answer(send, str(len(scope["headers"])).encode())
            case _:
                await answer(send, b"quick")

    config = uvicorn.Config(
        app,
        loop="none",
        http=cast("Any", partial(BoundedHttp, connections, HEAD_BYTES)),
        ws=cast("Any", partial(BoundedSocket, connections)),
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve([listening]))
            sweeping = group.create_task(connections.run())
            await until(lambda: server.started)
            yield Site(listening.getsockname()[1], connections, held, served)
            held.set()
            server.should_exit = True
            await serving
            sweeping.cancel()


async def test_a_head_that_does_not_end_is_given_up_whatever_trickles_in(site: Site) -> None:
    silent, slow, blank, after = [await site.dial() for _ in range(4)]
    after.send(GET)
    assert await after.status() == 200
    began = time.monotonic()

    async def trickle(wire: Wire, piece: bytes) -> None:
        with contextlib.suppress(OSError):
            while not wire.writer.is_closing():
                wire.send(piece)
                await asyncio.sleep(0.05)

    slow.send(b"GET /quick HTTP/1.1\r\n")
    trickling = [
        asyncio.create_task(trickle(slow, b"X-A: b\r\n")),
        asyncio.create_task(trickle(blank, b"\r\n")),
        asyncio.create_task(trickle(after, b"G")),
    ]
    for wire in (silent, slow, blank, after):
        await wire.gone(within_s=5)
    assert time.monotonic() - began >= HEAD_S * 0.9
    await asyncio.gather(*trickling)
    await until(lambda: len(site.connections) == 0)
    assert site.served == ["/quick"]


async def test_an_idle_connection_is_closed_later_and_is_good_until_then(site: Site) -> None:
    wire = await site.dial()
    for _ in range(3):
        wire.send(GET)
        assert await wire.status() == 200
    assert await wire.gone() >= IDLE_S * 0.9


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * HEAD_BYTES,
        b"GET /quick HTTP/1.1\r\nX-A: " + b"a" * HEAD_BYTES,
        b"GET /quick HTTP/1.1\r\n" + b"X-A: b\r\n" * HEAD_BYTES,
        b"GET /quick HTTP/1.1\r\n" + b"X-A: b\r\n" * HEAD_BYTES + b"\r\n",
        b"\r\n" * HEAD_BYTES,
    ],
    ids=["path", "value", "headers", "complete", "blank"],
)
async def test_a_head_that_is_too_long_is_refused(site: Site, head: bytes) -> None:
    wire = await site.dial()
    wire.send(head)
    assert await wire.status() == 413
    await wire.gone()
    assert not site.served


async def test_what_follows_the_chunks_of_a_body_is_bounded_and_no_header(site: Site) -> None:
    wire = await site.dial()
    wire.send(b"POST /headers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1+\r\n0\r\n")
    wire.send(b"Authorization: Bearer x\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await wire.reader.readexactly(1) == b"2"
    wire.close()
    endless = await site.dial()
    endless.send(b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n1+\r\n0\r\nX: ")
    await until(lambda: "/body" in site.served)
    endless.send(b"a" * (HEAD_BYTES + 1))
    assert await endless.status() == 413
    endless.close()


async def test_requests_sent_ahead_are_answered_up_to_a_limit_and_then_it_is_closed(site: Site) -> None:
    wire = await site.dial()
    wire.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + GET * 5_000)
    await until(lambda: "/held" in site.served)
    site.held.set()
    answered = 0
    with contextlib.suppress(asyncio.IncompleteReadError):
        while await wire.status() == 200:
            answered += 1
    assert answered == 1 + PIPELINE_MAX
    await wire.gone()


async def test_what_is_malformed_behind_a_good_request_does_not_pass_for_its_answer(site: Site) -> None:
    wire = await site.dial()
    wire.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: "/held" in site.served)
    wire.send(b"nonsense\r\n\r\n")
    site.held.set()
    assert await wire.status() == 200
    await wire.gone()


async def test_a_body_that_goes_on_after_the_answer_is_given_up(site: Site) -> None:
    wire = await site.dial()
    wire.send(b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n1+")
    assert await wire.status() == 200
    assert await wire.gone() >= HEAD_S * 0.9


async def test_a_request_may_be_answered_for_as_long_as_it_takes(site: Site) -> None:
    wire = await site.dial()
    wire.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
    short = await site.dial()
    assert await short.gone() >= HEAD_S * 0.9  # others are given up meanwhile
    await asyncio.sleep(IDLE_S)
    site.held.set()
    assert await wire.status() == 200
    wire.close()


async def test_an_answer_that_nobody_takes_is_dropped(site: Site) -> None:
    wire = await site.dial(buffer=4096)
    wire.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: "/large" in site.served)
    await until(lambda: len(site.connections) == 0, within_s=5)
    await wire.gone()


async def test_of_too_many_connections_the_one_idle_for_longest_goes(site: Site) -> None:
    idle = [await site.dial() for _ in range(MOST)]
    for wire in idle:
        wire.send(GET)
        assert await wire.status() == 200
    for _ in range(5):
        await site.get()
    await idle[0].gone()
    idle[-1].send(GET)
    assert await idle[-1].status() == 200
    for wire in idle:
        wire.close()


async def test_when_all_connections_are_being_answered_a_new_one_gets_503(site: Site) -> None:
    busy = [await site.dial() for _ in range(MOST)]
    for wire in busy:
        wire.send(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: len(site.served) == MOST)
    late = await site.dial()
    async with asyncio.timeout(5):
        answer = await late.reader.read()
    assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 1\r\n" in answer
    assert b"application/problem+json" in answer
    late.close()
    site.held.set()
    for wire in busy:
        assert await wire.status() == 200
        wire.close()


async def test_five_hundred_slow_heads_do_not_keep_others_waiting(site: Site) -> None:
    site.connections._most = 1000
    slow = [await site.dial() for _ in range(500)]
    for wire in slow:
        wire.send(b"GET /quick HTTP/1.1\r\nHost: x\r\nX-A: ")
    began = time.monotonic()
    for _ in range(20):
        await site.get()
    assert time.monotonic() - began < 5
    for wire in slow:
        await wire.gone(within_s=HEAD_S + 5)
    await until(lambda: len(site.connections) == 0)


# --- WebSockets -------------------------------------------------------------------------------------------


HANDSHAKE = {
    "Host": "x",
    "Connection": "upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def handshake(method: str = "GET", headers: Mapping[str, str | None] = HANDSHAKE, more: str = "") -> bytes:
    """A request for a WebSocket, without the headers that are None; `more` lines follow."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if value is not None]
    return f"{method} / HTTP/1.1\r\n{''.join(lines)}{more}\r\n".encode()


async def test_a_websocket_is_no_http_connection(site: Site) -> None:
    async with connect(f"ws://127.0.0.1:{site.port}/", compression=None) as socket:
        assert len(site.connections) == 0
        await asyncio.sleep(HEAD_S + 0.5)
        await (await socket.ping())


async def test_a_handshake_that_only_one_of_two_parsers_takes_for_one_is_given_up(site: Site) -> None:
    wire = await site.dial()
    wire.send(handshake(more="X-A: b\r\n" * 300))
    assert (await wire.problem())["type"] == "/problems/malformed"
    await wire.gone(within_s=5)


@pytest.mark.parametrize(
    ("method", "changed", "status", "code", "named"),
    [
        ("GET", {"Sec-WebSocket-Version": "8"}, 400, "malformed", "Sec-WebSocket-Version"),
        ("GET", {"Sec-WebSocket-Version": None}, 400, "malformed", "Sec-WebSocket-Version"),
        ("GET", {"Sec-WebSocket-Key": None}, 400, "malformed", "Sec-WebSocket-Key"),
        ("GET", {"Sec-WebSocket-Key": "short"}, 400, "malformed", "Sec-WebSocket-Key"),
        ("POST", {}, 405, "method_not_allowed", "POST"),
    ],
)
async def test_a_handshake_that_is_none_is_answered_as_any_other_problem(
    site: Site, method: str, changed: dict[str, str | None], status: int, code: str, named: str
) -> None:
    wire = await site.dial()
    wire.send(handshake(method, HANDSHAKE | changed))
    problem = await wire.problem()
    assert (problem["status"], problem["type"]) == (status, f"/problems/{code}")
    assert named in problem["detail"]
    await wire.gone(within_s=5)
    assert len(site.connections) == 0


async def test_pings_of_one_who_does_not_listen_fill_no_memory_and_it_is_dropped(site: Site) -> None:
    wire = await site.dial(buffer=4096)
    wire.send(handshake())
    async with asyncio.timeout(5):
        await wire.reader.readuntil(b"\r\n\r\n")
    # From here on nobody reads what comes, for long enough to see whether it piles up.
    site.connections._stall_s = 2.0
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
    ping = struct.pack("!BB4x", 0x89, 0x80 | 125) + b"p" * 125
    with contextlib.suppress(OSError):
        async with asyncio.timeout(10):
            while not wire.writer.transport.is_closing():
                wire.writer.write(ping * 1000)
                await wire.writer.drain()
                unsent = [reader.unsent() for reader in site.connections._stalled]
                assert all(one < 500_000 for one in unsent)
    wire.close()
    await until(lambda: not site.connections._stalled)


async def test_an_ordinary_close_leaves_nothing_behind(site: Site) -> None:
    async with connect(f"ws://127.0.0.1:{site.port}/", compression=None) as socket:
        await socket.send("x")
    with pytest.raises(ConnectionClosed):
        await socket.recv()
    await until(lambda: len(site.connections) == 0)
    assert not site.connections._phases[ANSWERING] and not site.connections._phases[IDLE]
