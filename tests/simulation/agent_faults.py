"""What goes wrong with agents and their connections, and what people do."""

from typing import TYPE_CHECKING
from uuid import UUID

from curta_server import store
from curta_server.errors import Problem
from curta_wire.frames import OPERATIONS, Attempt
from tests.simulation.agents import Agent
from tests.simulation.victims import Victims

if TYPE_CHECKING:
    from tests.simulation.orchestrators import Orchestrator


class AgentFaults(Victims):
    """Each does it, if there is somebody to do it to; whether there was."""

    # --- the network --------------------------------------------------------------------------------

    def _cut_socket(self) -> bool:
        channel = self._a_channel()
        if channel is None:
            return False
        self._note(channel.agent.name, "has its socket cut")
        channel.cut()
        return True

    def _silence_socket(self) -> bool:
        channel = self._a_channel()
        if channel is None:
            return False
        up, down = self.world.random.choice([(True, True), (True, False), (False, True)])
        channel.hold(up=up, down=down)
        self._note(channel.agent.name, "is silent", "up" if up else "", "down" if down else "")
        self._for_a_while(16.0, channel.release)
        return True

    # --- agents -------------------------------------------------------------------------------------

    def _kill_agent(self) -> bool:
        agent = self._an_agent()
        if agent is None:
            return False
        self._note(agent.name, "killed")
        agent.die()
        self._replace()
        return True

    def _freeze_agent(self) -> bool:
        agent = self._an_agent()
        if agent is None:
            return False
        self._note(agent.name, "frozen")
        agent.freeze()
        self._for_a_while(18.0, agent.thaw)
        return True

    def _deafen(self) -> bool:
        agent = self._an_agent()
        if agent is None:
            return False
        agent.is_deaf_once = True
        return True

    def _forget(self) -> bool:
        agent = self._an_agent()
        if agent is None or not agent.open:
            return False
        self._note(agent.name, "forgets an attempt")
        agent.forget_one()
        return True

    def _connect_twice(self) -> bool:
        agent = self._an_agent()
        if agent is None or not agent.is_here or agent.is_leaving:
            return False
        self._note(agent.name, "connects beside its connection")
        agent.connect(self.history.an_orchestrator())
        return True

    def _repeat(self) -> bool:
        agent = self._an_agent()
        if agent is None or not (agent.results or agent.former):
            return False
        agent.repeat()
        return True

    def _fail(self) -> bool:
        agent = self._an_agent()
        if agent is None:
            return False
        agent.failing = self.world.random.choice([0.2, 0.5, 1.0])
        self._note(agent.name, "fails")

        def undo() -> None:
            agent.failing = 0.0

        self._for_a_while(8.0, undo)
        return True

    def _lie(self) -> bool:
        """A wrong result for what was never in its hands, or a wrong beat."""
        agent = self._an_agent()
        if agent is None or not agent.is_here:
            return False
        pushes = self.history.promises.pushes
        epoch = self.history.database.leadership.epoch
        kind = self.world.random.choice(["another's", "future", "invented", "beat", "claim"])
        self._note(agent.name, "lies", kind)
        if kind == "another's":
            others = [
                (name, attempt)
                for name, attempts in pushes.items()
                for attempt, push in attempts.items()
                if push.agent is not agent and attempt >> 20 == epoch
            ]
            if others:
                agent.lie(self.world.random.choice(others), "666")
        elif kind in ("future", "invented") and pushes:
            name = self.world.random.choice(list(pushes))
            number = self.world.random.choice([900_000, 1])
            agent.lie((name, ((epoch + 1 if kind == "future" else epoch) << 20) | number | 0x80000), "666")
        elif kind == "claim":
            agent.beat([*agent._held(), Attempt("nobody.0", epoch << 20 | 1)])
        elif kind == "beat":
            self.history.promises.liars.add(agent.id)
            agent.beat([])
        return True

    def _bye(self) -> bool:
        agent = self._an_agent()
        if agent is None or not agent.is_here:
            return False
        self._note(agent.name, "says bye")
        agent.bye()
        self._replace()
        return True

    def _slow_agent(self) -> bool:
        agent = self._an_agent()
        if agent is None:
            return False
        agent.slowness = self.world.random.choice([3.0, 30.0])
        return True

    # --- people -------------------------------------------------------------------------------------

    def _drain(self) -> bool:
        leader, agent = self._leader(), self._an_agent()
        if leader is None or agent is None:
            return False
        self._note(agent.name, "is to drain")
        leader.request(self._ask(leader, agent, "drain"))
        if self.world.chance(0.7):
            self._replace()
        return True

    def _remove(self) -> bool:
        leader, agent = self._leader(), self._an_agent()
        if leader is None or agent is None:
            return False
        self._note(agent.name, "is to be removed")
        self.history.promises.removed[agent.id] = self.world.now
        leader.request(self._ask(leader, agent, "remove"))
        self._replace()
        return True

    async def _ask(self, leader: "Orchestrator", agent: Agent, what: str) -> None:
        try:
            done = await getattr(leader.dispatcher, what)(agent.id)
        except Problem:
            return
        except Exception as error:
            if not store.is_outage(error):
                raise
            return
        if done and what == "drain":
            self.history.promises.drained.setdefault(agent.id, self.world.now)

    def _revoke(self) -> bool:
        history = self.history
        agent = self._an_agent()
        if agent is None:
            return False
        self._note("admin", "revokes the token of", agent.name)
        history.database.tables["tokens"][history.token] = "revoked"
        for one in history.agents:
            history.promises.removed[one.id] = self.world.now
        history.token = UUID(int=self.world.random.getrandbits(128), version=4)
        history.database.tables["tokens"][history.token] = "usable"
        self._replace()
        return True

    def _edit_duration(self) -> bool:
        one = self._an_orchestrator()
        if one is None or not hasattr(one, "engine"):
            return False
        operation = self.world.random.choice(OPERATIONS)
        one.request(self._put(one, operation, self.world.random.choice([0, 100, 2000, 8000])))
        return True

    async def _put(self, one: "Orchestrator", operation: str, duration_ms: int) -> None:
        try:
            await one.set_duration(operation, duration_ms)
        except Exception as error:
            if not store.is_outage(error):
                raise
