"""The database's clock, told without asking it: whoever writes a moment down, one clock tells it."""

import time


class DatabaseClock:
    """What the database's clock shows, by this process's monotonic clock and the last measures of how far
    they are apart. Before the first measure it starts in 1970."""

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def measure(self, asked_s: float, clock_us: int, answered_s: float) -> None:
        """The database read its clock somewhere between the question and the answer (monotonic seconds).

        What was believed changes by no more than that proves wrong. So a slow answer, perhaps after a wait
        for a lock, changes little, and a moment that was told once is told the same again.
        """
        clock_s = clock_us / 1_000_000
        least, most = clock_s - answered_s, clock_s - asked_s
        if self._offset_s is None:
            self._offset_s = (least + most) / 2
        self._offset_s = min(max(self._offset_s, least), most)

    def us(self, monotonic_s: float) -> int:
        """A moment of the monotonic clock as the database would tell it, in microseconds since 1970."""
        return int((monotonic_s + (self._offset_s or 0.0)) * 1_000_000)

    def monotonic_s(self, us: int) -> float:
        """The same the other way round."""
        return us / 1_000_000 - (self._offset_s or 0.0)

    def now_us(self) -> int:
        """The database's time now."""
        return self.us(time.monotonic())
