"""How log lines look: as JSON or for people, ours in the same form as those of uvicorn and other libraries; on stderr.

Set up by the commands that serve, never on import and never by the app itself.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

from adavae.service.repeated_lines import CountingHandler
from adavae.service.settings import Settings

_DECLINED = ("Unsupported upgrade request", "No supported WebSocket library")


def set_up_log(settings: Settings, stream: TextIO | None = None) -> None:
    """Sends everything that is logged in this process to ``stream``, stderr if left out."""
    stream = stream if stream is not None else sys.stderr
    is_json = settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = CountingHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(is_json, stream)],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    _quieten("uvicorn.error", settings)


def _renderers(is_json: bool, stream: TextIO) -> list[Processor]:
    """Tracebacks without local variables, which could hold texts."""
    if is_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    return [
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    ]


def _quieten(name: str, settings: Settings) -> None:
    """Uvicorn logs every stage of its life at level info; here that is shown at level debug only."""
    level = logging.DEBUG if settings.log_level == "debug" else logging.WARNING
    logging.getLogger(name).setLevel(max(level, logging.getLogger().level))
    logging.getLogger(name).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Java's clients offer HTTP/2 on each connection: it is declined by answering, nothing need be installed."""
    return not record.getMessage().startswith(_DECLINED)
