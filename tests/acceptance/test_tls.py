"""TLS: an orchestrator's own certificate, and nginx in front of two as the documentation's sample says."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.curta_up import run
from tests.support.nginx import Nginx
from tests.support.postgres import PostgresServer
from tests.support.processes import ADMIN, AGENT, Cluster, CurtaProcess, free_port, wait_until
from tests.support.waiting import until

pytestmark = pytest.mark.acceptance

SAMPLE = Path(__file__).parents[2] / "docs" / "proxy" / "nginx.conf"
NAMES = ("curta.example.org", "one.curta.example.org", "two.curta.example.org")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., CurtaProcess]]:
    """Start a command of ours, with a log by its name."""
    started: list[CurtaProcess] = []

    def make(name: str, *arguments: str, **variables: str) -> CurtaProcess:
        started.append(CurtaProcess(*arguments, log=tmp_path / f"{name}.log", environment=variables))
        return started[-1]

    try:
        yield make
    finally:
        for process in reversed(started):
            process.close()


def submit(folder: Path, url: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run("submit", "--wait", "2+2*2", folder=folder, CURTA_URL=url, CURTA_TOKEN=ADMIN, **variables)


async def test_an_orchestrator_with_a_certificate_speaks_tls_to_people_agents_and_commands(
    postgres: PostgresServer, tmp_path: Path, authority: Authority, start: Callable[..., CurtaProcess]
) -> None:
    cert, key = authority.issue("localhost")
    database_url = postgres.database()
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    try:
        server = start(
            "server",
            "server",
            CURTA_DATABASE_URL=database_url,
            CURTA_PORT=str(port),
            CURTA_TLS_CERT=str(cert),
            CURTA_TLS_KEY=str(key),
            CURTA_ADMIN_TOKEN=ADMIN,
            CURTA_AGENT_TOKEN=AGENT,
        )
        async with Client(url, ADMIN, tls=ssl.create_default_context(cafile=str(authority.ca))) as admin:

            async def is_served() -> bool:
                assert server.is_running, server.output[-3000:]
                try:
                    return (await admin.http.get("/operations")).status_code == 200
                except httpx.ConnectError:
                    return False

            await until(is_served, within_s=30)
            await admin.set_all_durations(0)
            async with httpx.AsyncClient() as stranger:
                with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await stranger.get(f"{url}/healthz")
                with pytest.raises(httpx.TransportError):
                    await stranger.get(f"http://127.0.0.1:{port}/healthz")

            settings = {"CURTA_URL": url, "CURTA_TOKEN": AGENT, "CURTA_SLOTS": "1"}
            wary = start("wary", "agent", CURTA_NAME="wary", **settings)
            wait_until(lambda: "the certificate is not trusted" in wary.output, "it says why")
            assert AGENT not in wary.output
            start("ours", "agent", CURTA_NAME="ours", CURTA_CA=str(authority.ca), **settings)
            done = submit(tmp_path, url, CURTA_CA=str(authority.ca))
            assert (done.returncode, done.stdout) == (0, "6\n"), done
            assert set(await admin.agents()) == {"ours"}

            refused = submit(tmp_path, url)
            assert (refused.returncode, refused.stdout) == (3, "")
            assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
    finally:
        postgres.drop(database_url)


def test_a_certificate_that_cannot_be_used_is_refused_at_the_start(
    tmp_path: Path, authority: Authority
) -> None:
    cert, _ = authority.issue("localhost")
    _, other_key = authority.issue("elsewhere")
    for key in (other_key, tmp_path / "no.key"):
        refused = run(
            "server",
            folder=tmp_path,
            CURTA_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none",
            CURTA_PORT="0",
            CURTA_TLS_CERT=str(cert),
            CURTA_TLS_KEY=str(key),
        )
        assert refused.returncode == 1
        assert f"{cert} with the key {key} cannot be used" in refused.stderr
        assert "Traceback" not in refused.stderr


async def test_behind_nginx_as_in_the_sample_everything_works_over_tls(
    postgres: PostgresServer, tmp_path: Path, authority: Authority
) -> None:
    cert, key = authority.issue(*NAMES)
    ports = {name: free_port() for name in NAMES}
    site, one, two = (f"https://127.0.0.1:{port}" for port in ports.values())
    cluster = Cluster(
        postgres,
        tmp_path,
        {"CURTA_PUBLIC_URL": site, "CURTA_TRUSTED_PROXIES": "127.0.0.1", "CURTA_PEER_CA": str(authority.ca)},
        orchestrators=2,
        peer_urls=[one, two],
    )
    try:
        replaced = {
            "10.0.0.11:8080": f"127.0.0.1:{cluster.ports[0]}",
            "10.0.0.12:8080": f"127.0.0.1:{cluster.ports[1]}",
            "/etc/ssl/curta/cert.pem": str(cert),
            "/etc/ssl/curta/key.pem": str(key),
            **{
                f"listen 443 ssl;\n    server_name {name};": f"listen 127.0.0.1:{port} ssl;"
                for name, port in ports.items()
            },
        }
        sample = (
            f"pid {tmp_path}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{SAMPLE.read_text()}\n}}\n"
        )
        nginx = Nginx(tmp_path, sample, replaced, port=ports[NAMES[0]])
        try:
            await _use(cluster, site, one, two, authority, tmp_path)
        finally:
            nginx.close()
    finally:
        cluster.close()


async def _use(cluster: Cluster, site: str, one: str, two: str, authority: Authority, folder: Path) -> None:
    trusted = {"CURTA_CA": str(authority.ca)}
    async with Client(site, ADMIN, tls=ssl.create_default_context(cafile=str(authority.ca))) as admin:
        await admin.set_all_durations(0)
        # The follower first: it sends the agent to the leader, by the leader's own name.
        agent = cluster.start_agent("ours", settings={"CURTA_URL": two, **trusted})
        assert f'"url": "{one.replace("https", "wss")}/agents/connect"' in agent.output

        made = await admin.http.post("/expressions", content="2+2*2")
        place = httpx.URL(site).join(made.headers["location"])
        assert (await admin.http.get(place, params={"wait": 50})).json()["result"] == "6"
        done = submit(folder, site, **trusted)
        assert (done.returncode, done.stdout) == (0, "6\n"), done

        # A long body passes, and one that is too long is refused as everywhere.
        long = "+".join(str(number) for number in range(1, 300_000))
        planned = await admin.ask("POST", "/plan", content=long)
        assert planned["tasks"] > 0
        refused = await admin.problem("POST", "/plan", status=413, content=b"1" * (66 * 1024 * 1024))
        assert refused["type"] == "/problems/too_long"

        # A wait at either of them ends with the expression, and the agent's socket stays.
        await admin.set_all_durations(2000)
        for _ in range(2):
            assert (await admin.compute("20+22", within_s=10))["result"] == "42"
        assert agent.output.count('"event": "connected"') == 1

        for server in cluster.servers:
            server.kill()
        away = await admin.http.get("/expressions")
        assert (away.status_code, away.headers["content-type"]) == (503, "application/problem+json")
        assert away.headers["retry-after"] == "1" and away.json()["type"] == "/problems/unavailable"
