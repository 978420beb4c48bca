"""Requests on their way to the leader and back: what goes with them, and what happens when nobody answers."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from tests.support.fakes import FakeLeadership

from curta_server import forwarding
from curta_server.errors import Problem
from curta_server.forwarding import Forwarding, Request
from curta_server.leadership import Leader

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]

ANSWER = (
    b"HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\nRetry-After: 7\r\n"
    b"WWW-Authenticate: Bearer\r\nSet-Cookie: secret=1\r\nX-Powered-By: leader\r\nContent-Length: 2\r\n"
    b"Connection: close\r\n\r\n{}"
)


@asynccontextmanager
async def fake_leader(handle: Handler) -> AsyncIterator[str]:
    """Somebody who reads one request whole and then does as told; the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            await handle(head + await reader.readexactly(length), writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def forwarding_to(url: str | None) -> AsyncIterator[Forwarding]:
    leadership = FakeLeadership()
    leadership.other = None if url is None else Leader(1, uuid4(), url)
    sender = Forwarding(leadership, ssl.create_default_context())
    try:
        yield sender
    finally:
        await sender.close()


def request(method: str = "GET", **fields: object) -> Request:
    return Request(**{"method": method, "target": "/agents", "headers": [], "body": b"", **fields})  # type: ignore[arg-type]


async def test_a_request_arrives_with_its_body_and_the_headers_that_are_its_own() -> None:
    arrived: list[bytes] = []

    async def answer(data: bytes, writer: asyncio.StreamWriter) -> None:
        arrived.append(data)
        writer.write(ANSWER)
        await writer.drain()

    headers = [
        (b"host", b"follower:8080"),
        (b"authorization", b"Bearer token"),
        (b"content-type", b"application/json"),
        (b"idempotency-key", b"k\xe9y"),
        (b"content-length", b"999"),
        (b"connection", b"keep-alive, X-Private"),
        (b"x-private", b"1"),
        (b"keep-alive", b"timeout=5"),
        (b"te", b"trailers"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"websocket"),
        (b"expect", b"100-continue"),
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"forwarded", b"for=1.2.3.4"),
        (b"accept-encoding", b"gzip, br"),
        (b"origin", b"http://follower:8080"),
        (b"sec-fetch-site", b"same-origin"),
        (b"cookie", b"a=b"),
        (b"cookie", b"c=d"),
    ]
    async with fake_leader(answer) as url, forwarding_to(f"{url}/prefix/") as sender:
        found = await sender.send(
            request("POST", target="/tasks/a%2Fb?wait=5&q=%C3%A4", headers=headers, body=b'{"value": "1"}')
        )
    head, _, body = arrived[0].partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    assert line == b"POST /prefix/tasks/a%2Fb?wait=5&q=%C3%A4 HTTP/1.1"
    assert body == b'{"value": "1"}'
    names = [one.partition(b":")[0].lower() for one in lines]
    assert sorted(names) == sorted(
        [
            b"host", b"authorization", b"content-type", b"idempotency-key", b"cookie", b"cookie",
            b"content-length", b"curta-forwarded", b"accept-encoding", b"accept", b"connection",
            b"user-agent",
        ]
    )  # fmt: skip
    assert b"idempotency-key: k\xe9y" in lines and b"Accept-Encoding: identity" in lines
    assert b"content-length: 14" in [one.lower() for one in lines]
    assert (found.status, found.body) == (409, b"{}")
    assert found.headers == {
        "content-type": "application/problem+json",
        "retry-after": "7",
        "www-authenticate": "Bearer",
    }


async def test_nobody_is_asked_while_nobody_leads() -> None:
    async with forwarding_to(None) as sender:
        with pytest.raises(Problem) as refused:
            await sender.send(request())
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})


async def test_a_leader_that_is_gone_refuses_at_once() -> None:
    async def hang_up(data: bytes, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with fake_leader(hang_up) as url:
        async with forwarding_to(url) as sender:
            with pytest.raises(Problem, match="does not answer") as cut:
                await sender.send(request())
    async with forwarding_to(url) as sender:
        with pytest.raises(Problem, match="does not answer") as refused:
            await sender.send(request())
    assert cut.value.status == refused.value.status == 503


@pytest.mark.parametrize(
    "answer", [b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1", b"\x16\x03\x01\x02"]
)
async def test_a_leader_that_talks_nonsense_is_no_defect_of_the_follower(answer: bytes) -> None:
    async def reply(data: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with fake_leader(reply) as url, forwarding_to(url) as sender:
        with pytest.raises(Problem, match="does not answer"):
            await sender.send(request())


async def test_a_leader_that_says_nothing_costs_the_requests_own_wait_and_a_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forwarding, "ANSWER_S", 0.1)
    given_up = asyncio.Event()

    async def say_nothing(data: bytes, writer: asyncio.StreamWriter) -> None:
        await given_up.wait()

    async with fake_leader(say_nothing) as url, forwarding_to(url) as sender:
        for wait_s in (0.0, 0.3):
            began = time.monotonic()
            with pytest.raises(Problem, match="does not answer"):
                await sender.send(request(wait_s=wait_s))
            assert wait_s + 0.1 <= time.monotonic() - began < wait_s + 1.0
        given_up.set()
