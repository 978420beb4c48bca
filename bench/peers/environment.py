"""Where the peers are installed: an environment for each, in bench/.peers, apart from ours and each other.

`packages` pins what goes in, down to the last dependency. An environment is made when it is first needed or
when its pins have changed, and kept: `rm -rf bench/.peers` starts over. Redis is the machine's own, or is
installed from Debian's packages; its service is never started.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from bench import ROOT

PACKAGES = Path(__file__).resolve().parent / "packages"
ENVIRONMENTS = ROOT / "bench" / ".peers"
INSTALL_S = 900
"""A slow network is no reason to leave a peer out; one that does not answer is."""

_POLICY = Path("/usr/sbin/policy-rc.d")


class Missing(Exception):
    """Something cannot be installed here; the text says what and why."""


def python(name: str) -> Path:
    """The interpreter that has what `packages/<name>.txt` pins. Raises Missing."""
    pins = PACKAGES / f"{name}.txt"
    folder = ENVIRONMENTS / name
    interpreter = folder / "bin" / "python"

    def install() -> None:
        _run((sys.executable, "-m", "venv", str(folder)))
        pip = (str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _run((*pip, "--requirement", str(pins)))

    _ensure(folder, (pins,), install)
    return interpreter


def node(name: str) -> tuple[Path, Path]:
    """Node, and the folder that has what `packages/<name>/package-lock.json` pins. Raises Missing."""
    # The client's own way to a Node: the machine's where it is new enough, else the one in our .venv.
    found = _client_npm().find(for_tests=True)
    if found is None:
        raise Missing("there is no Node.js 22.12 or later; `make install` brings one")
    folder = ENVIRONMENTS / name
    pins = tuple(PACKAGES / name / file for file in ("package.json", "package-lock.json"))

    def install() -> None:
        for file in pins:
            shutil.copy(file, folder)
        flags = ("--ignore-scripts", "--no-fund", "--no-audit", "--no-update-notifier", "--loglevel=error")
        path = os.pathsep.join((str(found.folder), os.environ.get("PATH", os.defpath)))
        _run((*found.npm, "ci", *flags), cwd=folder, path=path)

    _ensure(folder, pins, install)
    return found.folder / "node", folder


def redis_server() -> str:
    """The program. Raises Missing."""
    found = shutil.which("redis-server")
    if found is None:
        if shutil.which("apt-get") is None or os.geteuid() != 0:
            raise Missing("there is no redis-server; on Debian and Ubuntu: apt-get install redis-server")
        with _services_not_started():
            _run(("apt-get", "update", "-qq"))
            _run(("apt-get", "install", "-y", "-qq", "--no-install-recommends", "redis-server"))
        found = shutil.which("redis-server")
    if found is None:
        raise Missing("redis-server is installed, but cannot be found")
    return found


def _ensure(folder: Path, pins: Sequence[Path], install: Callable[[], None]) -> None:
    """Install into an empty folder, unless these very pins are installed there already."""
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in pins)).hexdigest()
    stamp = folder / ".pins"
    if stamp.exists() and stamp.read_text() == digest:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install()
    # Last: an environment that was interrupted while it was made has no stamp.
    stamp.write_text(digest)


def _run(command: Sequence[str], *, cwd: Path | None = None, path: str | None = None) -> None:
    """Raises Missing where the command fails or takes longer than INSTALL_S."""
    # Our own packages' places are not theirs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"DEBIAN_FRONTEND": "noninteractive"} | ({"PATH": path} if path else {})
    try:
        subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            timeout=INSTALL_S,
        )
    except OSError as error:
        raise Missing(f"`{' '.join(command)}` does not run: {error}") from error
    except subprocess.TimeoutExpired:
        raise Missing(f"`{' '.join(command)}` took longer than {INSTALL_S} s") from None
    except subprocess.CalledProcessError as error:
        lines = error.stdout.strip().splitlines()
        # pip, npm and apt-get each mark what went wrong, and say other things after it.
        errors = [line for line in lines if line.lower().startswith(("error", "npm err", "e:"))]
        said = " / ".join((errors or lines)[-4:])
        raise Missing(f"`{' '.join(command)}` failed: {said}") from None


def _client_npm() -> ModuleType:
    """client/npm.py, which is no part of a package."""
    name = "curta_client_npm"
    if name not in sys.modules:
        place = ROOT / "client" / "npm.py"
        spec = importlib.util.spec_from_file_location(name, place)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@contextmanager
def _services_not_started() -> Iterator[None]:
    """Packages that are installed within the block do not start their services."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
