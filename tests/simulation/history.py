"""One history: a topology, users, agents and faults drawn by one seed; then everything heals, and all must
end.

`run(seed)` gives what happened; a broken promise is in it as `violation`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from curta_server.settings import Settings
from curta_wire.frames import OPERATIONS
from tests.simulation import expressions
from tests.simulation.agents import Agent
from tests.simulation.database import Database
from tests.simulation.faults import Faults
from tests.simulation.loops import Violation, World
from tests.simulation.orchestrators import Orchestrator
from tests.simulation.promises import Promises
from tests.simulation.seams import Seams
from tests.simulation.statements import catalogue
from tests.simulation.submissions import Submission

LIVENESS_S = 240.0
"""After everything healed, all accepted expressions end within this: a recovery's minute, lost agents'
leases, the limits of slow attempts, and the work itself."""

WORK_S = 1.0
"""Operations are made to take no longer in the end; at worst all are computed one after another."""

REST_S = 30.0
"""And then everything comes to rest within this."""


@dataclass(slots=True)
class Outcome:
    """What a history came to."""

    seed: int
    violation: str | None = None
    simulated_s: float = 0.0
    expressions: int = 0
    tasks: int = 0
    repeats: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    trace: list[str] = field(default_factory=list)


class History:
    """The simulated system of one seed."""

    def __init__(self, seed: int, seams: Seams, *, traced: bool = False) -> None:
        self.world = world = World(seed, traced=traced)
        seams.enter(world)
        chance, pick, between = world.chance, world.random.choice, world.between
        durations = {
            operation: pick([0, 0, 50, 300, 1000, 3000]) if chance(0.9) else 15_000
            for operation in OPERATIONS
        }
        self.settings = settings = draw_settings(world)
        self.database = Database(world, durations)
        self.catalogue = catalogue()
        self.promises = Promises(world, self.database, settings)
        self.token = UUID(int=world.random.getrandbits(128), version=4)
        self.database.tables["tokens"][self.token] = "usable"
        self.faults = Faults(self)
        self.orchestrators: list[Orchestrator] = []
        self.agents: list[Agent] = []
        self.users = [f"user{number}" for number in range(pick([1, 1, 2, 3, 4]))]
        self.is_healed = False
        for number in range(pick([1, 1, 2, 2, 3])):
            self.start_orchestrator(f"o{number}")
        for _ in range(pick([1, 2, 2, 3, 4, 6])):
            self.start_agent()
        self._clients = 0
        self.lasts_s = pick([8, 15, 15, 25, 40, 90])
        for _ in range(pick([2, 3, 5, 8, 12])):
            world.at(between(0, self.lasts_s * 0.8), self.submit)

    # --- who is there -------------------------------------------------------------------------------

    def start_orchestrator(self, name: str) -> None:
        """A process on this machine; after its end another one is started, some time later."""
        orchestrator = Orchestrator(
            self.world,
            self.database,
            self.catalogue,
            self.settings,
            self.promises,
            name,
            watches_tokens="token revoked" in self.faults.kinds,
        )
        self.orchestrators = [one for one in self.orchestrators if one.name != name] + [orchestrator]
        self.promises.by_url[orchestrator.url] = orchestrator

        def again() -> None:
            delay_s = self.world.between(0.1, 1.0) if self.is_healed else self.world.between(0.1, 12.0)
            self.world.at(delay_s, self.start_orchestrator, name)

        orchestrator.on_end = again

    def start_agent(self, *, good: bool = False) -> Agent:
        world = self.world
        operations = OPERATIONS
        if not good and world.chance(0.25):
            operations = tuple(one for one in OPERATIONS if world.chance(0.7)) or OPERATIONS
        agent = Agent(
            world,
            f"a{len(self.agents)}",
            slots=4 if good else world.random.choice([1, 1, 2, 3, 5]),
            operations=operations,
            token=self.token,
            choose=self.an_orchestrator,
            promises=self.promises,
        )
        self.agents.append(agent)
        return agent

    def an_orchestrator(self) -> Orchestrator:
        return self.world.random.choice(self.orchestrators)

    # --- users --------------------------------------------------------------------------------------

    def submit(self) -> None:
        """A user submits something, and asks again until he is answered."""
        world = self.world
        text = expressions.draw(world.random)
        self._clients += 1
        client_id = f"c{self._clients}" if world.chance(0.8) else None
        submission = Submission(self, text, world.random.choice(self.users), client_id, world.chance(0.7))
        submission.ask()
        if world.chance(self.faults.cancels):
            world.at(world.between(0.0, 15.0), submission.cancel)

    # --- from beginning to end ----------------------------------------------------------------------

    def run(self) -> None:
        """Raises: Violation."""
        world = self.world
        self.faults.begin(self.lasts_s)
        self._look()
        world.run(1_000.0 + self.lasts_s)
        self.is_healed = True
        world.note("world", "heals")
        self.faults.heal()
        for submission in list(self.unanswered):
            submission.ask()
        self.start_agent(good=True)
        healed_s = world.now
        limit_s = LIVENESS_S + WORK_S * sum(row.tasks for row in self.promises.still_open())
        self._until(lambda: not self.unanswered and not self.promises.still_open(), limit_s, self._stuck)
        world.note("world", "all has ended after", f"{world.now - healed_s:.1f}")
        self._until(lambda: self._unsettled() is None, REST_S, lambda: str(self._unsettled()))

    def _until(self, is_so: Callable[[], bool], limit_s: float, why: Callable[[], str]) -> None:
        deadline_s = self.world.now + limit_s
        while not is_so():
            if self.world.now >= deadline_s:
                raise Violation(f"not after {limit_s:.0f} s: {why()}")
            self.world.run(self.world.now + 1.0)

    def _stuck(self) -> str:
        rows = [f"{row.id} {row.status} of term {row.epoch}" for row in self.promises.still_open()]
        return f"open: {rows}, unanswered: {len(self.unanswered)}, {self.describe()}"

    def _unsettled(self) -> str | None:
        return self.promises.settled(self.orchestrators, self.agents)

    def describe(self) -> str:
        """The orchestrators and agents as they are, for a violation's text."""
        orchestrators = [
            f"{one.name}{' dead' if one.loop.is_dead else ''}{' leads' if one.leads else ''} term {one.epoch}"
            for one in self.orchestrators
        ]
        agents = [
            f"{agent.name}{' here' if agent.is_here else ''}{' draining' if agent.is_draining else ''}"
            f" {len(agent.open)}+{len(agent.results)}/{agent.slots}"
            for agent in self.agents
            if not agent.is_dead
        ]
        return f"{orchestrators} {agents}"

    @property
    def unanswered(self) -> list[Submission]:
        return self.faults.submissions

    def _look(self) -> None:
        self.promises.look(self.orchestrators)
        self.world.at(1.0, self._look)


def draw_settings(world: World) -> Settings:
    """The defaults, or small limits that are met all the time."""
    chance, pick = world.chance, world.random.choice
    changed: dict[str, Any] = {}
    for probability, name, values in (
        (0.3, "loaded_expressions_max", [1, 2, 4]),
        (0.3, "loaded_tasks_max", [5, 20, 60]),
        (0.2, "loaded_bytes_max", [100, 1000]),
        (0.3, "journal_rows_max", [1, 3, 10]),
        (0.3, "journal_backlog_max", [0, 2, 10]),
        (0.2, "journal_backlog_bytes_max", [300, 2000]),
        (0.2, "frame_bytes", [300, 1000]),
        (0.3, "limit_extra_s", [1.0, 4.0]),
        (0.15, "value_digits_max", [6, 20]),
        (0.1, "values_bytes_max", [50, 200]),
        (0.2, "pool_size", [1, 2]),
        (0.2, "ack_delay_s", [0.0, 0.5]),
    ):
        if chance(probability):
            changed[name] = pick(values)
    return Settings(**changed)


def run(seed: int, seams: Seams, *, traced: bool = False) -> Outcome:
    """Live through one history."""
    outcome = Outcome(seed)
    history = History(seed, seams, traced=traced)
    world = history.world
    try:
        history.run()
    except Violation as violation:
        outcome.violation = str(violation)
        world.note("world", "VIOLATION", outcome.violation)
    finally:
        for loop in world.loops:
            loop.die()
    outcome.simulated_s = world.now - 1_000.0
    rows = history.database.expressions.values()
    outcome.expressions = len(rows)
    for row in rows:
        end = row.error_code or row.status
        outcome.ends[end] = outcome.ends.get(end, 0) + 1
    outcome.tasks = history.promises.tasks
    outcome.repeats = history.promises.repeats
    outcome.faults = world.counts
    outcome.digest = world.digest
    outcome.trace = world.trace or []
    return outcome
