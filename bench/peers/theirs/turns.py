"""How a peer's driver talks to the benchmark: one line of JSON for each measurement that it is asked for.

Runs under the peers' interpreters, so it lives on the standard library alone; `driver` is the other end.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Libraries print: what they say goes to standard error, the answers to where standard output went before.
_answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

Measure = Callable[[str, int], tuple[float, float, int]]


def serve(about: dict[str, Any], measure: Measure) -> None:
    """Say what is measured, then measure whenever asked, until the end of standard input.

    `measure` takes a shape and a number of tasks, and gives seconds by the peer's clock and from the
    submission on, and what was computed.
    """
    say(json.dumps(about))
    for line in sys.stdin:
        order = json.loads(line)
        try:
            seconds, in_all_s, value = measure(order["shape"], order["tasks"])
        except Exception as error:
            say(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        else:
            say(json.dumps({"seconds": seconds, "in_all_s": in_all_s, "value": value}))


@contextmanager
def process(*command: str) -> "Iterator[subprocess.Popen[str]]":
    """A process of the peer, its standard input and output in our hands, ended with the block."""
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Look again and again. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready within {seconds:.0f} s")
        time.sleep(0.05)


def say(line: str) -> None:
    """To whoever started this process."""
    _answers.write(line + "\n")
