"""Agents without a WebSocket: they ask for tasks, hand results in, renew leases; `curl` is enough.

To the scheduler they are agents like others, with a lease for each attempt instead of a heartbeat; between
its requests a `PullLink` stands for such an agent. The API calls this; it knows no HTTP.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import store
from curta_server.core.events import Answer, Answered, Asked, Named, Renewed
from curta_server.core.hands import split
from curta_server.dispatcher import Dispatcher
from curta_server.errors import Problem, unavailable
from curta_server.pull_link import PullLink
from curta_server.roster import Guest
from curta_wire.frames import OPERATIONS, Assignment

if TYPE_CHECKING:
    from curta_server.known_tokens import Token

STORED_S = 30.0
"""A result that is not durable after so long gets a 503; it may be sent again."""

LINKS_MAX = 10_000


class PullAgents:
    """All pulling agents of this orchestrator, by agent id."""

    def __init__(self, dispatcher: Dispatcher, engine: AsyncEngine) -> None:
        self._dispatcher = dispatcher
        self._engine = engine
        self._links: dict[str, PullLink] = {}

    async def take(
        self, token: "Token", agent: str | None, slots: int, operations: list[str] | None, wait_s: float
    ) -> list[Assignment]:
        """Up to `slots` ready tasks, waiting up to `wait_s` for the first. Raises: Problem 403, 409, 503."""
        self._dispatcher.leader()
        id = agent or str(token.id)
        self._admit(token, id)
        known = self._links.get(id)
        turn = known.turn if known is not None else asyncio.Lock()
        try:
            async with asyncio.timeout(wait_s + 0.001):
                await turn.acquire()
        except TimeoutError:
            return []  # another request of the same agent is waiting already
        try:
            # Only now: what this request offers is not what the one before it waited with.
            offered = tuple(OPERATIONS if operations is None else operations)
            link = self._link(token, id, slots, offered, turn=turn)
            outbox = link.outbox
            self._drop_stale(link)
            if not outbox.tasks:
                await self._wait(link, slots, wait_s)
            if outbox.ended is not None:
                raise outbox.ended
            taken, outbox.tasks = outbox.tasks[:slots], outbox.tasks[slots:]
            return taken
        finally:
            turn.release()

    async def _wait(self, link: PullLink, slots: int, wait_s: float) -> None:
        """Ask for tasks, and return when there are some, or it is over, or after `wait_s`."""
        outbox = link.outbox
        outbox.pushed.clear()
        self._ask(link, slots)
        try:
            await self._dispatcher.settled()
            if not outbox.tasks:
                async with asyncio.timeout(wait_s):
                    await outbox.pushed.wait()
        except TimeoutError:
            pass
        finally:
            # The link may have been renewed meanwhile.
            self._ask(self._links.get(link.guest.id, link), 0)
        await self._dispatcher.settled()

    def _ask(self, link: PullLink, count: int) -> None:
        link.asked = count
        self._dispatcher.post(Asked(link.guest.id, link.number, count))

    def _drop_stale(self, link: PullLink) -> None:
        """What nobody fetched in time is in other hands by now."""
        agent = self._dispatcher.leader().scheduler.crew.agents.get(link.guest.id)
        runs = agent.runs if agent is not None else {}
        link.outbox.tasks = [
            one
            for one in link.outbox.tasks
            if (run := runs.get(one.task)) is not None and run.attempt == one.attempt and not run.given_up
        ]

    async def result(
        self, token: "Token", task: str, attempt: int, value: str | None, error: str | None, message: str
    ) -> None:
        """Return when the result is stored or no longer wanted. Raises: Problem 404, 409, 503."""
        link = await self._holder(token, task, attempt)
        if link is None:
            return
        named = Named(task, attempt)
        stored = link.outbox.expect_ack(named)
        self._dispatcher.post(
            Answered(link.guest.id, link.number, [Answer(task, attempt, value, error, message)])
        )
        try:
            async with asyncio.timeout(STORED_S):
                await stored
        except TimeoutError:
            raise unavailable("the result could not be stored in time; send it again") from None
        finally:
            link.outbox.forget(named, stored)

    async def renew(self, token: "Token", task: str, attempt: int | None) -> None:
        """The agent goes on with the task. Raises: Problem 404, 409, 503."""
        agents = self._dispatcher.leader().scheduler.crew.agents
        for link in self._of(token):
            agent = agents.get(link.guest.id)
            run = agent.runs.get(task) if agent is not None else None
            if run is not None and not run.given_up and attempt in (None, run.attempt):
                self._dispatcher.post(Renewed(link.guest.id, task))
                return
        if attempt is not None and await self._take_up(token, Named(task, attempt)):
            return
        await self._require_task(task)
        raise Problem("not_yours", f"The task {task} is not in your hands (any more).")

    async def _take_up(self, token: "Token", held: Named) -> bool:
        """Whether one of the token's agents may go on with an attempt of before a restart, or of a lease that
        ran out: coming back keeps the work, as a `hello` does."""
        crew = self._dispatcher.leader().scheduler.crew
        for agent, offered in self._agents_of(token):
            if self._dispatcher.leader().scheduler.knows_attempt(agent, *held):
                self._link(token, agent, 1, offered, held=[held])
                await self._dispatcher.settled()
                known = crew.agents.get(agent)
                if known is not None and held.task in known.runs:
                    return True
        return False

    # --- who is who -------------------------------------------------------------------------------

    def _of(self, token: "Token") -> list[PullLink]:
        return [link for link in self._links.values() if link.guest.token_id == str(token.id)]

    def _agents_of(self, token: "Token") -> list[tuple[str, tuple[str, ...]]]:
        """The token's agents with what they offer; the one that it stands for itself, where none is known."""
        return [(link.guest.id, link.guest.operations) for link in self._of(token)] or [
            (str(token.id), OPERATIONS)
        ]

    def _link(
        self,
        token: "Token",
        agent: str,
        slots: int,
        operations: tuple[str, ...],
        *,
        held: Sequence[Named] = (),
        turn: asyncio.Lock | None = None,
    ) -> PullLink:
        """The agent's link, joined with what it offers now and with what it says that it still holds.

        Raises: Problem.
        """
        dispatcher = self._dispatcher
        self._admit(token, agent)
        link = self._links.get(agent)
        if not held and link is not None and link.guest.operations == operations and self._is_joined(link):
            return link
        if link is None and len(self._links) >= LINKS_MAX:
            self._forget_lost()
        guest = Guest(
            id=agent,
            name=token.name,
            token_id=str(token.id),
            owner=token.name,
            slots=slots,
            operations=operations,
            connected_us=dispatcher.now_us(),
            pulls=True,
        )
        if turn is None:
            turn = link.turn if link is not None else asyncio.Lock()
        renewed = PullLink(dispatcher.links.next_number(), guest, turn)
        asked = 0
        if link is not None:
            if link.outbox.ended is None:
                renewed.outbox, asked = link.outbox, link.asked
            dispatcher.leave(link)
        known = dispatcher.leader().scheduler.crew.agents.get(agent)
        if known is not None:
            held = [*held, *(Named(run.name, run.attempt) for run in known.runs.values())]
        self._links[agent] = renewed
        dispatcher.join(renewed, held)
        if asked:
            self._ask(renewed, asked)
        return renewed

    def _admit(self, token: "Token", agent: str) -> None:
        """Raises: Problem 403 or 409 where the agent may not come in."""
        if self._dispatcher.roster.is_kept_out(agent):
            raise Problem("forbidden", "An admin removed this agent; it is not let in for a minute.")
        present = self._dispatcher.links.current(agent)
        if self._dispatcher.roster.holder(agent) not in (None, str(token.id)):
            raise Problem("conflict", "An agent with this UUID and another token is connected, or just was.")
        if present is not None and not present.guest.pulls:
            raise Problem("conflict", "This agent is connected by WebSocket.")

    def _is_joined(self, link: PullLink) -> bool:
        agent = self._dispatcher.leader().scheduler.crew.agents.get(link.guest.id)
        return (
            agent is not None
            and agent.session == link.number
            and agent.is_connected
            and self._dispatcher.links.current(link.guest.id) is link
        )

    def _forget_lost(self) -> None:
        for agent in [agent for agent, link in self._links.items() if not self._is_joined(link)]:
            self._dispatcher.leave(self._links.pop(agent))
        if len(self._links) >= LINKS_MAX:
            raise unavailable("So many agents are known that no more can be served.", 5)

    async def _holder(self, token: "Token", task: str, attempt: int) -> PullLink | None:
        """Which of the token's agents has the attempt; None where its result is no longer wanted.

        Raises: Problem 404, 409, 503.
        """
        scheduler = self._dispatcher.leader().scheduler
        known = False
        for agent, offered in self._agents_of(token):
            answer = scheduler.knows_attempt(agent, task, attempt)
            known = known or answer is not None
            if answer:
                link = self._links.get(agent)
                if link is not None and self._is_joined(link):
                    return link
                return self._link(token, agent, 1, offered)
        await self._require_task(task)
        expression, number = split(task)
        if known:
            async with self._engine.connect() as connection:
                if await store.journal_rows(connection, expression, [number]):
                    return None
            raise Problem("not_yours", f"Attempt {attempt} of task {task} was not handed to you.")
        return None

    async def _require_task(self, task: str) -> None:
        """Raises: Problem 404 where there is no such task, 503 where its expression is not in memory yet."""
        expression, number = split(task)
        # As it was when the caller looked: what comes into memory while we read was not looked at yet.
        was_loaded = expression in self._dispatcher.leader().scheduler.executions
        async with self._engine.connect() as connection:
            row = await store.expression(connection, UUID(expression))
        if row is None or not 0 <= number < row.tasks:
            raise Problem("not_found", f"There is no task {task}.")
        if not row.is_final and not was_loaded:
            raise unavailable("the task's expression is being loaded; try again")
