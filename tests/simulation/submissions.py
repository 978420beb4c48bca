"""Users who submit, insist and cancel."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from curta_server import store
from curta_server.errors import Problem
from curta_server.store import Conflict, Reused, Stored
from tests.simulation.loops import Violation
from tests.simulation.orchestrators import Orchestrator

if TYPE_CHECKING:
    from tests.simulation.history import History

ANSWER_S = 20.0
"""A user who hears nothing for so long asks again."""


class Submission:
    """One expression of a user who insists."""

    def __init__(
        self, history: "History", text: str, owner: str, client_id: str | None, optimize: bool
    ) -> None:
        self.history = history
        self.text = text
        self.owner = owner
        self.client_id = client_id
        self.optimize = optimize
        self.id: UUID | None = None
        self._asked = 0
        history.unanswered.append(self)

    def ask(self) -> None:
        """POST it somewhere; again when there is no answer, or a 503."""
        if self not in self.history.unanswered:
            return
        history, world = self.history, self.history.world
        orchestrator = history.an_orchestrator()
        self._asked += 1
        world.at(ANSWER_S, self._again, self._asked)
        if orchestrator.loop.is_dead or not hasattr(orchestrator, "intake"):
            world.at(0.3, self._again, self._asked)
        else:
            orchestrator.request(self._post(orchestrator, self._asked))

    def _again(self, asked: int) -> None:
        if asked == self._asked:
            if self.client_id is None and self in self.history.unanswered:
                self.history.unanswered.remove(
                    self
                )  # whoever gives no id does not know, and does not ask again
            self.ask()

    async def _post(self, orchestrator: Orchestrator, asked: int) -> None:
        world = self.history.world
        try:
            insertion = await orchestrator.submit(
                self.text, self.owner, self.client_id, self.optimize, self._planned
            )
        except Problem as problem:
            if problem.code != "unavailable":
                raise
            world.at(world.between(0.1, 1.0), self._again, asked)
            return
        world.at(0.001, self._answered, orchestrator, insertion)

    def _planned(self, planned: Any, draft: Any) -> None:
        self.history.promises.submitted(draft, planned.plan)

    def _answered(self, orchestrator: Orchestrator, insertion: Any) -> None:
        if orchestrator.loop.is_dead:
            return  # the answer was lost with it
        match insertion:
            case Stored(id):
                pass
            case Reused(row):
                id = row.id
            case Conflict():
                raise Violation(f"{self.client_id} is said to be another expression")
            case _:
                raise AssertionError
        if self.client_id is not None and self.id is not None and self.id != id:
            raise Violation(f"{self.client_id} became two expressions, {self.id} and {id}")
        self.id = id
        self.history.promises.accepted(id)
        self.history.world.note(self.owner, "is told", str(id)[-8:], self.text[:60])
        if self in self.history.unanswered:
            self.history.unanswered.remove(self)

    def cancel(self) -> None:
        """DELETE it, if it is known."""
        orchestrator = self.history.an_orchestrator()
        if self.id is not None and orchestrator.is_alive and hasattr(orchestrator, "engine"):
            self.history.world.count("cancelled")
            orchestrator.request(self._delete(orchestrator, self.id))

    async def _delete(self, orchestrator: Orchestrator, id: UUID) -> None:
        try:
            outcome = await orchestrator.cancel(id, self.owner)
        except Exception as error:
            if not store.is_outage(error):
                raise
            return
        row = self.history.database.expressions[id]
        if outcome in ("cancelled", "already") and row.status != "cancelled":
            raise Violation(f"{id} was said to be cancelled and is {row.status}")
        if outcome == "unknown":
            raise Violation(f"{id} is unknown to its owner")
