"""What the routes lean on: one object, built by the composition root and handed to `create_app`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from quart import current_app

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from curta_server.agent_board import AgentBoard
    from curta_server.api.durations import DurationCache
    from curta_server.api.gate import Gate
    from curta_server.api.health import OpenCount
    from curta_server.api.plan_figures import FigureCache
    from curta_server.api.plans import PlanCache
    from curta_server.credentials import Credentials
    from curta_server.dispatcher import Dispatcher
    from curta_server.feed import Feed
    from curta_server.forwarding import Forwarding
    from curta_server.intake import Intake
    from curta_server.leadership import Leadership
    from curta_server.leading import Leading
    from curta_server.planning import Planning
    from curta_server.pull import PullAgents
    from curta_server.settings import Settings
    from curta_server.stats_board import StatsBoard
    from curta_wire.offload import Offload


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a request may use.

    `engine` is the pool for REST; `leading` knows what the leader's memory says, whoever leads, and
    `forwarding` reaches it; the boards know what it shows of agents and figures; `dispatcher` and `pull` are
    for what happens at the leader only; `checks` looks at numbers too long for the event loop.
    """

    settings: Settings
    engine: AsyncEngine
    dispatcher: Dispatcher
    pull: PullAgents
    feed: Feed
    intake: Intake
    credentials: Credentials
    planning: Planning
    checks: Offload
    leadership: Leadership
    leading: Leading
    forwarding: Forwarding
    agent_board: AgentBoard
    stats_board: StatsBoard


EXTENSION: Final = "curta"


@dataclass(frozen=True, slots=True)
class Context:
    """What the application keeps for its routes: the services, the limits, and caches of its
    own."""

    services: Services
    durations: DurationCache
    plans: PlanCache
    figures: FigureCache
    open_count: OpenCount
    gate: Gate
    describe: Callable[[], dict[str, Any]]
    """Builds the OpenAPI document."""


def context() -> Context:
    """The context of the application that serves the request."""
    return cast("Context", current_app.extensions[EXTENSION])


def services() -> Services:
    """The services of the application that serves the request."""
    return context().services
