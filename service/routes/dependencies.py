"""What routes are given by the app, and what holds before they run.

All of it is asynchronous: FastAPI calls anything else in a thread, which under load takes longer than many requests do.
"""

from typing import Annotated

from fastapi import Depends, Header, Request

from adavae.service.errors import ServiceError
from adavae.service.http.api_keys import ApiKey
from adavae.service.jobs.protocol import CallersTraining, TrainingOperations
from adavae.service.jobs.records.caller import EVERYBODY, Caller
from adavae.service.latent_protocol import LatentOperations
from adavae.service.metrics import Metrics
from adavae.service.schemas.training import IDEMPOTENCY_KEY
from adavae.service.settings import Settings


async def _latent(request: Request) -> LatentOperations:
    latent: LatentOperations = request.app.state.latent
    return latent


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


async def _training(request: Request) -> CallersTraining:
    """What belongs to the caller, or everything for ``admin``: routes have no other way to files and jobs."""
    training: TrainingOperations | None = request.app.state.training
    if training is None:
        message = "training is turned off here (ADAVAE_TRAINING is off): ask who runs the service to turn it on"
        raise ServiceError(503, "training_off", message)
    key: ApiKey | None = request.state.api_key
    caller = Caller(key.name, is_admin="admin" in key.scopes) if key is not None else EVERYBODY
    return training.seen_by(caller)


Latent = Annotated[LatentOperations, Depends(_latent)]
Limits = Annotated[Settings, Depends(_settings)]
Training = Annotated[CallersTraining, Depends(_training)]
AppMetrics = Annotated[Metrics, Depends(_metrics)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=255,
        pattern=IDEMPOTENCY_KEY,
        description="Any string of your own: a request that is sent again with it makes nothing a second time.",
    ),
]


async def require_json(request: Request) -> None:
    """Refuses bodies that do not say they are JSON, which is also what keeps other sites' HTML forms out.

    Raises:
        ServiceError: 415; 400 where there is no body.
    """
    sent = request.headers.get("content-type", "")
    kind = sent.partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        given = f"is {sent[:100]!r}" if sent else "is missing"
        raise ServiceError(415, "not_json", f"the content type {given}: send JSON, 'Content-Type: application/json'")
    if not await request.body():
        raise ServiceError(400, "malformed_json", "the body is empty: send a JSON object")
