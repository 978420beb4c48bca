"""What happened in a run, with times: faults, notes, and what should not have happened."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

FINDINGS_MAX = 20
"""The first ones say it; more only hide them."""


class Chronicle:
    """Written by everybody, also to `path` line by line. Times are seconds since `begin` was called."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._began = time.monotonic()
        self.faults: Counter[str] = Counter()
        self.findings: list[str] = []
        self.has_failed = asyncio.Event()
        """Set by the first finding: there is no use in going on."""

    def begin(self) -> None:
        """The run's time starts now."""
        self._began = time.monotonic()

    def close(self) -> None:
        self._file.close()

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._began

    def note(self, what: str) -> None:
        self._file.write(f"{self.now_s:8.2f} s  {what}\n")

    def fault(self, kind: str, detail: str) -> None:
        """A fault has been injected."""
        self.faults[kind] += 1
        self.note(f"FAULT  {kind}: {detail}")

    def finding(self, what: str) -> None:
        """Something that must never happen has happened."""
        self.note(f"FOUND  {what}")
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(f"after {self.now_s:.1f} s: {what}")
        self.has_failed.set()
