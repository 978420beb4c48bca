"""How much a call does, counted: what Python executes, and what its C functions are called for.

Counts do not depend on the machine or its load. They do not see how long one C call takes (a regular
expression, a slice, a conversion); for that there is `cpu_s`, to be compared over so wide a range that load
does not matter.
"""

import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any


def work(run: Callable[[], object]) -> int:
    """Bytecode instructions executed and C functions called."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        if event == "opcode":
            count += 1
        elif event == "call":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return trace

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event == "c_call":
            count += 1

    before = sys.gettrace()
    sys.setprofile(profile)
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
        sys.setprofile(None)
    return count


def cpu_s(run: Callable[[], object], times: int = 3) -> float:
    """The least CPU time of a few calls, in seconds."""
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        run()
        best = min(best, time.process_time() - began)
    return best


def calls(run: Callable[[], object]) -> int:
    """Functions called, ours and Python's own. Sees less than `work`, and costs much less."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count
