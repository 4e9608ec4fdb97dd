"""Traces of requests (OpenTelemetry): what a request waited for and what was computed for it; off unless asked for.

FastAPI makes a span of each request, the engine those in it: ``queue``, ``encode``, ``decode``. No span holds a text.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import StatusCode, Tracer, TracerProvider

from adavae.service.settings import Settings, SettingsError

_NAME = "adavae"


def open_tracing(settings: Settings) -> TracerProvider | None:
    """What sends spans to ``ADAVAE_TRACES_URL``; None where that is empty. Its ``shutdown`` sends the last ones.

    Raises:
        SettingsError: The packages are not installed.
    """
    if not settings.traces_url:
        return None
    try:
        sdk, exporting = _module("opentelemetry.sdk.trace"), _module("opentelemetry.sdk.trace.export")
        resources, otlp = (
            _module("opentelemetry.sdk.resources"),
            _module("opentelemetry.exporter.otlp.proto.http.trace_exporter"),
        )
    except ModuleNotFoundError as exc:
        raise SettingsError(
            "ADAVAE_TRACES_URL takes the packages of OpenTelemetry: pip install 'adavae[otel]', or leave it unset"
        ) from exc
    resource = resources.Resource.create({"service.name": _NAME})
    provider: Any = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(exporting.BatchSpanProcessor(otlp.OTLPSpanExporter(endpoint=settings.traces_url)))
    opened: TracerProvider = provider
    return opened


def close_tracing(provider: TracerProvider | None) -> None:
    """Sends what has not been sent yet, and ends."""
    if provider is not None and hasattr(provider, "shutdown"):
        provider.shutdown()


def tracer_of(provider: TracerProvider | None) -> Tracer:
    """What makes spans; without a provider it makes none."""
    return trace.NoOpTracer() if provider is None else provider.get_tracer(_NAME)


def record(
    tracer: Tracer, name: str, began_ns: int, ended_ns: int, attributes: Mapping[str, int], *, has_failed: bool
) -> None:
    """A span inside that of the request which this task answers; none where no request is traced.

    Args:
        tracer: As ``tracer_of`` gives it.
        name: What was done.
        began_ns: When, as ``time.time_ns``.
        ended_ns: Until when.
        attributes: Figures of it.
        has_failed: It came to nothing.
    """
    if not trace.get_current_span().is_recording():
        return
    span = tracer.start_span(name, start_time=began_ns, attributes=dict(attributes))
    if has_failed:
        span.set_status(StatusCode.ERROR)
    span.end(ended_ns)


def _module(name: str) -> Any:
    return importlib.import_module(name)
