"""On what it was measured: the machine and the programs, without a name or a path of it."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from bench import ROOT
from curta_server.embedded import find_programs


def describe() -> dict[str, Any]:
    """What a figure depends on besides the code, and which code it was."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgresql": _said(str(find_programs() / "postgres"), "--version").rpartition(" ")[2],
        "commit": _commit(),
        "load_1_min": os.getloadavg()[0],
    }


def sentence(machine: dict[str, Any]) -> str:
    """The description for people."""
    return (
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB of memory, "
        f"{machine['kernel']}, Python {machine['python']}, PostgreSQL {machine['postgresql']} with `fsync`; "
        f"commit `{machine['commit']}`"
    )


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether absolute figures of the two may be compared."""
    hardware = ("cpu", "cores", "memory_gib")
    return all(one.get(name) == other.get(name) for name in hardware)


def _cpu() -> str:
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return str(names[0]) if names else platform.processor() or platform.machine()


def _commit() -> str:
    """Short, with `+` where files that git knows have been changed since."""
    commit = _said("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    return commit + ("+" if _said("git", "status", "--porcelain", "--untracked-files=no") else "")


def _said(*command: str) -> str:
    try:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return ended.stdout.strip() if ended.returncode == 0 else ""
