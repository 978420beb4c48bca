"""This orchestrator among the others: everything that makes one leader serve through many doors.

    presence    which orchestrators there are
    following   the live connection to the leader, while another one leads
    forwarding  requests that only the leader can answer
    changes     what another one changed in the table
    leading     the leader's memory, wherever it is: this is what the routes see
    boards      its agents and figures, wherever it is, for many who look on

Built and run by `app`; decides nothing. The leader's side of the live connection is `followers`.
"""

import asyncio
import ssl
from ipaddress import ip_address
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from curta_server.agent_board import AgentBoard
from curta_server.changes import Changes
from curta_server.dispatcher import Dispatcher
from curta_server.feed import Feed
from curta_server.following import Following
from curta_server.forwarding import Forwarding
from curta_server.leadership import Leadership
from curta_server.leading import Leading
from curta_server.notices import Notices
from curta_server.presence import Presence
from curta_server.settings import Settings
from curta_server.stats_board import StatsBoard


class Peers:
    """The parts above, put together."""

    def __init__(
        self,
        *,
        id: UUID,
        url: str,
        tls: ssl.SSLContext,
        engine: AsyncEngine,
        feed: Feed,
        notices: Notices,
        leadership: Leadership,
        dispatcher: Dispatcher,
    ) -> None:
        self._dispatcher = dispatcher
        self._presence = Presence(engine, id=id, url=url)
        self._following = Following(leadership, feed, engine, tls)
        self._changes = Changes(engine, dispatcher, feed)
        self.leading = Leading(dispatcher, self._following, leadership, notices)
        self.forwarding = Forwarding(leadership, tls)
        self.agent_board = AgentBoard(dispatcher, self._following)
        self.stats_board = StatsBoard(dispatcher, self._following, leadership, self._presence)
        notices.listen("expressions", lambda _: dispatcher.wake_loader())
        notices.listen("cancelled", self._changes.cancelled)
        notices.listen("operations", self._changes.durations)
        # Whoever looks at what is going on learns of it by the same notices.
        notices.listen("expressions", lambda _: feed.changed.touch_new())
        notices.listen("operations", lambda _: feed.changed.touch_durations())

    def urls(self) -> list[str]:
        """Where the orchestrators are reached, this one first."""
        return self._presence.urls()

    async def run(self) -> None:
        """Be one of them until cancelled."""
        try:
            async with asyncio.TaskGroup() as children:
                children.create_task(self._presence.run(lambda: self._dispatcher.leading), name="presence")
                children.create_task(self._following.run(), name="following")
                children.create_task(self._changes.run(), name="changes")
        finally:
            await self.forwarding.close()


def peer_url(settings: Settings) -> str:
    """Where agents and the others reach this orchestrator."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    own = f"{'https' if settings.tls_cert else 'http'}://{host}:{settings.port}"
    return settings.peer_url or settings.public_url or own


def is_nowhere(url: str) -> bool:
    """Whether the URL names every address of a machine, and so reaches none from another."""
    host = urlsplit(url).hostname or "0.0.0.0"
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def trust(ca: str) -> ssl.SSLContext:
    """Trust the certificates in the PEM file `ca`, the system's where it is empty.

    Raises: OSError (ssl.SSLError among them) where the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise OSError(f"the certificates in {ca}: {error.strerror or error}") from None
