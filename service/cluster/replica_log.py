"""A replica's log lines go where Ray Serve's own go: its log file, and this process's standard error.

A line is the event and its values, ``request status=200 seconds=0.01``; Serve puts time, level, replica and the
request's id before it.
"""

import logging

import structlog
from structlog.typing import EventDict, WrappedLogger

from adavae.service.settings import Settings

_SERVE, _OURS = "ray.serve", "adavae"
_KNOWN_TO_SERVE = "request_id"


def set_up_replica_log(settings: Settings) -> None:
    """From now on everything that we log in this process goes to the handlers of Serve's logger."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,  # without local variables, which could hold texts
            _as_line,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    ours = logging.getLogger(_OURS)
    ours.handlers = list(logging.getLogger(_SERVE).handlers)
    ours.propagate = not ours.handlers
    ours.setLevel(settings.log_level.upper())


def _as_line(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    said, traceback = event.pop("event", ""), event.pop("exception", None)
    values = [f"{key}={value!r}" for key, value in event.items() if key != _KNOWN_TO_SERVE]
    return " ".join([str(said), *values]) + (f"\n{traceback}" if traceback is not None else "")
