"""Nothing secret is found where it does not belong, whatever goes wrong: logs at level debug, metrics,
answers, process lists. And slow strangers keep nobody waiting, in processes as they are run."""

import asyncio
import base64
import contextlib
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from curta_server.settings import Settings
from tests.support.client import Client
from tests.support.foreign import ForeignAgent
from tests.support.postgres import PostgresServer
from tests.support.processes import ADMIN, AGENT, Cluster, CurtaProcess, wait_until

PASSWORD = "a-password-that-is-known-to-nobody"
HEADER_S = 2.0


@pytest.fixture(scope="module")
def cluster(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(
        postgres,
        tmp_path_factory.mktemp("cluster"),
        {"CURTA_LOG_LEVEL": "debug", "CURTA_HEADER_TIMEOUT_S": str(HEADER_S)},
    )
    try:
        yield cluster
    finally:
        cluster.close()


def forms(secret: str) -> set[str]:
    """A secret as it could be written."""
    raw = secret.encode()
    return {secret, raw.hex(), base64.b64encode(raw).decode().rstrip("=")}


def leaked(secrets: list[str], text: str) -> list[str]:
    return [secret for secret in secrets if any(form in text for form in forms(secret))]


async def test_no_log_metric_or_answer_tells_a_secret(cluster: Cluster, tmp_path: Path) -> None:
    secrets = [ADMIN, AGENT]
    answers = []
    async with Client(cluster.url, ADMIN) as admin:
        for role in ("user", "agent", "admin"):
            made = await admin.ask("POST", "/tokens", json={"name": f"t-{role}", "role": role})
            secrets.append(made["secret"])
        _, _, user, machine, doomed = secrets
        answers.append(str(await admin.ask("GET", "/tokens")))
        agent = cluster.start_agent("a1", settings={"CURTA_LOG_LEVEL": "debug"})
        await admin.compute("(1+2)*(3+4)")
        async with Client(cluster.url, user) as someone:
            # Refusals of every kind: the secret is in the header, and once in each place where people put it.
            for method, path, options in (
                ("GET", "/tokens", {}),
                ("GET", f"/expressions?cursor={user}", {}),
                ("GET", f"/expressions?limit={user}", {}),
                ("GET", f"/expressions/{user}", {}),
                ("POST", "/expressions", {"content": b"\xff" * 5}),
                ("POST", "/expressions", {"json": {"expression": 5, "token": user}}),
                ("PUT", "/operations/addition", {"json": {"duration_ms": user}}),
                ("PUT", f"/operations/{user}", {"json": {"duration_ms": 5}}),
                ("POST", "/expressions", {"content": b"1+", "headers": {"Idempotency-Key": "x" * 300}}),
                ("PATCH", "/expressions", {}),
            ):
                answer = await someone.http.request(method, path, **options)
                assert 400 <= answer.status_code < 500, (method, path, answer.status_code)
        for header in (f"Basic {doomed}", f"Bearer {doomed}x", doomed, f"Bearer {doomed} {doomed}"):
            answer = await admin.http.get("/expressions", headers={"Authorization": header})
            assert answer.status_code == 401
            answers.append(answer.text)
        for secret in (machine, user, doomed + "x"):
            with contextlib.suppress(WebSocketException, InvalidStatus):
                async with ForeignAgent(cluster.url, secret) as foreign:
                    await foreign.open()
                    await foreign.connection.send(f'{{"type": "hello", "agent": "{secret}", broken')
                    await foreign.closed()
        with contextlib.suppress(WebSocketException, InvalidStatus):
            url = cluster.url.replace("http", "ws", 1) + "/agents/connect"
            async with connect(url, additional_headers={"Authorization": f"Bearer {machine}"}):
                pass
        raw = socket.create_connection(("127.0.0.1", cluster.port))
        with raw:
            raw.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer {user}\r\nno header\r\n\r\n".encode())
            answers.append(raw.recv(65536).decode())
        answers.append((await admin.http.get("/metrics")).text)
        answers.append((await admin.http.get("/openapi.json")).text)
        answers.append(str(await admin.agents()))
    log = cluster.server.output
    assert '"level": "debug"' in log or '"level":"debug"' in log
    assert not leaked(secrets, log)
    assert not leaked(secrets, agent.output)
    assert not leaked(secrets, "".join(answers))
    for process in (*cluster.server.family(), *agent.family()):
        assert not leaked(secrets, " ".join(process.cmdline()))


async def test_a_database_that_is_not_there_is_named_without_its_password(
    cluster: Cluster, tmp_path: Path
) -> None:
    for number, url in enumerate(
        (
            f"postgresql://curta:{PASSWORD}@127.0.0.1:9/x",
            f"postgresql://curta:{PASSWORD}@127.0.0.1:nine/x",
            f"postgres+asyncpg://curta:{PASSWORD}@no-such-host.invalid/x?sslmode=nonsense",
            f"mysql://curta:{PASSWORD}@127.0.0.1/x",
            f"postgresql://curta:{PASSWORD}/and@127.0.0.1/x",
            f"postgresql://curta:x?{PASSWORD}@127.0.0.1/x",
        )
    ):
        for command in (("server",), ("migrate",), ("token", "list")):
            process = CurtaProcess(
                *command,
                log=tmp_path / f"{number}-{command[0]}.log",
                environment={"CURTA_DATABASE_URL": url, "CURTA_LOG_LEVEL": "debug", "CURTA_PORT": "0"},
            )
            try:
                with contextlib.suppress(AssertionError):
                    wait_until(partial(has_spoken, process), "it ends or says something", within_s=4)
                assert PASSWORD not in process.output, (command, url, process.output)
                for each in process.family():
                    assert PASSWORD not in " ".join(each.cmdline())
            finally:
                process.close()


def has_spoken(process: CurtaProcess) -> bool:
    return not process.is_running or len(process.output) > 500


def test_settings_do_not_show_their_secrets() -> None:
    secrets = {"database_url": f"postgresql://u:{PASSWORD}@h/d", "admin_token": ADMIN, "agent_token": AGENT}
    shown = repr(Settings(**secrets)) + str(Settings(**secrets)) + f"{Settings(**secrets)!r:>5}"
    assert not leaked([PASSWORD, ADMIN, AGENT], shown)


async def test_five_hundred_slow_strangers_keep_nobody_waiting(cluster: Cluster) -> None:
    before = psutil.Process(cluster.server.pid).num_fds()
    slow = []
    for _ in range(500):
        _, writer = opened = await asyncio.open_connection("127.0.0.1", cluster.port)
        writer.write(b"GET /expressions HTTP/1.1\r\nHost: x\r\nX-A: ")
        slow.append(opened)
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=cluster.url, trust_env=False, timeout=5) as anybody:
        for _ in range(20):
            assert (await anybody.get("/healthz")).status_code == 200
    assert time.monotonic() - began < 5
    for reader, writer in slow:
        async with asyncio.timeout(HEADER_S + 5):
            with contextlib.suppress(OSError):
                assert await reader.read() == b""
        writer.close()
    wait_until(lambda: psutil.Process(cluster.server.pid).num_fds() < before + 50, "the sockets are closed")
