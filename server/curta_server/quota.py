"""How many open expressions each user has, as well as a submission needs to know it.

The routes ask for a place before they store. Counting costs the database more the more there is to count, so
it is done now and then, and in between what was let in is added: what ends meanwhile is noticed late, what
begins at once. What other orchestrators let in is known with the next count: the limit is kept to within what
they let in since the last one.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from curta_server import metrics, store
from curta_server.errors import Problem

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

FRESH_S: Final = 1.0
"""A count is not repeated sooner, even where it says that there is no place."""
STALE_S: Final = 10.0
"""And is repeated after so long, even where there are places enough: others let in, too."""
COST: Final = 20
"""Counting takes at most the twentieth part of the time."""
ACCOUNTS_KEPT: Final = 10_000


class _Account:
    """One user's: `counted` by the database, `added` since, `flying` on the way into the table."""

    __slots__ = ("added", "counted", "counted_at", "counting", "flying", "fresh_s")

    def __init__(self) -> None:
        self.counted = 0
        self.counted_at = -math.inf
        self.fresh_s = FRESH_S
        self.added = 0
        self.flying = 0
        self.counting = asyncio.Lock()


class Taken:
    """What the block of `Quota.places` has stored: all it asked for, unless it says otherwise."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


class Quota:
    """Places for open expressions, `most` for each user."""

    def __init__(self, engine: "AsyncEngine", most: int) -> None:
        self._engine = engine
        self._most = most
        self._accounts: dict[str, _Account] = {}

    @asynccontextmanager
    async def places(self, owner: str, count: int) -> AsyncIterator[Taken]:
        """So many more of the owner's, stored by the block, which says how many of them were new; none where
        it raises.

        Raises: Problem 429 where the owner has too many, and what `store.is_outage` knows.
        """
        account = self._account(owner)
        if account.counted_at == -math.inf or self._is_due(account, count):
            await self._count(owner, account, count)
        if self._is_over(account, count):
            metrics.limited.labels("open").inc()
            wait_s = max(1, math.ceil(account.counted_at + account.fresh_s - time.monotonic()))
            raise Problem(
                "too_many_requests",
                f"You have about {account.counted + account.added:,} open expressions; at most"
                f" {self._most:,} are allowed. Come back when some have ended, or cancel some.",
                headers={"Retry-After": str(wait_s)},
            )
        account.flying += count
        try:
            taken = Taken(count)
            yield taken
            account.added += taken.count
        finally:
            account.flying -= count

    def _is_over(self, account: _Account, count: int) -> bool:
        return account.counted + account.added + account.flying + count > self._most

    def _is_due(self, account: _Account, count: int) -> bool:
        age_s = time.monotonic() - account.counted_at
        return age_s > account.fresh_s and (age_s > STALE_S or self._is_over(account, count))

    async def _count(self, owner: str, account: _Account, count: int) -> None:
        async with account.counting:  # many submissions of one user ask once
            if account.counted_at > -math.inf and not self._is_due(account, count):
                return
            began = time.monotonic()
            # Counted from here on: what is stored before the statement looks may be counted twice, and is not
            # missed.
            added, account.added = account.added, 0
            try:
                async with self._engine.connect() as connection:
                    account.counted = await store.count_open_of(connection, owner, self._most)
            except BaseException:
                account.added += added
                raise
            account.counted_at = time.monotonic()
            account.fresh_s = max(FRESH_S, COST * (account.counted_at - began))

    def _account(self, owner: str) -> _Account:
        account = self._accounts.get(owner)
        if account is None:
            if len(self._accounts) >= ACCOUNTS_KEPT:
                self._forget()
            account = self._accounts[owner] = _Account()
        return account

    def _forget(self) -> None:
        """Make room: whoever is counted anew anyway when they come back."""
        stale = time.monotonic() - STALE_S
        for owner, account in list(self._accounts.items()):
            if account.counted_at < stale and not account.flying and not account.counting.locked():
                del self._accounts[owner]
