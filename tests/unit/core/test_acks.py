"""What waits for a row or an end is owed once."""

from curta_server.core.acks import Acks
from curta_server.core.crew import Agent, Run
from curta_server.core.execution import Execution
from curta_server.core.expression import parse
from curta_server.core.plan import build


def test_a_result_that_is_repeated_again_and_again_is_owed_one_ack() -> None:
    durations = (0, 0, 0, 0)
    execution = Execution("x", build(parse("1+2"), durations), durations)
    run = Run(execution, 0, "x.0", 1, Agent("a", {}), 1, 0, 0.0)
    acks = Acks({"x": execution})
    execution.uncommitted[0] = run
    for _ in range(3):
        acks.in_time(execution, 0, "b", ("x.0", 2))
        acks.at_end(execution, "c", ("x.0", 3))
    assert len(acks) == 2
    acks.dropped(execution)
    assert acks.commands.acks == {"a": [("x.0", 1)], "b": [("x.0", 2)], "c": [("x.0", 3)]}
