"""Traces over a real engine: a span a request with what it waited for and what was computed inside; off by default."""

import asyncio
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from adavae.service.latent_service import LatentService
from adavae.service.main import create_app
from adavae.service.metrics import Metrics
from adavae.service.settings import SettingsError
from adavae.service.tracing import close_tracing, open_tracing, tracer_of
from tests.tiny_home import tiny_settings

WALK = {"source": "the food was secret", "target": "the food was great", "steps": 3, "adapter": "plain"}


def spans_of(home: Path, *asked: tuple[str, str, dict[str, Any] | None], is_on: bool = True) -> list[ReadableSpan]:
    """What a service over tiny weights records of these requests."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))

    async def ask() -> None:
        settings, metrics = tiny_settings(home), Metrics()
        service = LatentService(settings, metrics, tracer_of(provider if is_on else None))
        await service.start()
        app = create_app(settings, service, metrics, traces=provider if is_on else None)
        try:
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(base_url="http://127.0.0.1", transport=transport) as client:
                for method, path, body in asked:
                    await client.request(method, path, json=body)
        finally:
            await service.stop()

    asyncio.run(ask())
    provider.shutdown()
    return list(kept.get_finished_spans())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_a_request_is_a_span_with_its_waiting_and_its_work_inside(home: Path) -> None:
    spans = spans_of(home, ("POST", "/interpolate", WALK), ("GET", "/healthz", None), ("GET", "/readyz", None))
    (request,) = [span for span in spans if span.parent is None]
    inside = sorted((span for span in spans if span is not request), key=lambda span: span.start_time or 0)
    assert request.name == "POST /interpolate"
    assert (request.attributes or {})["http.response.status_code"] == 200
    assert [span.name for span in inside][:4] == ["queue", "encode", "queue", "decode"]
    assert {span.name for span in inside} == {"queue", "encode", "decode"}
    for span in inside:
        assert span.parent is not None and request.context is not None
        assert span.parent.span_id == request.context.span_id
        assert (request.start_time or 0) <= (span.start_time or 0) <= (span.end_time or 0) <= (request.end_time or 0)
    assert [dict(span.attributes or {}) for span in inside[:2]] == [{"adavae.rows": 2}] * 2
    assert "secret" not in " ".join(span.to_json() for span in spans)


def test_a_request_that_is_refused_is_a_span_too(home: Path) -> None:
    (span,) = spans_of(home, ("POST", "/encode", {"text": "a", "adapter": "unknown"}))
    assert (span.attributes or {})["http.response.status_code"] == 404
    assert span.status.status_code is not StatusCode.ERROR  # the client's, not ours


def test_nothing_is_recorded_unless_asked_for(home: Path) -> None:
    assert spans_of(home, ("POST", "/interpolate", WALK), is_on=False) == []
    assert open_tracing(tiny_settings(home)) is None


def test_spans_are_sent_to_the_address_of_the_setting(home: Path) -> None:
    received = list[tuple[str, bytes]]()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        provider = open_tracing(tiny_settings(home, traces_url=f"http://127.0.0.1:{server.server_port}/v1/traces"))
        tracer_of(provider).start_span("a request").end()
        close_tracing(provider)
        server.shutdown()
    ((path, body),) = received
    assert path == "/v1/traces"
    assert b"a request" in body and b"adavae" in body


def test_without_its_packages_the_setting_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"pip install 'adavae\[otel\]'"):
        open_tracing(tiny_settings(home, traces_url="http://127.0.0.1:4318/v1/traces"))
