"""Who the agents are: names, tokens, offers; and what the table remembers of them over restarts.

Owned by the dispatcher. Memory is the truth while leading; the table hears of changes in batches, so that a
new leader knows whom to wait for, and drains and removals survive. No heartbeat ever reaches the database.
"""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from curta_wire.frames import OPERATIONS

log = structlog.get_logger()

GATHER_S = 0.05
"""After a change others may gather so long: a herd of agents that returns is a few statements."""

RETRY_S = 0.5
"""While the database is away."""

FORGET_EVERY_S = 60.0
REMOVED_S = 60.0
"""How long a removed agent is kept out."""

FORGET_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """An agent as it introduced itself, and the token that let it in."""

    id: str
    name: str
    token_id: str
    owner: str
    slots: int
    operations: tuple[str, ...] = OPERATIONS
    version: str = ""
    connected_us: int = 0
    pulls: bool = False


class Roster:
    """Guests by agent id, with what outlives them: draining, removal."""

    def __init__(self, engine: AsyncEngine, now_us: Callable[[], int]) -> None:
        self._engine = engine
        self._epoch = 0
        self._now_us = now_us
        self._guests: dict[str, Guest] = {}
        self._draining: set[str] = set()
        self._removed_until_us: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._saving = asyncio.Lock()
        self._came: dict[str, store.AgentSeen] = {}
        self._left_us: dict[str, int] = {}
        """Not saved yet."""
        self._gone_us: dict[str, int] = {}
        """The absent ones of whom something is still known, whoever left first before the others."""

    async def load(self, epoch: int) -> dict[str, int]:
        """At the start of a term: what the table remembers; what an earlier term left unsaved is out of date.
        Gives who is lost, and since when (microseconds)."""
        self._epoch = epoch
        self._came.clear()
        self._left_us.clear()
        async with self._engine.connect() as connection:
            rows = await store.list_agents(connection, limit=1_000_000, lost_s=FORGET_S)
        for known in (self._guests, self._draining, self._removed_until_us, self._gone_us):
            known.clear()  # of an earlier term
        lost_us: dict[str, int] = {}
        for row in rows:
            id = str(row.id)
            self._guests[id] = Guest(
                id=id,
                name=row.name,
                token_id=str(row.token_id),
                owner=row.owner,
                slots=row.slots,
                operations=tuple(row.operations),
                version=row.version,
                connected_us=_us(row.connected_at),
            )
            if row.lost_at is not None:
                self._gone_us[id] = _us(row.lost_at)
                if row.is_lost:
                    lost_us[id] = _us(row.lost_at)
            if row.draining:
                self._draining.add(id)
            if row.removed_until is not None:
                self._removed_until_us[id] = _us(row.removed_until)
        self._gone_us = dict(sorted(self._gone_us.items(), key=lambda one: one[1]))
        return lost_us

    def guest(self, agent: str) -> Guest | None:
        return self._guests.get(agent)

    def holder(self, agent: str) -> str | None:
        """The token whose agent has this UUID: it is here, or left just now and may come back."""
        guest = self._guests.get(agent)
        return guest.token_id if guest is not None and agent not in self._gone_us else None

    def name(self, agent: str) -> str:
        guest = self._guests.get(agent)
        return guest.name if guest is not None else ""

    def came(self, guest: Guest) -> None:
        self._guests[guest.id] = guest
        self._came[guest.id] = _seen(guest, self._now_us())
        self._left_us.pop(guest.id, None)
        self._changed.set()
        self._gone_us.pop(guest.id, None)

    def lost(self, agent: str) -> None:
        """It fell silent, for good or until it comes back; a blip within the grace is not told here."""
        self._gone(agent, self._now_us())

    def left(self, agent: str) -> None:
        """It left on purpose, or was told to; until then it was seen."""
        now_us = self._now_us()
        guest = self._guests.get(agent)
        if guest is not None:
            self._came[agent] = _seen(guest, now_us)
        self._gone(agent, now_us)

    def _gone(self, agent: str, now_us: int) -> None:
        self._left_us[agent] = now_us
        self._gone_us.pop(agent, None)
        self._gone_us[agent] = now_us
        self._changed.set()

    def is_draining(self, agent: str) -> bool:
        return agent in self._draining

    def is_kept_out(self, agent: str) -> bool:
        """Whether an admin removed it less than a minute ago."""
        return self._removed_until_us.get(agent, 0) > self._now_us()

    async def drain(self, agent: str) -> bool:
        """False: no such agent. Raises: NotLeading."""
        if agent not in self._guests:
            return False
        await self._save()
        async with self._engine.begin() as connection:
            await store.hold_term(connection, self._epoch)
            if not await store.drain_agent(connection, UUID(agent)):
                return False  # of an earlier term, which could not save it, and not seen since
        self._draining.add(agent)
        return True

    async def remove(self, agent: str) -> bool:
        """False: no such agent. Raises: NotLeading."""
        if agent not in self._guests:
            return False
        await self._save()
        async with self._engine.begin() as connection:
            await store.hold_term(connection, self._epoch)
            if not await store.remove_agent(connection, UUID(agent), seconds=REMOVED_S):
                return False
        self.left(agent)
        self._removed_until_us[agent] = self._now_us() + int(REMOVED_S * 1_000_000)
        return True

    async def run(self) -> None:
        """Save changes in batches until cancelled; what the database misses is kept for the next time.
        Raises: NotLeading when another epoch has begun."""
        while True:
            await self._change(FORGET_EVERY_S)
            try:
                await self._save()
            except Exception as error:
                if not store.is_outage(error):
                    raise
                log.warning("agents are not saved while the database is away", error=repr(error))
                await asyncio.sleep(RETRY_S)
                self._changed.set()
            self._forget()

    async def _change(self, timeout_s: float) -> None:
        """Return when something changed and others had a moment to follow, or after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()
        await asyncio.sleep(GATHER_S)

    async def _save(self) -> None:
        async with self._saving:  # whoever saves next finds what is saved now
            await self._save_changes()

    async def _save_changes(self) -> None:
        came, self._came = self._came, {}
        left, self._left_us = self._left_us, {}
        if not came and not left:
            return
        try:
            async with self._engine.begin() as connection:
                await store.hold_term(connection, self._epoch)
                if came:
                    await store.save_agents(connection, list(came.values()))
                if left:
                    await store.mark_lost(connection, left)
        except BaseException:
            # Who came since then has not left; who came and left in one is gone.
            self._left_us = {k: v for k, v in left.items() if k not in self._came} | self._left_us
            self._came = came | self._came
            raise

    def _forget(self) -> None:
        """Removals that are over need no memory, nor do agents that have been away for long."""
        now_us = self._now_us()
        before_us = now_us - int(FORGET_S * 1_000_000)
        for agent in list(
            itertools.takewhile(lambda agent: self._gone_us[agent] <= before_us, self._gone_us)
        ):
            del self._gone_us[agent]
            self._guests.pop(agent, None)
        for agent in [agent for agent, until in self._removed_until_us.items() if until <= now_us]:
            del self._removed_until_us[agent]


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def _seen(guest: Guest, seen_us: int) -> store.AgentSeen:
    return store.AgentSeen(
        guest.id,
        guest.name,
        guest.token_id,
        guest.owner,
        guest.slots,
        guest.operations,
        guest.version,
        guest.connected_us,
        seen_us,
    )
