"""The OpenAPI document that is printed without a server is the one that a server answers."""

import json
import subprocess
import sys
from typing import Any

from tests.support.rest import Rest

from curta_server.api.document import document


async def test_it_is_what_a_running_orchestrator_answers(rest: Rest) -> None:
    answer = await rest.ask("GET", "/openapi.json", by=None)
    assert answer.body == await document()


def test_it_is_printed_with_the_shapes_of_what_is_live() -> None:
    done = subprocess.run(
        (sys.executable, "-m", "curta_server.api.document"), capture_output=True, timeout=60, check=True
    )
    printed: dict[str, Any] = json.loads(done.stdout)
    assert {"Subscribe", "Snapshot", "Delta"} <= set(printed["components"]["schemas"])
    assert "/session" in printed["paths"]
