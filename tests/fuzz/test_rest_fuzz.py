"""schemathesis over the whole OpenAPI document of a running orchestrator, with each role's token.

It makes valid and invalid requests of every route, chains them (what one answers the next one asks for), and
holds every answer against the document: status, content type, headers, body. The document is sharpened
first: an answer may have no field that is not in it. Short in `make test`, long in `make fuzz`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.postgres import NEWEST, PostgresServers
from tests.support.processes import ADMIN, AGENT, Cluster

EXAMPLES = 1_000 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 8
TIMEOUT_S = 6 * 3600 if EXAMPLES > 8 else 120
RULES = Path(__file__).parent / "schemathesis.toml"

REQUESTS = {
    "Submission", "BatchSubmission", "DurationChange", "TokenRequest", "TaskResult", "TaskFault",
    "LeaseRenewal", "SessionRequest",
}  # fmt: skip
"""Shapes of requests: unknown fields of those are ignored, which is documented."""


@pytest.fixture(scope="module")
def cluster(postgres_servers: PostgresServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An orchestrator where something is done, something runs, something waits and something failed."""
    postgres = postgres_servers.get(NEWEST)
    assert postgres is not None
    cluster = Cluster(postgres, tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start_agent("busy")
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def secrets(cluster: Cluster) -> dict[str, str]:
    """A token of each role, and none."""
    made = {"nobody": "", "agent": AGENT}
    with httpx.Client(base_url=cluster.url, headers={"Authorization": f"Bearer {ADMIN}"}) as admin:
        for role in ("viewer", "user", "admin"):
            answer = admin.post("/tokens", json={"name": f"a {role}", "role": role})
            made[role] = answer.raise_for_status().json()["secret"]
        for name in ("addition", "subtraction"):
            admin.put(f"/operations/{name}", json={"duration_ms": 0}).raise_for_status()
        admin.put("/operations/multiplication", json={"duration_ms": 604_800_000}).raise_for_status()
    with httpx.Client(base_url=cluster.url, headers={"Authorization": f"Bearer {made['user']}"}) as user:
        for text in ("1+2", "2*3*4*5", "1/(1-1)", "7"):
            user.post("/expressions", content=text).raise_for_status()
    return made


@pytest.fixture(scope="module")
def document(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The OpenAPI document, with answers closed: what it does not mention must not be there."""
    described: dict[str, Any] = cluster.get("/openapi.json").json()
    for name, shape in described["components"]["schemas"].items():
        if name not in REQUESTS and shape.get("type") == "object":
            shape["additionalProperties"] = False
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(described))
    return path


def defects(cluster: Cluster) -> list[str]:
    """What the orchestrator's own log calls a defect."""
    return [line for line in cluster.server.output.splitlines() if '"defect"' in line]


# The admin comes last and revokes no token: the others would be left without.
@pytest.mark.parametrize("role", ["nobody", "viewer", "agent", "user", "admin"])
def test_every_answer_is_as_documented(
    role: str, cluster: Cluster, secrets: dict[str, str], document: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(RULES), "run", str(document),
        "--url", cluster.url, "--max-examples", str(EXAMPLES),
    ]  # fmt: skip
    if secrets[role]:
        command += ["--header", f"Authorization: Bearer {secrets[role]}"]
    if role == "admin":
        command += ["--exclude-operation-id", "revoke_token"]
    ran = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    assert "Tested:" in ran.stdout
    assert not defects(cluster)
    assert cluster.server.is_running
