"""Forwarded headers are believed where they come from a proxy that is named, and from nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from curta_server.connections import Connections
from curta_server.listening import HttpServer, configuration
from curta_server.settings import Settings
from tests.support.processes import free_port
from tests.support.waiting import until

PROXY = "127.0.0.2"
STRANGER = "127.0.0.3"
"""On Linux every address of 127.0.0.0/8 is this machine's."""

CLAIMED = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}


async def tell(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers who it believes to be talking to, and how."""
    if scope["type"] == "http":
        body = json.dumps([scope["client"][0], scope["scheme"]]).encode()
        length = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def listening(**settings: str) -> AsyncIterator[str]:
    """A server as the orchestrator's, with that application; its URL."""
    port = free_port()
    connections = Connections(most=100, head_s=10, idle_s=10, stall_s=10)
    chosen = Settings(port=port, **settings)  # type: ignore[arg-type]
    server = HttpServer(configuration(tell, chosen, connections))  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        await until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True


async def ask(url: str, *, by: str, headers: dict[str, str] | None = None) -> list[str]:
    transport = httpx.AsyncHTTPTransport(local_address=by)
    async with httpx.AsyncClient(transport=transport) as client:
        answer: list[str] = (await client.get(url, headers=headers or CLAIMED)).json()
        return answer


@pytest.mark.parametrize("trusted", [PROXY, f"192.0.2.1, {PROXY}", "127.0.0.2/32"])
async def test_a_named_proxy_says_for_whom_it_speaks_and_how(trusted: str) -> None:
    async with listening(trusted_proxies=trusted) as url:
        assert await ask(url, by=PROXY) == ["203.0.113.7", "https"]


@pytest.mark.parametrize("trusted", ["", PROXY, "127.0.0.2/32"])
async def test_anybody_elses_headers_are_ignored(trusted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The HTTP server's own variable is not ours.
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    async with listening(trusted_proxies=trusted) as url:
        assert await ask(url, by=STRANGER) == [STRANGER, "http"]


async def test_what_a_client_claimed_to_the_proxy_is_not_believed() -> None:
    async with listening(trusted_proxies=PROXY) as url:
        chain = {"X-Forwarded-For": f"198.51.100.1, 203.0.113.7, {PROXY}"}
        assert await ask(url, by=PROXY, headers=chain) == ["203.0.113.7", "http"]


async def test_a_scheme_that_is_none_is_ignored() -> None:
    async with listening(trusted_proxies=PROXY) as url:
        strange = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "gopher"}
        assert await ask(url, by=PROXY, headers=strange) == ["203.0.113.7", "http"]
