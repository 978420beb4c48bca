"""How uvicorn serves the application: its protocols, its limits, its certificate.

Called by `app`, which says when to begin and when to stop.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import uvicorn
from quart import Quart

from curta_server.connections import Connections
from curta_server.farewell import Farewell
from curta_server.parsing import BoundedHttp, BoundedSocket
from curta_server.settings import Settings
from curta_wire.codec import FRAME_BYTES_MAX

REQUESTS_S = 1
"""When it is told to stop: so long for requests that are being answered."""


class HttpServer(uvicorn.Server):
    """uvicorn without signal handlers of its own: `serve` is told when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def configuration(app: Quart, settings: Settings, connections: Connections) -> uvicorn.Config:
    """What the settings mean to uvicorn."""
    return uvicorn.Config(
        Farewell(app),
        host=settings.host,
        port=settings.port,
        loop="none",
        http=cast("Any", partial(BoundedHttp, connections, settings.header_bytes_max)),
        ws=cast("Any", partial(BoundedSocket, connections)),
        ws_max_size=FRAME_BYTES_MAX,
        ws_per_message_deflate=False,
        # Agents have heartbeats of their own, browsers their beats.
        ws_ping_interval=None,
        ws_ping_timeout=None,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=math.ceil(settings.keep_alive_s),
        timeout_graceful_shutdown=REQUESTS_S,
        backlog=4096,
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
    )
