"""The agent: a daemon that takes tasks from an orchestrator over one WebSocket and brings exact values back.

The way of a task: a `session` reads a `tasks` frame, the `slots` hold it for its duration and compute it
(`operations`), the `ledger` keeps the result until the orchestrator says that it is stored, the session's
writer sends it. Sessions come and go, slots and ledger stay: that is how a reconnect keeps the work. `agent`
opens one session after the other (`addresses` says where, `connection` opens) until it is told to stop;
`http` is the optional port of the agent's own. Read `operations`, `ledger`, `slots`, `session`, `agent`.

This package never imports the server.
"""

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from curta_agent.settings import AgentSettings

EXIT_OF_CODE: Final = {4000: 10, 4001: 11, 4002: 12, 4003: 13}
"""Close codes after which an agent does not come back (other protocol, token revoked, connected elsewhere,
removed by an admin), each with the exit code of the process."""


async def run_agent(settings: "AgentSettings", stop: asyncio.Event | None = None) -> int:
    """Run one agent until it is told to stop; gives the exit code of the process.

    0: stopped by a signal (or `stop`), work delivered or handed back. 1: it cannot start; the log says why.
    `EXIT_OF_CODE`: an orchestrator refused this agent for good. SIGTERM and SIGINT are handled here unless
    `stop` is given; a second signal cuts the draining short. Ends within `settings.drain_s` of being told to,
    or 5 s where that is longer.
    """
    # Imported late: child processes that compute large numbers import this package, and need no socket for
    # that.
    from curta_agent.agent import run

    return await run(settings, stop)
