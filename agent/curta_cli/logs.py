"""The log: one configuration for our own events, uvicorn's, asyncio's and everybody else's.

Called once by each command that stays (`up`, `server`, `agent`, `migrate`, `prune`). Lines go to standard
error, as text for people on a terminal, else as one JSON object a line. Secrets that reach it by mistake are
masked.
"""

import logging
import os
import re
import sys
from typing import IO, Any

import click
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("console", "json")

SECRET_NAMES = re.compile(r"token$|secret|password|authorization|cookie|database_url|digest", re.IGNORECASE)
SECRET_TEXTS = re.compile(
    r"curta_[A-Za-z0-9_-]{20,}"  # our own tokens
    r"|(?i:\bbearer\s+)[^\s\"']+"  # however the scheme is spelt: HTTP does not mind
    r"|(?<=://)[^/\s:@]*:[^/\s@]*(?=@)"  # user:password@ in a database's URL
)
MASK = "***"

CHATTY = ("uvicorn.access", "uvicorn.error", "alembic", "httpx", "httpcore")
"""They tell every connection, request or step at level info; what matters of it we tell ourselves."""


def configure(stream: IO[str] | None = None) -> None:
    """Send every log line to `stream` (default: standard error) as CURTA_LOG_LEVEL and CURTA_LOG_FORMAT say.

    May be called again: the last call counts. Raises: UsageError for an unknown level or format.
    """
    stream = sys.stderr if stream is None else stream
    level = _choice("CURTA_LOG_LEVEL", LEVELS, "info")
    form = _choice("CURTA_LOG_FORMAT", FORMATS, "console" if stream.isatty() else "json")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        if form == "console"
        else structlog.processors.JSONRenderer(default=str)
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,  # before the mask: tracebacks quote what was passed
                mask,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "quart.app", "quart.serving"):
        # These bring handlers of their own; without them their lines pass to ours.
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in CHATTY:
        # Only ever less than what was asked for; `debug` brings their lines back.
        logging.getLogger(name).setLevel("WARNING" if level == "info" else logging.NOTSET)
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *(one for one in shared if not isinstance(one, structlog.stdlib.ExtraAdder)),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _is_news(record: logging.LogRecord) -> bool:
    """Leaves out what uvicorn calls an error whenever a WebSocket was refused before the upgrade, which any
    stranger can bring about."""
    return record.msg != "ASGI callable returned without completing handshake."


def mask(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace what looks like a secret, by its key or by its form, in the whole line."""
    for key, value in event.items():
        event[key] = MASK if SECRET_NAMES.search(key) and value else _masked(value)
    return event


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return SECRET_TEXTS.sub(MASK, value)
    if isinstance(value, dict):
        return {
            key: MASK if SECRET_NAMES.search(str(key)) and inner else _masked(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(inner) for inner in value]
    return value


def _choice(name: str, allowed: tuple[str, ...], default: str) -> str:
    value = os.environ.get(name, "").strip().lower() or default
    if value not in allowed:
        raise click.UsageError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value
