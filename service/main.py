"""The app: every route, every layer around them, every error reply, on one screen: START READING HERE.

request -> RequestId -> PathPrefix -> CorsHeaders -> RequestLog -> Preflights -> Access (host, key, rate) -> Deadlines
        -> BodyLimit -> AnswersHead -> route -> LatentOperations -> reply
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
from fastapi import APIRouter, Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import TracerProvider
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response

from adavae.model.errors import AdaVAEError
from adavae.service.http.access import OPEN_PATHS, Access, needs
from adavae.service.http.api_keys import load_api_keys
from adavae.service.http.body_limit import BodyLimit
from adavae.service.http.client_address import TrustedProxies
from adavae.service.http.cors import CorsHeaders, Origins, Preflights
from adavae.service.http.deadlines import Deadlines
from adavae.service.http.documentation import (
    ARCHIVE,
    CARD,
    DESCRIPTION,
    TAGS,
    WATCHED,
    documented_answers,
    documented_errors,
    documented_security,
)
from adavae.service.http.error_replies import add_error_replies
from adavae.service.http.head import AnswersHead
from adavae.service.http.page import page, page_file
from adavae.service.http.path_prefix import PathPrefix, checked_prefix
from adavae.service.http.rate_limit import RateLimit
from adavae.service.http.request_id import RequestId
from adavae.service.http.request_log import RequestLog
from adavae.service.jobs.data.previews import Previews
from adavae.service.jobs.protocol import TrainingOperations
from adavae.service.latent_protocol import LatentOperations
from adavae.service.metrics import Metrics
from adavae.service.routes.adapter_files import get_archive, get_card
from adavae.service.routes.adapter_import import import_adapter
from adavae.service.routes.adapters import delete_adapter, get_adapter, list_adapters
from adavae.service.routes.analogy import analogy
from adavae.service.routes.classify import classify
from adavae.service.routes.decode import decode
from adavae.service.routes.dependencies import require_json
from adavae.service.routes.embeddings import create_embeddings
from adavae.service.routes.encode import encode
from adavae.service.routes.files import (
    create_file,
    delete_file,
    get_file,
    get_file_content,
    list_files,
)
from adavae.service.routes.fine_tuning import (
    cancel_job,
    create_job,
    get_job,
    list_checkpoints,
    list_events,
    list_jobs,
    pause_job,
    resume_job,
)
from adavae.service.routes.health import get_metrics, get_version, healthz, readyz
from adavae.service.routes.interpolate import interpolate
from adavae.service.routes.key import KeyReply, get_key
from adavae.service.routes.map import map_texts
from adavae.service.routes.models import delete_model, get_model, list_models
from adavae.service.routes.read import read
from adavae.service.routes.static import Description, docs, static
from adavae.service.routes.traverse import traverse
from adavae.service.routes.variations import variations
from adavae.service.schemas.adapters import IMPORT_BODY, AdapterListReply, AdapterReply, DeletedReply
from adavae.service.schemas.analogy import AnalogyReply
from adavae.service.schemas.classify import ClassifyReply
from adavae.service.schemas.decode import DecodeReply
from adavae.service.schemas.embeddings import EmbeddingsReply
from adavae.service.schemas.encode import EncodeReply
from adavae.service.schemas.files import BINARY, UPLOAD_BODY, FileDeletedReply, FileListReply, FileReply
from adavae.service.schemas.interpolate import InterpolateReply
from adavae.service.schemas.map import MapReply
from adavae.service.schemas.models import ModelDeletedReply, ModelListReply, ModelReply
from adavae.service.schemas.read import READ_BODY, ReadReply
from adavae.service.schemas.status import StatusReply
from adavae.service.schemas.training import CheckpointListReply, EventListReply, JobListReply, JobReply
from adavae.service.schemas.traverse import TraverseReply
from adavae.service.schemas.variations import VariationsReply
from adavae.service.settings import Settings

OnStarted = Callable[["asyncio.Task[None]"], None]
_log = structlog.get_logger("adavae.app")


def create_app(
    settings: Settings,
    latent: LatentOperations,
    metrics: Metrics | None = None,
    on_started: OnStarted | None = None,
    training: TrainingOperations | None = None,
    traces: TracerProvider | None = None,
) -> FastAPI:
    """The whole HTTP service over ``latent`` and ``training``, which it starts in the background and stops.

    Args:
        settings: Limits, keys, rate limit.
        latent: What answers.
        metrics: Those that ``latent`` writes too; new ones if left out.
        on_started: Is given the task that starts both when that has ended, well or not.
        training: What answers under /v1; None where training is off.
        traces: Where a span of each request goes; None for nowhere.

    Raises:
        SettingsError: Keys, limits of rates, proxies, prefix or origins cannot be understood.
    """
    metrics = metrics or Metrics()
    keys, proxies = load_api_keys(settings), TrustedProxies(settings.trusted_proxies)
    origins = Origins(settings.cors_origins, has_keys=bool(keys))
    app = FastAPI(
        title="adavae",
        description=DESCRIPTION,
        version="1",
        openapi_tags=TAGS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(latent, training, on_started or _log_failure),
        telemetry=_telemetry(traces),
        middleware=[
            Middleware(RequestId),
            Middleware(PathPrefix, prefix=checked_prefix(settings.root_path), proxies=proxies),
            Middleware(CorsHeaders, origins=origins),
            Middleware(RequestLog, metrics=metrics),
            Middleware(Preflights, origins=origins),
            Middleware(Access, keys=keys, proxies=proxies, origins=origins, **_counted(settings)),
            Middleware(Deadlines, request_s=settings.deadline_s, body_s=settings.body_timeout_s),
            Middleware(
                BodyLimit,
                max_bytes=settings.max_body_bytes,
                max_upload_bytes=settings.max_upload_bytes,
                max_all_bytes=settings.max_bodies_bytes,
            ),
            Middleware(AnswersHead),
        ],
    )
    app.state.settings, app.state.latent, app.state.metrics = settings, latent, metrics
    app.state.training, app.state.previews = training, Previews(settings)
    add_error_replies(app)
    for router in (_operations, _reading, _adapters, _files, _jobs, _health):
        app.include_router(router(has_keys=bool(keys)))
    app.add_route("/openapi.json", Description(app).reply, include_in_schema=False)
    return app


def _telemetry(traces: TracerProvider | None) -> TelemetryConfig:
    """A span a request, where that is asked for, and none of those that only look whether the service is there."""
    quiet = OPEN_PATHS | {"/metrics"}
    return {
        "tracing": traces is not None,
        "tracer_provider": traces,
        "operation_spans": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
        "exclude": lambda scope: scope.get("path") in quiet,
    }


def _counted(settings: Settings) -> dict[str, Any]:
    """How much each client may."""
    wrong = RateLimit(
        settings.failed_key_limit, setting="ADAVAE_FAILED_KEY_LIMIT", code="too_many_wrong_keys", what="wrong API keys"
    )
    return {
        "failed_keys": wrong,
        "rate_limit": RateLimit(settings.rate_limit),
    }


def _operations(*, has_keys: bool) -> APIRouter:
    guards = [Depends(needs("infer")), Depends(require_json), *documented_security(has_keys)]
    errors = documented_errors(400, 404, 408, 409, 413, 415, 422, 429, 503, 504, has_keys=has_keys)
    router, answers = APIRouter(dependencies=guards, responses=errors), documented_answers()
    for tag, path, operation, reply in (
        ("texts", "/encode", encode, EncodeReply),
        ("texts", "/decode", decode, DecodeReply),
        ("texts", "/classify", classify, ClassifyReply),
        ("texts", "/v1/embeddings", create_embeddings, EmbeddingsReply),
        ("latent space", "/interpolate", interpolate, InterpolateReply),
        ("latent space", "/analogy", analogy, AnalogyReply),
        ("latent space", "/variations", variations, VariationsReply),
        ("latent space", "/traverse", traverse, TraverseReply),
        ("latent space", "/map", map_texts, MapReply),
    ):
        router.post(path, tags=[tag], responses=answers.get(path), response_model=reply)(operation)
    return router


def _reading(*, has_keys: bool) -> APIRouter:
    guards = [Depends(needs("infer", "train")), *documented_security(has_keys)]
    errors = documented_errors(400, 408, 413, 415, 422, 429, 503, has_keys=has_keys)
    router = APIRouter(tags=["texts"], dependencies=guards, responses=errors)
    router.post("/read", response_model=ReadReply, openapi_extra=READ_BODY)(read)
    return router


def _adapters(*, has_keys: bool) -> APIRouter:
    infer, admin = [Depends(needs("infer"))], [Depends(needs("admin"))]
    missing, kept = documented_errors(404), documented_errors(404, 409)
    errors = documented_errors(422, 429, 503, has_keys=has_keys)
    router = APIRouter(tags=["adapter sets"], dependencies=documented_security(has_keys), responses=errors)
    router.get("/adapters", dependencies=infer, response_model=AdapterListReply)(list_adapters)
    router.get("/adapters/{name}", dependencies=infer, responses=missing, response_model=AdapterReply)(get_adapter)
    router.get("/adapters/{name}/card", dependencies=infer, responses=CARD | missing, response_class=Response)(get_card)
    refused = documented_errors(408, 409, 413, 415)
    router.post(
        "/adapters", dependencies=admin, responses=refused, response_model=AdapterReply, openapi_extra=IMPORT_BODY
    )(import_adapter)
    archive = ARCHIVE | missing
    router.get("/adapters/{name}/archive", dependencies=admin, responses=archive, response_class=Response)(get_archive)
    router.delete("/adapters/{name}", dependencies=admin, responses=kept, response_model=DeletedReply)(delete_adapter)
    router.get("/v1/models", dependencies=infer, response_model=ModelListReply)(list_models)
    router.get("/v1/models/{name}", dependencies=infer, responses=missing, response_model=ModelReply)(get_model)
    router.delete("/v1/models/{name}", dependencies=admin, responses=kept, response_model=ModelDeletedReply)(
        delete_model
    )
    return router


def _files(*, has_keys: bool) -> APIRouter:
    guards = [Depends(needs("train")), *documented_security(has_keys)]
    refused, missing = documented_errors(400, 403, 408, 409, 413, 415), documented_errors(404)
    router = APIRouter(
        tags=["files"], dependencies=guards, responses=documented_errors(422, 429, 503, has_keys=has_keys)
    )
    router.post("/v1/files", responses=refused, response_model=FileReply, openapi_extra=UPLOAD_BODY)(create_file)
    router.get("/v1/files", response_model=FileListReply)(list_files)
    router.get("/v1/files/{file_id}", responses=missing, response_model=FileReply)(get_file)
    router.get("/v1/files/{file_id}/content", responses=BINARY | missing, response_class=Response)(get_file_content)
    router.delete("/v1/files/{file_id}", responses=documented_errors(404, 409), response_model=FileDeletedReply)(
        delete_file
    )
    return router


def _jobs(*, has_keys: bool) -> APIRouter:
    guards = [Depends(needs("train")), *documented_security(has_keys)]
    refused, missing = documented_errors(400, 408, 409, 413, 415), documented_errors(404)
    router = APIRouter(
        prefix="/v1/fine_tuning/jobs",
        tags=["training"],
        dependencies=guards,
        responses=documented_errors(422, 429, 503, has_keys=has_keys),
    )
    json_only = [Depends(require_json)]
    router.post("", dependencies=json_only, responses=refused, response_model=JobReply)(create_job)
    router.get("", response_model=JobListReply)(list_jobs)
    router.get("/{job_id}", responses=missing, response_model=JobReply)(get_job)
    router.get("/{job_id}/checkpoints", responses=missing, response_model=CheckpointListReply)(list_checkpoints)
    router.get("/{job_id}/events", responses=WATCHED | missing, response_model=EventListReply)(list_events)
    for change, route in (("cancel", cancel_job), ("pause", pause_job), ("resume", resume_job)):
        router.post(f"/{{job_id}}/{change}", responses=documented_errors(404, 409), response_model=JobReply)(route)
    return router


def _health(*, has_keys: bool) -> APIRouter:
    keyed, errors = documented_security(has_keys), documented_errors(429, has_keys=has_keys)
    router = APIRouter(tags=["health"])
    router.get("/healthz", response_model=StatusReply)(healthz)
    router.get("/readyz", responses=documented_errors(503), response_model=StatusReply)(readyz)
    router.get("/key", dependencies=keyed, responses=errors, response_model=KeyReply)(get_key)
    router.get("/metrics", dependencies=keyed, responses=errors, response_class=PlainTextResponse)(get_metrics)
    router.get("/version", response_model=dict[str, str])(get_version)
    router.get("/docs", include_in_schema=False)(docs)
    router.get("/", include_in_schema=False)(page)
    router.get("/page/{name:path}", include_in_schema=False)(page_file)
    router.get("/static/{name}", include_in_schema=False)(static)
    return router


def _lifespan(
    latent: LatentOperations, training: TrainingOperations | None, on_started: OnStarted
) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        """Starts in the background, so that /healthz answers while weights are being read."""
        starting = asyncio.ensure_future(_start(latent, training))
        starting.add_done_callback(on_started)
        try:
            yield
        finally:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, AdaVAEError, OSError):
                await starting
            if training is not None:
                await training.stop()
            await latent.stop()

    return lifespan


async def _start(latent: LatentOperations, training: TrainingOperations | None) -> None:
    await latent.start()
    if training is not None:
        await training.start()


def _log_failure(starting: "asyncio.Task[None]") -> None:
    if not starting.cancelled() and (error := starting.exception()) is not None:
        _log.error("start_failed", exc_info=error)
