"""Around every request: one log line, its share of the metrics, and the last resort for errors nobody expected.

Neither the log nor the metrics hold anything that a client wrote, but for its request id.
"""

import asyncio
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adavae.service.errors import ServiceError
from adavae.service.http.access import OPEN_PATHS
from adavae.service.http.path_prefix import path_of
from adavae.service.http.replies import error_reply, internal_error
from adavae.service.http.request_id import request_id_of
from adavae.service.metrics import Metrics
from adavae.service.served_set import SERVED, ServedSet

UNMATCHED = "unmatched"
STATUS_CLIENT_GONE = 499  # nobody reads it; the status that nginx made customary in logs
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_ENDED = ServiceError(
    503, "shutting_down", "the service ended before this was done: send it again in a moment", retry_after_s=2
)
_log = structlog.get_logger("adavae.request")


class RequestLog:
    """ASGI middleware, right inside ``RequestId``."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status: int | None = None
        served = ServedSet()
        SERVED.set(served)
        started_s = time.perf_counter()

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with self._metrics.requests_in_flight.track_inprogress():
                await self._app(scope, receive, send_observed)
        except asyncio.CancelledError:
            if status is None:
                await error_reply(_ENDED)(scope, receive, send_observed)
            raise
        except Exception:  # the edge: a client never sees what failed, the log does
            _log.exception("request_failed", method=_method(scope), route=_route(scope))
            if status is None:
                await error_reply(internal_error(request_id_of(scope)))(scope, receive, send_observed)
        finally:
            self._record(scope, status or STATUS_CLIENT_GONE, served, time.perf_counter() - started_s)

    def _record(self, scope: Scope, status: int, served: ServedSet, duration_s: float) -> None:
        method, route = _method(scope), _route(scope)
        adapter = self._metrics.adapter_label(served.name) if served.name else ""
        labels = (method, route, str(status), adapter)
        self._metrics.requests_total.labels(*labels).inc()
        self._metrics.request_seconds.labels(*labels).observe(duration_s)
        log = _log.debug if route in _QUIET and status < 400 else _log.info
        log("request", method=method, route=route, status=status, duration_ms=round(duration_s * 1000, 1))


def _method(scope: Scope) -> str:
    """The method, where it is one of the usual: a client cannot make up labels."""
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


def _route(scope: Scope) -> str:
    """The route's template, never the path a client asked for."""
    if (path := path_of(scope)) in OPEN_PATHS:
        return path
    return str(getattr(scope.get("route"), "path", UNMATCHED))
