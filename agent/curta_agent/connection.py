"""Opening one WebSocket to one orchestrator: authentication, TLS, limits, and what can go wrong with it.

Called by `agent`, which decides what to do about a failure; knows nothing of frames or tasks.
"""

import logging
import ssl
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.protocol import State
from websockets.typing import Subprotocol

from curta_wire import SUBPROTOCOL
from curta_wire.codec import FRAME_BYTES_MAX

OPEN_TIMEOUT_S: Final = 4.0
"""An orchestrator that stands still accepts connections all the same; its peers are tried the sooner."""
CLOSE_TIMEOUT_S: Final = 1.0
"""How long a closing handshake may take: whoever does not answer by then has no more to say."""

# The library writes a line and a traceback for what is an ordinary event here; `agent` logs it in one line.
_logger = logging.getLogger("curta.agent.websocket")
_logger.addHandler(logging.NullHandler())
_logger.propagate = False


class ConnectionFailed(Exception):
    """No connection; the message says why, for people. Try again, here or elsewhere."""


class ConnectionRefused(ConnectionFailed):
    """The orchestrator answered, with another HTTP status than 101."""

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        super().__init__(_REASONS.get(status, f"the server answered with HTTP status {status}"))
        self.status = status
        self.retry_after_s = retry_after_s


_REASONS: Final = {
    400: "the server refuses the request (is it an orchestrator of this version?)",
    401: "the token is not accepted",
    403: "the token is not one of role agent",
    404: "there is no orchestrator at this address",
    503: "the orchestrator is starting or full",
}


class Connection(ClientConnection):
    """A connection that knows when it last heard anything, be it part of a long frame only."""

    heard_at = 0.0
    """On the event loop's clock."""

    def data_received(self, data: bytes) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)

    @property
    def is_ready(self) -> bool:
        """Whether the other side has taken what it got, so that `put` need not wait."""
        return not self.paused and self.protocol.state is State.OPEN

    def put(self, text: bytes) -> None:
        """Send a text message at once, only where `is_ready`: what `send` does, without its waiting."""
        self.protocol.send_text(text)
        self.send_data()


class _Connect(connect):
    """`connect` that follows no HTTP redirect: the protocol has a frame of its own for that."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def trust(ca: str) -> ssl.SSLContext:
    """Trust the certificates in the PEM file `ca` and no others.

    Raises: OSError (ssl.SSLError among them) where the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise OSError(f"the certificates in {ca}: {error.strerror or error}") from None


async def open_connection(url: str, token: str, tls: ssl.SSLContext | None) -> Connection:
    """A connection on which the agents' protocol may be spoken; no frame has been sent yet.

    With a wss URL, `tls` says which certificates to trust; None means the system's. No compression, no pings
    (the protocol has heartbeats of its own), no proxy; frames of FRAME_BYTES_MAX at most.
    Raises: ConnectionFailed.
    """
    # The library takes `ssl` for a wss URL only, and makes a context of its own where it is absent.
    tls_options: dict[str, Any] = {"ssl": tls} if tls is not None and url.startswith("wss:") else {}
    try:
        connection = await _Connect(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
            ping_interval=None,
            proxy=None,
            max_size=FRAME_BYTES_MAX,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            logger=_logger,
            create_connection=Connection,
            **tls_options,
        )
    except InvalidStatus as error:
        response = error.response
        raise ConnectionRefused(response.status_code, _retry_after(response.headers)) from None
    except TimeoutError:
        raise ConnectionFailed(f"no answer within {OPEN_TIMEOUT_S:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise ConnectionFailed(f"the certificate is not trusted: {error.verify_message}") from None
    except (OSError, InvalidHandshake, EOFError, ValueError) as error:
        raise ConnectionFailed(str(error) or type(error).__name__) from None
    if connection.subprotocol != SUBPROTOCOL:
        connection.transport.abort()
        raise ConnectionFailed(f"the server does not speak {SUBPROTOCOL}")
    assert isinstance(connection, Connection)
    return connection


def _retry_after(headers: Headers) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date; None where it is absent or broken."""
    text = headers.get("Retry-After", "").strip()
    try:
        return max(float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - time(), 0.0)
    except (ValueError, OverflowError):
        return None
