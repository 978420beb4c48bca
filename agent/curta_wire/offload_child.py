"""What runs in a child process of `Offload`: calls come on standard input, outcomes leave on standard output.

Imports next to nothing, for every child pays for it; the functions it is asked to run bring their own
modules. A message is its length in eight bytes, then that many bytes of pickle.
"""

import os
import pickle
import queue
import signal
import threading
import traceback
from typing import IO, Any


def write_message(stream: IO[bytes], message: bytes) -> None:
    """Send one message. Raises: OSError when the other side is gone."""
    stream.write(len(message).to_bytes(8, "big"))
    stream.write(message)
    stream.flush()


def read_message(stream: IO[bytes]) -> bytes:
    """Wait for one message. Raises: EOFError when the other side is gone, also in the middle of a message."""
    return _read_exactly(stream, int.from_bytes(_read_exactly(stream, 8), "big"))


def serve() -> None:
    """Serve calls one after the other until the parent is gone; never returns.

    A thread reads ahead, for only so is the end of the parent noticed while a call runs.
    """
    # The parent decides when a child ends, also when a signal reaches the whole control group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # A function that prints or reads must not get at the messages: it has /dev/null and standard error.
    calls_in, outcomes_out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_calls, args=(calls_in, calls), daemon=True).start()
    while True:
        outcome = _perform(calls.get())
        try:
            write_message(outcomes_out, outcome)
        except OSError:
            os._exit(0)


def _read_calls(stream: IO[bytes], calls: "queue.SimpleQueue[bytes]") -> None:
    try:
        while True:
            calls.put(read_message(stream))
    except (EOFError, OSError):
        os._exit(0)  # without waiting for the call that runs: nobody is left to want it


def _perform(call: bytes) -> bytes:
    """The pickled outcome of a pickled call: `(True, value)` or `(False, exception)`."""
    try:
        function, arguments = pickle.loads(call)
        return pickle.dumps((True, function(*arguments)), protocol=5)
    except Exception as error:
        error.add_note(f"In a child process:\n{traceback.format_exc()}")
        return pickle.dumps((False, _portable(error)), protocol=5)


def _portable(error: Exception) -> Exception:
    """The error itself if it survives pickling (many with an own `__init__` do not), else its text."""
    try:
        copy: Any = pickle.loads(pickle.dumps(error, protocol=5))
    except Exception:
        copy = None
    return error if type(copy) is type(error) else RuntimeError(f"{type(error).__name__}: {error}")


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
