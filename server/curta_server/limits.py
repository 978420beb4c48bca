"""How much of something one may have: rates, places and bytes, as plain counting.

The gate of the routes asks here. Pure: time comes in as an argument, nothing waits, and whoever is refused
is told for how long. What becomes of a refusal is the caller's to say.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BUCKETS_KEPT = 10_000
"""Beyond it, buckets that are full again are forgotten: a new one is full, too."""


class Bucket:
    """A token bucket that may be overdrawn: what is asked for at once passes as soon as there is as much as
    the bucket holds, and is paid off before the next.

    So a batch larger than the burst still passes, and the rate holds over time all the same.
    """

    __slots__ = ("_at", "_level", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float, now: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._level = burst
        self._at = now

    def take(self, amount: float, now: float) -> float:
        """Take so much: 0 where it is given, else the seconds after which it will be (and nothing is
        taken)."""
        level = self._level_at(now)
        missing = min(amount, self.burst) - level
        if missing > 0:
            return missing / self.rate_per_s
        self._level = level - amount
        self._at = now
        return 0.0

    def is_full(self, now: float) -> bool:
        return self._level_at(now) >= self.burst

    def _level_at(self, now: float) -> float:
        return min(self.burst, self._level + (now - self._at) * self.rate_per_s)


class Buckets(Generic[K]):
    """A bucket for each key, made when it is first asked for."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._buckets: dict[K, Bucket] = {}
        self._forget_at = BUCKETS_KEPT

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: K, amount: float, now: float) -> float:
        """As Bucket.take, of the key's own bucket."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._forget_at:
                self._buckets = {k: one for k, one in self._buckets.items() if not one.is_full(now)}
                self._forget_at = max(BUCKETS_KEPT, 2 * len(self._buckets))
            bucket = self._buckets[key] = Bucket(self._rate_per_s, self._burst, now)
        return bucket.take(amount, now)


class Places(Generic[K]):
    """So many places for each key, and so many for all keys together."""

    def __init__(self, each: int, total: int) -> None:
        self._each = each
        self._total = total
        self._taken: dict[K, int] = {}
        self._sum = 0

    def taken(self, key: K) -> int:
        return self._taken.get(key, 0)

    @property
    def is_full(self) -> bool:
        """Whether nobody gets a place any more."""
        return self._sum >= self._total

    def take(self, key: K) -> bool:
        """Take a place of the key's; False where it has none left, or nobody has."""
        taken = self._taken.get(key, 0)
        if taken >= self._each or self.is_full:
            return False
        self._taken[key] = taken + 1
        self._sum += 1
        return True

    def give_back(self, key: K) -> None:
        """A place that was taken is free again."""
        self._sum -= 1
        left = self._taken[key] - 1
        if left:
            self._taken[key] = left
        else:
            del self._taken[key]


class Budget:
    """Bytes that may be in memory at once, for all that claim some."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.claimed = 0

    def claim(self, bytes: int) -> bool:
        """Take so many more; False, and nothing taken, where they are not left."""
        if self.claimed + bytes > self._most:
            return False
        self.claimed += bytes
        return True

    def give_back(self, bytes: int) -> None:
        self.claimed -= bytes
