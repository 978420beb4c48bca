"""What the tests of offload run in child processes; imports little, as such a module should."""

import os
import signal
from pathlib import Path


class OddError(Exception):
    """Cannot be unpickled: its `__init__` wants more than the message."""

    def __init__(self, code: str, position: int) -> None:
        super().__init__(f"{code} at {position}")


def fail_oddly() -> None:
    raise OddError("nonsense", 3)


def announce_and_pause(directory: str) -> None:
    """Leave a file named by the process id, then wait for ever."""
    (Path(directory) / str(os.getpid())).touch()
    while True:
        signal.pause()


def pause_the_first_time(directory: str) -> int:
    """As above, but repeated in another process it returns that one's id."""
    if any(Path(directory).iterdir()):
        return os.getpid()
    announce_and_pause(directory)
    raise AssertionError("a pause has no end")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def spin(directory: str) -> None:
    """As busy as a process can be, after leaving its file."""
    (Path(directory) / str(os.getpid())).touch()
    while True:
        pass


def shrug_off(number: int) -> str:
    os.kill(os.getpid(), number)
    return "still here"


def count(directory: str) -> int:
    """How many times it was called with this directory."""
    seen = len(list(Path(directory).iterdir()))
    (Path(directory) / f"call {seen}").touch()
    return seen + 1
