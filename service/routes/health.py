"""Whether the server lives, whether it can serve, what it counts, and what it is made of."""

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from adavae.service.errors import ServiceError
from adavae.service.http.replies import JsonReply
from adavae.service.routes.dependencies import AppMetrics, Latent


async def healthz() -> JsonReply:
    """The process is alive and its event loop turns."""
    return JsonReply({"status": "ok"})


async def readyz(latent: Latent) -> JsonReply:
    """Requests are answered, as the default adapter set is tried by one; 503 with the reason where they are not.

    `warning` says where only requests that name an adapter set are.
    """
    if (reason := await latent.why_not_ready()) is not None:
        raise ServiceError(503, "not_ready", f"not ready: {reason}: try again in a moment", retry_after_s=2)
    warning = latent.readiness_warning
    return JsonReply({"status": "ready"} | ({} if warning is None else {"warning": warning}))


async def get_metrics(metrics: AppMetrics) -> Response:
    """Counters, gauges and histograms in Prometheus' text format."""
    return Response(generate_latest(metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST})


async def get_version(latent: Latent) -> JsonReply:
    """Versions and digests of what computes; those of the backbone once it is loaded."""
    return JsonReply(latent.versions())
