"""Many agents in one process, each of them the real one: `python -m bench.crowd --agents 10 --slots 200`.

Started by `rig`; the address and the token come from CURTA_URL and CURTA_TOKEN. Ends in good order on
SIGTERM, and at once when whoever holds the other end of its standard input is gone. With `--record FILE`
every attempt that they are handed is a line of that file, which is complete when the process has ended.
"""

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import structlog
import uvloop

from bench.client import Curta
from bench.processes import until
from curta_agent import run_agent
from curta_agent.settings import AgentSettings
from curta_agent.slots import Slots
from curta_cli.agent import end_with_parent
from curta_wire.frames import Assignment

AT_ONCE = 100
"""Agents that connect at the same time. How fast a crowd gathers is not what is measured; and if more came
than a busy machine can welcome within their patience, they would begin again, and never be complete."""

LOOK_S = 0.02


async def gather(agents: int, slots: int) -> None:
    """Run that many agents until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    urls, token = (os.environ["CURTA_URL"],), os.environ["CURTA_TOKEN"]
    async with Curta(urls[0], token) as curta, asyncio.TaskGroup() as crowd:
        for number in range(agents):
            settings = AgentSettings(urls=urls, token=token, slots=slots, name=f"bench {number}", drain_s=0.0)
            crowd.create_task(run_agent(settings, stop), name=settings.name)
            if number % AT_ONCE == AT_ONCE - 1:
                await until(partial(_has_come, curta, number - AT_ONCE, stop), every_s=LOOK_S)


async def _has_come(curta: Curta, agents: int, stop: asyncio.Event) -> bool:
    return stop.is_set() or await curta.connected_agents() > agents


def record(path: Path, stack: ExitStack) -> None:
    """From now on, write down what the agents of this process are handed: `task attempt`, a line each."""
    take, file = Slots.take, stack.enter_context(path.open("w"))

    def recorded(slots: Slots, assignments: Sequence[Assignment]) -> None:
        file.writelines(f"{one.task} {one.attempt}\n" for one in assignments)
        take(slots, assignments)

    Slots.take = recorded  # type: ignore[method-assign, assignment]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--agents", type=int, required=True)
    arguments.add_argument("--slots", type=int, required=True)
    arguments.add_argument("--record", type=Path)
    chosen = arguments.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    end_with_parent()
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if chosen.record:
            record(chosen.record, stack)
        runner.run(gather(chosen.agents, chosen.slots))


if __name__ == "__main__":
    main()
