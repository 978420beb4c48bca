"""docker-compose.yml without an engine: each service of ours runs as a local process from its own command and
environment, and the proxy as a local nginx with its own configuration. Service names and fixed addresses are
mapped to loopback, volumes to folders."""

import functools
import ipaddress
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.nginx import Nginx
from tests.support.postgres import PostgresServer
from tests.support.processes import CurtaProcess, free_port, wait_until

pytestmark = pytest.mark.acceptance

TAKE_OVER_S = 10.0
"""After the leader was killed tasks flow again within this."""

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
ORCHESTRATORS = ("orchestrator-1", "orchestrator-2")
OURS = ("migrate", *ORCHESTRATORS, "agent")
PROXY = "proxy"


class Services:
    """Runs services of the compose file in `folder`; every path, address and port of the file is mapped."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.port = free_port()
        """The one that is published."""
        self.ports = {name: free_port() for name in ORCHESTRATORS}
        self._volumes = folder / "volumes"
        for name in COMPOSE["volumes"]:
            (self._volumes / name).mkdir(parents=True)
        # What the database's own container leaves there.
        (self._volumes / "database-secret" / "database.url").write_text(database_url)
        self._folder = folder
        self._running: list[CurtaProcess | Nginx] = []

    def start(self, name: str) -> CurtaProcess:
        """One container of a service."""
        service = COMPOSE["services"][name]
        mounts = dict(volume.split(":")[1::-1] for volume in service["volumes"])

        def mapped(text: str) -> str:
            for target, volume in mounts.items():
                if text == target or text.startswith(target + "/"):
                    return str(self._volumes / volume) + text[len(target) :]
            for orchestrator, port in self.ports.items():
                text = text.replace(f"//{orchestrator}:8080", f"//127.0.0.1:{port}")
            text = text.replace("//127.0.0.1:8080", f"//127.0.0.1:{self.port}")
            own = {"0.0.0.0": "127.0.0.1", address(PROXY): "127.0.0.1", "8080": str(self.ports.get(name))}
            return own.get(text, text)

        variables = {key: mapped(str(value)) for key, value in service["environment"].items()}
        process = CurtaProcess(
            *map(mapped, service["command"]),
            log=self._folder / f"{name}-{len(self._running)}.log",
            environment=variables,
        )
        self._running.append(process)
        return process

    def start_proxy(self) -> None:
        """The proxy's container, with the configuration that is mounted there."""
        service = COMPOSE["services"][PROXY]
        (mount,) = service["volumes"]
        file, target, mode = mount.split(":")
        assert (target, mode) == ("/etc/nginx/nginx.conf", "ro")
        (published,) = service["ports"]
        assert published == "127.0.0.1:8080:8080"
        replaced = {f"{address(name)}:8080": f"127.0.0.1:{port}" for name, port in self.ports.items()}
        replaced["listen 8080;"] = f"listen 127.0.0.1:{self.port};"
        replaced["pid /tmp/nginx.pid;"] = f"pid {self._folder / 'nginx.pid'};"
        configuration = (ROOT / file).read_text(encoding="utf-8")
        self._running.append(Nginx(self._folder, configuration, replaced, port=self.port))

    def token(self) -> str:
        return (self._volumes / "tokens" / "admin.token").read_text().strip()

    def call(
        self, method: str, path: str, body: Any = None, token: str = "", *, port: int | None = None
    ) -> tuple[int, Any]:
        """What the published port answers, or another one."""
        answer = httpx.request(
            method,
            f"http://127.0.0.1:{port or self.port}{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=60,
        )
        return answer.status_code, answer.json() if answer.content else None

    def is_ready(self, name: str) -> bool:
        try:
            return self.call("GET", "/readyz", port=self.ports[name])[0] == 200
        except httpx.TransportError:
            return False

    def leader(self) -> str | None:
        """The service that leads."""
        for name in ORCHESTRATORS:
            try:
                if self.call("GET", "/leaderz", port=self.ports[name])[0] == 200:
                    return name
            except httpx.TransportError:
                continue
        return None

    def close(self) -> None:
        for process in reversed(self._running):
            process.close()

    def finish(self, name: str) -> int:
        """Run a service that ends by itself; returns its exit code."""
        process = self.start(name)
        wait_until(lambda: not process.is_running, f"{name} has ended", within_s=20)
        return process.terminate()[0]


def address(name: str) -> str:
    """A service's fixed address."""
    found: str = COMPOSE["services"][name]["networks"]["site"]["ipv4_address"]
    return found


@pytest.fixture
def services(postgres: PostgresServer, tmp_path: Path) -> Iterator[Services]:
    url = postgres.database(template="template0")
    running = Services(tmp_path, url)
    try:
        yield running
    finally:
        running.close()
        postgres.drop(url)


def test_the_services_see_expressions_through_and_the_site_outlives_one_orchestrator(
    services: Services,
) -> None:
    assert services.finish("migrate") == 0
    token = services.token()
    # Once more, as every `docker compose up` does it: nothing changes.
    assert services.finish("migrate") == 0
    assert services.token() == token

    orchestrators = {}
    for name in ORCHESTRATORS:
        orchestrators[name] = services.start(name)
        wait_until(functools.partial(services.is_ready, name), f"{name} is ready", within_s=20)
    services.start_proxy()
    agents = [services.start("agent") for _ in range(COMPOSE["services"]["agent"]["deploy"]["replicas"])]
    outputs = [process.log for process in (*orchestrators.values(), *agents)]

    def compute(text: str, id: str) -> str:
        """As a client does it that tries again where it is told to."""
        deadline = time.monotonic() + TAKE_OVER_S
        method, path = "POST", "/expressions"
        body: Any = {"expression": text, "id": id}
        while True:
            status, answer = services.call(method, path, body, token)
            if status == 200 and answer["finished_at"] is not None:
                return str(answer["result"])
            if status == 200:
                method, path, body = "GET", f"/expressions/{answer['id']}?wait=5", None
            else:
                assert (status, answer["type"]) == (503, "/problems/unavailable"), answer
            assert time.monotonic() < deadline, (answer, outputs)

    services.call("PUT", "/operations/multiplication", {"duration_ms": 0}, token)
    services.call("PUT", "/operations/addition", {"duration_ms": 0}, token)
    assert compute("2 + 2 * 2", "one") == "6"
    # Both are behind the proxy: whichever is asked says the same.
    listed = [services.call("GET", "/expressions", token=token)[1]["items"] for _ in range(4)]
    assert listed == [listed[0]] * 4 and len(listed[0]) == 1

    former = services.leader()
    assert former is not None
    orchestrators[former].kill()
    assert compute("2 + 3 * 4", "two") == "14"
    assert services.leader() not in (None, former)
    for _ in range(10):
        assert services.call("GET", "/expressions", token=token)[0] == 200, "the site is gone with one of two"
    # As the restart policy does it.
    orchestrators[former] = services.start(former)
    wait_until(functools.partial(services.is_ready, former), f"{former} is ready", within_s=20)
    ended = [process.terminate()[0] for process in (*agents, *orchestrators.values())]
    assert ended == [0] * len(ended)
    status, answer = services.call("GET", "/expressions", token=token)
    assert (status, answer["type"]) == (503, "/problems/unavailable"), "nobody is there"


def test_what_the_proxy_may_forward_is_believed_and_nothing_of_anybody_else() -> None:
    subnet = ipaddress.ip_network(COMPOSE["networks"]["site"]["ipam"]["config"][0]["subnet"])
    addresses = [ipaddress.ip_address(address(name)) for name in (PROXY, *ORCHESTRATORS)]
    assert len(set(addresses)) == 3 and all(one in subnet for one in addresses)
    for name in ORCHESTRATORS:
        service = COMPOSE["services"][name]
        assert service["environment"]["CURTA_TRUSTED_PROXIES"] == address(PROXY)
        assert service["environment"]["CURTA_PEER_URL"] == f"http://{name}:8080"
    assert "agents" not in COMPOSE["services"][PROXY]["networks"]


def test_agents_know_both_orchestrators_and_not_the_proxy() -> None:
    urls = COMPOSE["services"]["agent"]["environment"]["CURTA_URL"].split(",")
    assert urls == [COMPOSE["services"][name]["environment"]["CURTA_PEER_URL"] for name in ORCHESTRATORS]
    assert "site" not in COMPOSE["services"]["agent"]["networks"]


def test_agents_see_neither_the_database_nor_the_administrators_token() -> None:
    agent = COMPOSE["services"]["agent"]
    assert [volume.split(":")[0] for volume in agent["volumes"]] == ["agent-token"]
    assert "database" not in agent["networks"]
    assert COMPOSE["networks"]["database"]["internal"] is True


def test_nothing_is_published_beyond_loopback_and_no_secret_stands_in_the_file() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        for variable in service.get("environment", {}):
            secret = variable.endswith(("PASSWORD", "TOKEN", "DATABASE_URL"))
            assert not secret, (name, variable)


def test_every_service_waits_for_what_it_needs_to_be_healthy() -> None:
    conditions = {
        name: {needed: how["condition"] for needed, how in COMPOSE["services"][name]["depends_on"].items()}
        for name in OURS
    }
    assert conditions["migrate"] == {"postgres": "service_healthy"}
    for name in ORCHESTRATORS:
        assert conditions[name]["migrate"] == "service_completed_successfully"
    assert conditions["agent"] == dict.fromkeys(ORCHESTRATORS, "service_healthy")


@pytest.mark.parametrize("name", ["server", "agent"])
def test_images_are_multi_stage_not_root_and_checked(name: str) -> None:
    text = (ROOT / "docker" / f"{name}.Dockerfile").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    stages = [at for at, line in enumerate(lines) if line[0] == "FROM"]
    assert len(stages) > 1
    final = lines[stages[-1] :]
    copied = [line[1] for line in final if line[0] == "COPY"]
    assert copied == ["--from=build"], "what the package is made of, and with, stays behind"
    assert ["USER", "curta"] in final
    assert any(line[0] == "HEALTHCHECK" for line in final)
    sources = {
        source
        for line in lines
        if line[0] == "COPY" and not line[1].startswith("--from=")
        for source in line[1:-1]
    }
    assert all((ROOT / source).exists() for source in sources)


@pytest.mark.parametrize("name", ["server", "agent"])
def test_images_install_the_versions_that_the_tests_ran_with(name: str) -> None:
    text = (ROOT / "docker" / f"{name}.Dockerfile").read_text(encoding="utf-8")
    (install,) = [line for line in text.splitlines() if "pip install" in line]
    assert "--constraint /constraints.txt" in install
    assert "COPY constraints.txt /\n" in text
    assert "!constraints.txt" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def test_the_build_gets_what_the_package_is_made_of_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert {"pyproject.toml", "README.md", "LICENSE", "agent", "server", "alembic"} <= kept
    assert "*" in lines
    assert all(os.path.exists(ROOT / name) for name in kept)
