"""What goes wrong: each history draws some kinds of faults, and how often; in the end everything heals.

Drawing a few kinds for each history finds more than having all of them in each: some defects need one fault
many times, others need the absence of those that hide them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.agent_faults import AgentFaults
from tests.simulation.server_faults import ServerFaults

if TYPE_CHECKING:
    from tests.simulation.history import History
    from tests.simulation.submissions import Submission


class Faults(ServerFaults, AgentFaults):
    """The misfortunes of one history."""

    def __init__(self, history: "History") -> None:
        super().__init__(history)
        world = self.world
        self.submissions: list[Submission] = []
        """Those that were not answered yet."""
        every: dict[str, Callable[[], bool]] = {
            "orchestrator killed": self._kill,
            "orchestrator stopped in good order": self._stop,
            "orchestrator paused": self._pause,
            "orchestrator late": self._delay,
            "orchestrator cut off from the database": self._cut_off,
            "database restarted": self._restart_database,
            "database frozen": self._freeze_database,
            "database connection cut": self._cut_database_connection,
            "commits flaky": self._make_commits_flaky,
            "database slow": self._slow_database,
            "disk full": self._fill_disk,
            "socket cut": self._cut_socket,
            "socket silent": self._silence_socket,
            "agent killed": self._kill_agent,
            "agent frozen": self._freeze_agent,
            "agent half-deaf": self._deafen,
            "agent forgets": self._forget,
            "agent connects twice": self._connect_twice,
            "results repeated": self._repeat,
            "agent fails": self._fail,
            "agent lies": self._lie,
            "agent says bye": self._bye,
            "agent slow": self._slow_agent,
            "agent drained": self._drain,
            "agent removed": self._remove,
            "token revoked": self._revoke,
            "duration edited": self._edit_duration,
        }
        share = world.random.choice([0.0, 0.1, 0.2, 0.3, 0.6])
        self.kinds = {name: do for name, do in every.items() if world.chance(share)}
        self.history.promises.is_database_well = not any(
            "database" in name or "disk" in name or "commits" in name for name in self.kinds
        )
        self.rate_s = world.random.choice([0.4, 1.0, 2.0, 5.0])
        self.cancels = world.random.choice([0.0, 0.0, 0.2, 0.6])

    def begin(self, lasts_s: float) -> None:
        if self.kinds:
            self.world.at(self.world.between(0, self.rate_s), self._next)

    def _next(self) -> None:
        if self.is_over:
            return
        name = self.world.random.choice(list(self.kinds))
        if self.kinds[name]():
            self.world.count(name)
        self.world.at(self.world.random.expovariate(1 / self.rate_s), self._next)

    def heal(self) -> None:
        """Everything works from now on; what is lost stays lost."""
        self.is_over = True
        history, database = self.history, self.history.database
        database.is_up, database.is_full = True, False
        database.thaw()
        operations = database.tables["operations"]
        for name, duration_ms in operations.items():
            operations[name] = min(duration_ms, 1000)
        for orchestrator in history.orchestrators:
            orchestrator.wire.flakiness, orchestrator.wire.slowness = 0.0, 1.0
            orchestrator.wire.heal()
            orchestrator.resume()
            for channel in list(orchestrator.channels):
                channel.release()
        for agent in history.agents:
            agent.thaw()
            agent.failing, agent.slowness, agent.is_deaf_once = 0.0, 1.0, False
            if agent.channel is not None:
                agent.channel.release()
