"""Histories in processes of their own, side by side; and one of them here, with its trace."""

import gc
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

from tests.simulation.history import Outcome, run
from tests.simulation.seams import Seams

HISTORY_S = 120
"""Of real time: a history that takes longer hangs."""

_seams: Seams
_open = ExitStack()
Prepare = Callable[[ExitStack], None]


def histories(
    seeds: Iterable[int], *, processes: int, seconds: float = float("inf"), prepare: Prepare | None = None
) -> Iterator[Outcome]:
    """The outcomes, as they come; no history begins after so many seconds. `prepare` breaks something in
    each process."""
    began = time.monotonic()
    if prepare is not None:
        with ExitStack() as stack:
            prepare(
                stack
            )  # where it cannot be done, the pool would begin one process after the other, for ever
    # The pool's own thread takes all there are at once, and time would be up before the first has begun.
    places = threading.Semaphore(4 * processes)
    is_over = threading.Event()

    def in_time() -> Iterator[int]:
        for seed in seeds:
            places.acquire()
            if is_over.is_set() or time.monotonic() - began > seconds:
                return
            yield seed

    pool = multiprocessing.get_context("spawn").Pool(processes, _begin, (prepare,))
    try:
        for outcome in pool.imap_unordered(_one, in_time()):
            places.release()
            yield outcome
    finally:
        # The thread that waits for a place ends by this, and by nothing else: `terminate` waits for it.
        is_over.set()
        places.release()
        pool.terminate()
        pool.join()


def replay(seed: int, prepare: Prepare | None = None) -> Outcome:
    """One history, traced, in this process."""
    hook, sys.unraisablehook = sys.unraisablehook, _ignore
    try:
        with Seams().installed() as seams, ExitStack() as stack:
            if prepare is not None:
                prepare(stack)
            outcome = run(seed, seams, traced=True)
            seams.leave()
            gc.collect()
            return outcome
    finally:
        sys.unraisablehook = hook


def _begin(prepare: Prepare | None) -> None:
    global _seams
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.unraisablehook = _ignore
    _seams = _open.enter_context(Seams().installed())
    if prepare is not None:
        prepare(_open)
    # What is imported stays; what a history leaves behind is swept up after it, at no other time.
    gc.collect()
    gc.freeze()
    gc.disable()


def _one(seed: int) -> Outcome:
    signal.alarm(HISTORY_S)
    outcome = run(seed, _seams)
    _seams.leave()
    gc.collect()
    signal.alarm(0)
    return outcome


def _ignore(_: object) -> None:
    """What the dead left behind protests when it is swept up."""
