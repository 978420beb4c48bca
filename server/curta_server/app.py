"""The composition root: everything that lives as long as the process, in one TaskGroup.

Called by `curta server` and `curta up`. Builds the parts, connects them, starts them, and ends them in good
order; what each part does is its own.
"""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server import agents, followers, live, prune, store
from curta_server.api.factory import create_app
from curta_server.api.services import Services
from curta_server.connections import Connections
from curta_server.credentials import Credentials
from curta_server.dispatcher import Dispatcher
from curta_server.feed import Feed
from curta_server.intake import Intake
from curta_server.known_tokens import CACHE_S
from curta_server.leadership import Leadership
from curta_server.link import Link
from curta_server.listening import HttpServer, configuration
from curta_server.notices import Notices
from curta_server.peers import Peers, is_nowhere, peer_url, trust
from curta_server.planning import Planning
from curta_server.pull import PullAgents
from curta_server.pulse import Pulse
from curta_server.settings import Settings
from curta_wire.offload import Offload

log = structlog.get_logger()

RESIGN_S = 1.5
"""Of the 5 s that a stop may take: so long for what has arrived to become durable."""

FAREWELL_S = 1.0
"""And so long to take leave of the database, which may hang. Between the two, `listening.REQUESTS_S`."""

WAITING_PLANS = 64

GC_YOUNG = 10_000
"""So many new objects before the collector looks at them: less than a millisecond's work."""


async def serve(
    settings: Settings, *, ready: Callable[[], None] | None = None, stop: asyncio.Event | None = None
) -> int:
    """Run one orchestrator until `stop` is set (without one: until SIGTERM or Ctrl-C); the exit code.

    `ready` is called once requests are answered and somebody leads. The database may be away, now or later;
    then requests get 503 until it is back. Never migrates.
    """
    if stop is None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        tls = trust(settings.peer_ca)
    except OSError as error:
        log.error("the orchestrator cannot start", why=str(error))
        return 1
    id, url = uuid4(), peer_url(settings)
    if is_nowhere(url):
        log.warning(
            "agents and other orchestrators are told an address that is nobody's: set CURTA_PEER_URL", url=url
        )
    pulse = Pulse(settings.database_url, id=id)
    async with (
        _engines(settings, id, pulse) as (engine, journal_engine),
        _offloads(settings) as (planners, checks),
    ):
        feed, credentials = Feed(), Credentials(engine)
        notices = Notices(settings.database_url, id=id)
        leadership = Leadership(
            settings.database_url,
            id=id,
            url=url,
            on_term=lambda epoch: dispatcher.lead(epoch),
        )
        dispatcher = Dispatcher(
            settings,
            journal_engine=journal_engine,
            engine=engine,
            feed=feed,
            offload=checks,
            clock=leadership.clock,
            peers=lambda: peers.urls(),
        )
        peers = Peers(
            id=id,
            url=url,
            tls=tls,
            engine=engine,
            feed=feed,
            notices=notices,
            leadership=leadership,
            dispatcher=dispatcher,
        )

        def wake_leader() -> None:
            dispatcher.wake_loader()  # the leader may be here
            notices.send("expressions")

        intake = Intake(
            engine,
            hold=dispatcher.hold,
            on_stored=dispatcher.stored,
            on_waiting=wake_leader,
            changed=feed.changed,
            statement_timeout_s=settings.statement_timeout_s,
        )
        pull = PullAgents(dispatcher, engine)
        services = Services(
            settings=settings,
            engine=engine,
            dispatcher=dispatcher,
            pull=pull,
            feed=feed,
            intake=intake,
            credentials=credentials,
            planning=Planning(settings, planners),
            checks=checks,
            leadership=leadership,
            leading=peers.leading,
            forwarding=peers.forwarding,
            agent_board=peers.agent_board,
            stats_board=peers.stats_board,
        )
        app = create_app(services)
        agents.register(app, services, checks)
        followers.register(app, services)
        browsers = live.register(app, services)
        connections = Connections(
            most=settings.http_connections_max,
            head_s=settings.header_timeout_s,
            idle_s=settings.keep_alive_s,
            stall_s=settings.stall_timeout_s,
        )
        http = HttpServer(configuration(app, settings, connections))
        async with asyncio.TaskGroup() as children:
            # What is imported stays: the collector need not look at it each time, which took 30 ms. And
            # attempts come and go by the thousand, hardly any in cycles: looked through less often.
            gc.collect()
            gc.freeze()
            gc.set_threshold(GC_YOUNG, 20, 20)
            leading = children.create_task(leadership.run(), name="leadership")
            running = [
                children.create_task(coroutine, name=name)
                for name, coroutine in (
                    ("pulse", pulse.run()),
                    ("notices", notices.run()),
                    ("peers", peers.run()),
                    ("intake", intake.run()),
                    ("browsers", browsers.run()),
                    ("credentials", credentials.run()),
                    ("connections", connections.run()),
                    ("revocations", _watch_revocations(dispatcher, credentials)),
                    ("bootstrap", _bootstrap(settings, credentials)),
                    (
                        "prune",
                        prune.run(
                            engine,
                            journal_days=settings.keep_journal_days,
                            days=settings.keep_days,
                            is_leading=lambda: dispatcher.leading,
                        ),
                    ),
                )
            ]
            listening = children.create_task(http.serve(), name="http")
            stopping = children.create_task(stop.wait(), name="stop")
            announcing = children.create_task(_announce(http, leadership, dispatcher, ready), name="ready")
            await asyncio.wait((listening, stopping), return_when=asyncio.FIRST_COMPLETED)
            log.info("stopping")
            announcing.cancel()
            stopping.cancel()
            try:
                async with asyncio.timeout(RESIGN_S):
                    await dispatcher.resign()
            except TimeoutError:
                log.warning("stopping with results that are not durable; the agents keep them")
            feed.end()
            http.should_exit = True
            # Handed over now: the next leader need not wait for our last requests to be answered.
            leading.cancel()
            await asyncio.wait((listening,))
            for child in running:
                child.cancel()
            asyncio.get_running_loop().call_later(FAREWELL_S, store.abandon, str(id))
    return 0 if stop.is_set() else 1


@asynccontextmanager
async def _engines(
    settings: Settings, id: UUID, pulse: Pulse
) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    """The pool for REST, and the journal's own connection."""
    # The names end with this process's id: see leadership on ending a leader that hangs.
    engine = store.create_engine(
        settings.database_url,
        pool_size=settings.pool_size,
        name=f"curta {id}",
        statement_timeout_s=settings.statement_timeout_s,
        is_silent=pulse.is_silent,
    )
    journal = store.create_engine(
        settings.database_url,
        pool_size=1,
        name=f"curta journal {id}",
        statement_timeout_s=10.0,
        is_silent=pulse.is_silent,
    )
    try:
        yield engine, journal
    finally:
        await engine.dispose()
        await journal.dispose()


@asynccontextmanager
async def _offloads(settings: Settings) -> AsyncIterator[tuple[Offload, Offload]]:
    """Child processes for planning, and one for checking and rendering large numbers, which must not wait
    for it."""
    planners = Offload(settings.planners, WAITING_PLANS)
    checks = Offload(1, WAITING_PLANS)
    try:
        yield planners, checks
    finally:
        planners.close()
        checks.close()


async def _announce(
    http: HttpServer, leadership: Leadership, dispatcher: Dispatcher, ready: Callable[[], None] | None
) -> None:
    while not http.started or not (dispatcher.leading or leadership.leader is not None):  # noqa: ASYNC110
        await asyncio.sleep(0.02)  # neither offers an event
    log.info("ready")
    if ready is not None:
        ready()


async def _watch_revocations(dispatcher: Dispatcher, credentials: Credentials) -> None:
    """End the sessions of tokens that are no longer valid, within a second."""
    while True:
        await asyncio.sleep(CACHE_S)
        by_token: dict[UUID, list[Link]] = {}
        for link in dispatcher.links:
            by_token.setdefault(UUID(link.guest.token_id), []).append(link)
        for token in await credentials.revoked(by_token.keys()):
            for link in by_token[token]:
                dispatcher.revoke(link)


async def _bootstrap(settings: Settings, credentials: Credentials) -> None:
    """Make the first tokens of a fresh database, as soon as it can be reached."""
    while True:
        try:
            if await credentials.bootstrap(settings.admin_token, settings.agent_token):
                log.info("made the first tokens")
            return
        except Exception as error:
            if not store.is_outage(error):
                raise
            await asyncio.sleep(1)
