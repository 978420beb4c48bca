"""Certificates for tests, made with the `openssl` program: an authority, and what it vouches for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


class Authority:
    """A certificate authority of its own in `folder`; `ca` is what clients are to trust.

    Where this machine has no `openssl`, the test that makes one is skipped; under continuous integration it
    fails.
    """

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            why = "there is no program `openssl` on this machine"
            if os.environ.get("CI") == "true":
                pytest.fail(why)
            pytest.skip(why)
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._key = folder / "ca.key"
        self._make(self.ca, self._key, "/CN=Authority of a test", "basicConstraints=critical,CA:TRUE")

    def issue(self, *names: str) -> tuple[Path, Path]:
        """A certificate for 127.0.0.1 and these names, and its key."""
        cert, key = self._folder / f"{names[0]}.pem", self._folder / f"{names[0]}.key"
        subject = ",".join(("IP:127.0.0.1", *(f"DNS:{name}" for name in names)))
        self._make(
            cert,
            key,
            f"/CN={names[0]}",
            f"subjectAltName={subject}",
            "-CA",
            str(self.ca),
            "-CAkey",
            str(self._key),
        )
        return cert, key

    def _make(self, cert: Path, key: Path, subject: str, extension: str, *options: str) -> None:
        subprocess.run(
            (
                *("openssl", "req", "-x509", "-days", "2", "-nodes"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-subj", subject, "-addext", extension, "-out", str(cert), "-keyout", str(key)),
                *options,
            ),
            check=True,
            capture_output=True,
        )
