"""docker-compose.yml without an engine: each service of ours runs as a local process from its own command and
environment, with service names mapped to loopback and volumes to folders."""

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.postgres import PostgresServer
from tests.support.processes import CurtaProcess, free_port, wait_until

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
OURS = ("migrate", "orchestrator", "agent")


class Services:
    """Runs services of the compose file in `folder`; every path and port of the file is mapped."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.port = free_port()
        self._volumes = folder / "volumes"
        for name in COMPOSE["volumes"]:
            (self._volumes / name).mkdir(parents=True)
        # What the database's own container leaves there.
        (self._volumes / "database-secret" / "database.url").write_text(database_url)
        self._folder = folder
        self._running: list[CurtaProcess] = []

    def start(self, name: str) -> CurtaProcess:
        """One container of a service."""
        service = COMPOSE["services"][name]
        mounts = dict(volume.split(":")[1::-1] for volume in service["volumes"])

        def mapped(text: str) -> str:
            for target, volume in mounts.items():
                if text == target or text.startswith(target + "/"):
                    return str(self._volumes / volume) + text[len(target) :]
            if text == "0.0.0.0":
                return "127.0.0.1"
            return text.replace("//orchestrator:", "//127.0.0.1:").replace("8080", str(self.port))

        variables = {key: mapped(str(value)) for key, value in service["environment"].items()}
        process = CurtaProcess(
            *map(mapped, service["command"]),
            log=self._folder / f"{name}-{len(self._running)}.log",
            environment=variables,
        )
        self._running.append(process)
        return process

    def token(self) -> str:
        return (self._volumes / "tokens" / "admin.token").read_text().strip()

    def call(self, method: str, path: str, body: str | None = None, token: str = "") -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else body.encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "text/plain"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"null")

    def is_ready(self) -> bool:
        try:
            return self.call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def close(self) -> None:
        for process in reversed(self._running):
            process.close()

    def finish(self, name: str) -> int:
        """Run a service that ends by itself; returns its exit code."""
        process = self.start(name)
        wait_until(lambda: not process.is_running, f"{name} has ended", within_s=60)
        return process.terminate()[0]


@pytest.fixture
def services(postgres: PostgresServer, tmp_path: Path) -> Iterator[Services]:
    url = postgres.database(template="template0")
    running = Services(tmp_path, url)
    try:
        yield running
    finally:
        running.close()
        postgres.drop(url)


def test_the_services_see_an_expression_through(services: Services) -> None:
    assert services.finish("migrate") == 0
    token = services.token()
    # Once more, as every `docker compose up` does it: nothing changes.
    assert services.finish("migrate") == 0
    assert services.token() == token

    orchestrator = services.start("orchestrator")
    wait_until(services.is_ready, "the orchestrator is ready", within_s=60)
    agents = [services.start("agent") for _ in range(COMPOSE["services"]["agent"]["deploy"]["replicas"])]
    _, made = services.call("POST", "/expressions", "2 + 2 * 2", token)
    _, done = services.call("GET", f"/expressions/{made['id']}?wait=30", token=token)
    assert (done["status"], done["result"]) == ("done", "6"), [agent.output for agent in agents]
    assert [process.terminate()[0] for process in (*agents, orchestrator)] == [0] * (len(agents) + 1)


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
    assert conditions["orchestrator"]["migrate"] == "service_completed_successfully"
    assert conditions["agent"] == {"orchestrator": "service_healthy"}


@pytest.mark.parametrize("name", ["server", "agent"])
def test_images_are_multi_stage_not_root_and_checked(name: str) -> None:
    text = (ROOT / "docker" / f"{name}.Dockerfile").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert sum(line[0] == "FROM" for line in lines) == 2
    assert ["USER", "curta"] in lines
    assert any(line[0] == "HEALTHCHECK" for line in lines)
    copied = {
        source for line in lines if line[0] == "COPY" and "--from=build" not in line for source in line[1:-1]
    }
    assert all((ROOT / source).exists() for source in copied)


def test_the_build_gets_what_the_package_is_made_of_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert {"pyproject.toml", "README.md", "LICENSE", "agent", "server", "alembic"} <= kept
    assert "*" in lines
    assert all(os.path.exists(ROOT / name) for name in kept)
