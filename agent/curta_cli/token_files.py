"""Files that hold the secret of a usable token: how `curta up` and the compose file hand tokens on.

A file is left alone as long as its secret is usable. Where the database forgot or revoked it, or the file is
gone, a new token is made, because nobody can show an old one's secret again.
"""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path


def make_token_files(url: str, files: Mapping[str, Path]) -> list[Path]:
    """Make sure that each file holds the secret of a usable token whose role and name are its key.

    Returns the files that were written. Directories are made, readable by their owner only.
    Raises: OSError; whatever `store.is_outage` tells apart.
    """
    return asyncio.run(_make(url, files))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; nobody ever sees half of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes it with mode 0600; the new file takes the old one's place in one step.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


async def _make(url: str, files: Mapping[str, Path]) -> list[Path]:
    from curta_server import store
    from curta_server.credentials import Credentials

    written: list[Path] = []
    engine = store.create_engine(url, pool_size=1, name="curta tokens")
    try:
        credentials = Credentials(engine)
        for role, path in files.items():
            kept = _read(path)
            token = await credentials.verify(kept) if kept else None
            if token is None or token.role != role:
                _, secret = await credentials.create(role, role)
                write_private(path, secret)
                written.append(path)
    finally:
        await engine.dispose()
    return written


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
