"""The commands for people and for those who keep it, beside a real `curta up`."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.curta_up import CurtaUp, run, running_in

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CurtaUp]:
    with running_in(tmp_path_factory.mktemp("up")) as running:
        assert running.run("operations", *(f"{name}=0" for name in OPERATIONS)).returncode == 0
        yield running


OPERATIONS = ("addition", "subtraction", "multiplication", "division")


def tokens(up: CurtaUp) -> list[dict[str, Any]]:
    return [json.loads(line) for line in up.run("token", "list", "--json").stdout.splitlines()]


def test_the_link_signs_in_and_the_log_keeps_the_secret(up: CurtaUp) -> None:
    greeting, log = [], []
    for line in up.process.output.splitlines():
        (log if line.startswith("{") else greeting).append(line)
    (link,) = re.findall(r"http://\S+/ui/#token=\S+", "\n".join(greeting))
    assert link == f"{up.url}/ui/#token={up.token}"
    assert log
    assert not any(up.token in line for line in log)


def test_the_folder_is_its_owners_alone(up: CurtaUp) -> None:
    for name in ("admin.token", "agent.token", "url", "database.url"):
        assert (up.data / name).stat().st_mode & 0o777 == 0o600, name
    assert up.data.stat().st_mode & 0o066 == 0


def test_results_come_alone_on_standard_output_in_order(up: CurtaUp) -> None:
    ended = up.run("submit", "--wait", "2 + 2 * 2", "-2+3", "1/3*3", "--", "-2")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "6\n1\n1\n-2\n", "")


@pytest.mark.parametrize(
    ("expression", "code"), [("2 + 2", 0), ("4 / 0", 1), ("2 2", 2), ("--no-such-flag", 2)]
)
def test_the_exit_code_tells_how_it_ended(up: CurtaUp, expression: str, code: int) -> None:
    assert up.run("submit", "--wait", expression).returncode == code


def test_an_id_makes_one_expression(up: CurtaUp) -> None:
    assert up.run("submit", "--wait", "--id", "mine", "3 + 4").stdout == "7\n"
    assert (
        up.run("submit", "--id", "mine", "3 + 4").stdout == up.run("submit", "--id", "mine", "3 + 4").stdout
    )
    assert up.run("submit", "--id", "mine", "3 + 5").returncode == 2


def test_as_written_shares_and_regroups_nothing(up: CurtaUp) -> None:
    counts = []
    for flags in ((), ("--as-written",)):
        ended = up.run("submit", "--wait", "--json", *flags, "(1+2)*(1+2)")
        counts.append(json.loads(ended.stdout)["tasks"]["total"])
    assert counts == [2, 3]


def test_an_expression_is_listed_shown_and_cancelled(up: CurtaUp) -> None:
    up.run("operations", "subtraction=600000")
    id = up.run("submit", "7 - 5 - 4").stdout.strip()
    assert f"\n{id} " in "\n" + up.run("list", "--status", "running", "--status", "queued").stdout
    assert "expression:  7 - 5 - 4" in up.run("show", id, "--tasks").stdout
    assert up.run("cancel", id).stdout == f"{id} cancelled\n"
    assert up.run("submit", "--wait", "--json", "1 + 2").returncode == 0
    done = up.run("list", "--status", "done", "--limit", "1").stdout.splitlines()[1].split()[0]
    assert up.run("cancel", done).returncode == 2
    assert up.run("show", "nonsense").returncode == 2


def test_agents_are_listed(up: CurtaUp) -> None:
    lines = up.run("agents").stdout.splitlines()
    assert len(lines) == 3
    assert all("addition, subtraction, multiplication, division" in line for line in lines[1:])


def test_a_token_is_made_used_and_revoked(up: CurtaUp) -> None:
    made = up.run("token", "create", "--role", "viewer", "--name", "v", "--expires-in", "1h")
    secret = made.stdout.strip()
    assert up.run("list", CURTA_TOKEN=secret).returncode == 0
    assert up.run("submit", "1 + 1", CURTA_TOKEN=secret).returncode == 2
    (viewer,) = (token for token in tokens(up) if token["role"] == "viewer")
    assert up.run("token", "revoke", viewer["id"]).returncode == 0
    assert up.run("token", "revoke", "00000000-0000-0000-0000-000000000000").returncode == 1


def test_the_last_administrator_is_kept(up: CurtaUp) -> None:
    (admin,) = (token for token in tokens(up) if token["role"] == "admin")
    refused = up.run("token", "revoke", admin["id"])
    assert (refused.returncode, "last administrator" in refused.stderr) == (1, True)


def test_old_expressions_are_deleted(up: CurtaUp) -> None:
    id = up.run("submit", "--wait", "--json", "5 + 6").stdout
    assert re.match(r"Deleted [1-9]", up.run("prune", "--older-than", "0s").stdout)
    assert up.run("show", json.loads(id)["id"]).returncode == 2
    assert up.run("prune", "--older-than", "30").returncode == 2


def test_a_taken_port_is_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("up", "--port", str(port), folder=tmp_path)
    assert ended.returncode == 1
    assert f"port {port}: it is taken" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / ".curta" / "postgres" / "postmaster.pid").exists()


def test_a_revoked_token_is_made_anew_at_the_next_start(tmp_path: Path) -> None:
    with running_in(tmp_path, agents=0) as up:
        before = up.token
        assert up.run("token", "create", "--role", "admin", "--name", "spare").returncode == 0
        (old,) = (token for token in tokens(up) if token["name"] == "admin")
        assert up.run("token", "revoke", old["id"]).returncode == 0
        up.process.terminate()
        up.start()
        assert up.token != before
        assert up.run("list").returncode == 0


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "mysql://host/db"])
def test_a_database_that_cannot_be_had_is_a_sentence(tmp_path: Path, url: str) -> None:
    for command in (("migrate",), ("token", "list"), ("prune", "--older-than", "1d")):
        ended = run(*command, folder=tmp_path, CURTA_DATABASE_URL=url)
        assert ended.returncode in (2, 3)
        assert "Traceback" not in ended.stderr


def test_a_server_does_not_migrate(up: CurtaUp, tmp_path: Path) -> None:
    fresh = (up.data / "database.url").read_text().strip().replace("/postgres?", "/template1?")
    ended = run("server", "--port", "0", folder=tmp_path, CURTA_DATABASE_URL=fresh)
    assert (ended.returncode, "curta migrate" in ended.stderr) == (1, True)
