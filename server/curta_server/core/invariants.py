"""What must hold in a scheduler between any two calls of `handle`: for tests and simulations."""

from curta_server.core.execution import DONE, READY, RUNNING
from curta_server.core.scheduler import Scheduler


def check(scheduler: Scheduler) -> None:
    """Raises AssertionError where one does not hold. Cost: everything in memory."""
    for agent in scheduler.crew.agents.values():
        assert agent.held == len(agent.runs) + len(agent.undecided), "slots are counted right"
        for run in agent.runs.values():
            execution = run.execution
            if not run.given_up:
                assert run in (execution.runs.get(run.task), execution.twins.get(run.task))
    for user in scheduler.users.values():
        mine = [e for e in scheduler.executions.values() if e.user is user]
        assert user.held == sum(e.held for e in mine)
        assert user.loaded == len(mine) > 0
    offered = scheduler.offered()
    for execution in scheduler.executions.values():
        assert execution.held == len(execution.runs) + len(execution.twins)
        assert set(execution.twins) <= set(execution.runs)
        for task, run in execution.runs.items():
            assert execution.state[task] == RUNNING and run.agent.runs.get(run.name) is run
        for task, state in enumerate(execution.state):
            assert (state == RUNNING) == (task in execution.runs) or execution.ended
            assert (state == DONE) == (task in execution.uncommitted)
            if state == READY and not execution.ended and not execution.is_gated:
                operation = execution.plan.operations[task]
                avoids = bool(execution.avoided.get(task))
                assert avoids or not offered >> operation & 1, "nothing is ready while a slot is free"
