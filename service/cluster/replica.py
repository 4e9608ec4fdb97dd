"""One replica of the service on a Ray cluster: the app of ``service.main`` over an engine of its own.

It knows nothing of Ray but the names of the methods that Serve looks for; ``application`` makes a deployment of it.
"""

import asyncio
import contextlib
import gc
import math
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.types import Lifespan

from adavae.model.errors import AdaVAEError
from adavae.service.cluster.arguments import ClusterArguments
from adavae.service.cluster.scaling import QUEUE_ROWS
from adavae.service.settings import Settings, keep_few_kernels, let_threads_wait_briefly

if TYPE_CHECKING:
    from fastapi import FastAPI

_FIRST_TRIALS = 120
"""Looks at a trial of the default set that is under way, each of half a second, before the first verdict."""


class NotHealthy(AdaVAEError):
    """Requests are not answered; Serve starts another replica instead where this goes on."""


class Replica:
    """Built by Serve on the machine that it runs on; used from one event loop."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Reads the settings, and opens nothing yet.

        Args:
            arguments: Of ``ClusterArguments``.

        Raises:
            SettingsError: The settings are wrong on this machine.
            StoreUnusable: ADAVAE_DATA is an object store that cannot be used from here.
        """
        let_threads_wait_briefly()
        keep_few_kernels()
        from adavae.service.cluster.exported_metrics import ExportedMetrics, replica_name
        from adavae.service.cluster.replica_log import set_up_replica_log
        from adavae.service.latent_service import LatentService
        from adavae.service.metrics import Metrics
        from adavae.service.objects.open_objects import check_objects
        from adavae.service.tracing import open_tracing, tracer_of

        self._settings = settings = on_a_cluster(ClusterArguments(**arguments).guarded_settings_here())
        set_up_replica_log(settings)
        check_objects(settings)
        self._metrics, self._traces = Metrics(), open_tracing(settings)
        self._latent = LatentService(settings, self._metrics, tracer_of(self._traces))
        self._export = ExportedMetrics(self._metrics.registry, {"replica": replica_name()})
        self._has_been_ready = False
        self._started: asyncio.Future[None]

    async def __serve_build_asgi_app__(self) -> "FastAPI":
        """The app; Serve runs its lifespan, which loads the model in the background."""
        from adavae.service.cluster.one_request_id import OneRequestId
        from adavae.service.cluster.trainers import call_trainers
        from adavae.service.jobs.training_service import TrainingService
        from adavae.service.main import create_app

        settings, metrics = self._settings, self._metrics
        self._started = asyncio.get_running_loop().create_future()
        training = None if settings.training == "off" else TrainingService(settings, metrics, call=call_trainers)
        app = create_app(settings, self._latent, metrics, self._on_started, training, self._traces)
        app.add_middleware(OneRequestId)
        app.router.lifespan_context = partial(self._lifespan, app.router.lifespan_context)
        return app

    async def check_health(self) -> None:
        """Waits for the model; then tries the default set by a real request, as /readyz does.

        Raises:
            NotHealthy: Requests are not answered, with the reason.
        """
        await asyncio.shield(self._started)
        reason = await self._latent.why_not_ready()
        for _ in range(0 if self._has_been_ready else _FIRST_TRIALS):
            if reason is None:
                break
            reason = await self._latent.why_not_ready()
        if reason is not None:
            raise NotHealthy(f"this replica answers no requests: {reason}")
        self._has_been_ready = True

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What ``LoadPolicy`` looks at, beside the requests that Serve counts itself."""
        (sample,) = (each for family in self._metrics.queue_rows.collect() for each in family.samples)
        return {QUEUE_ROWS: sample.value}

    @contextlib.asynccontextmanager
    async def _lifespan(self, of_the_app: Lifespan["FastAPI"], app: "FastAPI") -> AsyncIterator[None]:
        """The app's own, and around it what Ray and traces get."""
        from adavae.service.tracing import close_tracing

        exporting = asyncio.create_task(self._export.run())
        try:
            async with of_the_app(app):
                yield
        finally:
            exporting.cancel()
            await asyncio.wait({exporting})
            await asyncio.to_thread(close_tracing, self._traces)

    def _on_started(self, starting: "asyncio.Task[None]") -> None:
        if starting.cancelled() or self._started.done():
            return
        if (error := starting.exception()) is not None:
            self._started.set_exception(error)
            return
        gc.collect()
        gc.freeze()  # what is there now stays: looking through it again and again held up requests
        self._started.set_result(None)


def on_a_cluster(settings: Settings) -> Settings:
    """What a setting that leaves a choice means where Ray decides who has which cores."""
    chosen: dict[str, Any] = {}
    if settings.training == "auto":
        chosen["training"] = "ray"
    if settings.threads == 0 and settings.replica_cpus > 0:
        chosen["threads"] = math.ceil(settings.replica_cpus)
    return settings.model_copy(update=chosen)
