"""A real nginx for tests: configurations of ours, started as they are but for addresses and places of files.

Where this machine has no nginx, tests that need it are skipped; under continuous integration they fail.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.processes import die_with_parent, wait_until

_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def program() -> str:
    """Where nginx is; skips the test that asks, or fails it where CI=true."""
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        why = "there is no nginx on this machine (on Debian: apt-get install nginx-light)"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


class Nginx:
    """nginx with `configuration`, in `folder`. It listens when the object is made.

    `replaced` maps texts of the configuration, such as addresses and file names, to what stands for them
    here; each of them must be there.
    """

    def __init__(self, folder: Path, configuration: str, replaced: Mapping[str, str], *, port: int) -> None:
        for text, other in replaced.items():
            assert text in configuration, text
            configuration = configuration.replace(text, other)
        # Where it keeps what does not fit into memory, which is compiled in.
        places = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in _TEMPORARY)
        configuration, count = re.subn(r"(?m)^http \{", f"http {{\n{places}", configuration)
        assert count == 1
        # Its children would be somebody else, who may not look into the folders of a test.
        own = " user root;" if os.geteuid() == 0 else ""
        file = folder / "nginx.conf"
        file.write_text(configuration, encoding="utf-8")
        self._log = folder / "nginx.log"
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                (program(), "-p", folder, "-e", "stderr", "-c", file, "-g", "daemon off;" + own),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

        def listens() -> bool:
            assert self._process.poll() is None, self._log.read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        try:
            wait_until(listens, "nginx listens")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it and its children."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
