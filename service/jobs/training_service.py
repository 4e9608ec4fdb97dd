"""Training behind the service: files, jobs, and, where no worker does it, the training itself.

embedded  a worker inside this process
queued    jobs go to ``adavae worker``; here only jobs are ended whose worker died while they were being cancelled
off       jobs are shown, none is made
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal

import structlog

from adavae.model.errors import AdaVAEError
from adavae.service.errors import ServiceError
from adavae.service.jobs.backbone_description import BackboneDescription, describe_backbone
from adavae.service.jobs.data.file_store import FileStore
from adavae.service.jobs.data.shared_files import open_files
from adavae.service.jobs.job_service import JobService
from adavae.service.jobs.owned import OwnedFiles, OwnedJobs, OwnedTraining
from adavae.service.jobs.queue.open_queue import open_queue
from adavae.service.jobs.records.caller import Caller
from adavae.service.jobs.records.claims import Claims, Lease
from adavae.service.jobs.records.open_records import open_claims, open_jobs, open_volume
from adavae.service.jobs.worker.lookout import Lookout
from adavae.service.jobs.worker.training_metrics import TrainingMetrics
from adavae.service.jobs.worker.worker import Worker
from adavae.service.metrics import Metrics
from adavae.service.settings import Settings

Mode = Literal["embedded", "queued", "off"]

_LOOK_EVERY_S = 2.0
_log = structlog.get_logger("adavae.jobs")


def training_mode(settings: Settings) -> Mode:
    """Who trains: with a Redis there are workers, unless the settings say otherwise."""
    if settings.training != "auto":
        return settings.training
    return "queued" if settings.queue_url is not None else "embedded"


class TrainingService:
    """``TrainingOperations`` over one volume; used from one event loop."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        describe: Callable[[Settings], BackboneDescription] = describe_backbone,
    ) -> None:
        """Opens nothing yet: ``start`` does. ``describe`` reads the backbone, in a thread."""
        self._settings, self._mode = settings, training_mode(settings)
        self._describe = describe
        self._description: BackboneDescription | None = None
        self._metrics = TrainingMetrics(metrics.registry)
        self._store = open_jobs(settings)
        self._queue = open_queue(settings)
        volume = open_volume(settings)
        self._files = open_files(settings, self._store, volume=volume)
        self._jobs = JobService(settings, self._store, self._files, self._queue, self._known_backbone, volume)
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def files(self) -> FileStore:
        """Everybody's."""
        return self._files

    @property
    def jobs(self) -> JobService:
        """Everybody's."""
        return self._jobs

    def seen_by(self, caller: Caller) -> OwnedTraining:
        return OwnedTraining(OwnedFiles(self._files, caller), OwnedJobs(self._jobs, caller))

    async def start(self) -> None:
        """Reads the backbone, and starts to train or to watch.

        Raises:
            AdaVAEError: There is no backbone to train over.
        """
        if self._mode == "off":
            return
        self._description = await asyncio.to_thread(self._describe, self._settings)
        if self._mode == "embedded":
            self._worker = Worker(self._settings, self._files, self._queue, self._metrics)
            self._running = asyncio.create_task(self._worker.run())
        else:
            self._running = asyncio.create_task(self._watch_over_jobs())

    def end_watching(self) -> None:
        self._jobs.end_watching()

    async def stop(self) -> None:
        """Hands back a job that is being trained, with a checkpoint; safe at any moment."""
        if self._running is not None:
            if self._worker is not None:
                self._worker.stop()
            else:
                self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        await self._jobs.close()
        await self._queue.close()

    def _known_backbone(self) -> BackboneDescription:
        if self._mode == "off":
            message = "training is turned off here (ADAVAE_TRAINING is off): ask who runs the service to turn it on"
            raise ServiceError(409, "training_off", message)
        if self._description is None:
            message = "the service is still starting: try again in a moment"
            raise ServiceError(503, "not_ready", message, retry_after_s=2)
        return self._description

    async def _watch_over_jobs(self) -> None:
        """Counts jobs, and does what was asked of those whose worker is gone."""
        claims = open_claims(self._settings, self._store)
        lookout = Lookout(claims, self._settings.lease_s)
        while True:
            try:
                view = await asyncio.to_thread(lookout.view)
                self._metrics.set_jobs(view.counts)
                for waiting in view.waiting:
                    if waiting.abandoned is not None:
                        await asyncio.to_thread(_settle, claims, waiting.job_id, waiting.abandoned)
            except (AdaVAEError, OSError) as exc:
                _log.warning("volume_not_read", reason=str(exc))
            except Exception:  # nothing that is on the volume may end this
                _log.exception("volume_not_read")
            await asyncio.sleep(_LOOK_EVERY_S)


def _settle(claims: Claims, job_id: str, abandoned: Lease) -> None:
    """A job that cannot be ended does not keep others from their end."""
    try:
        claims.settle(job_id, abandoned)
    except (AdaVAEError, OSError) as exc:
        _log.warning("job_not_settled", job=job_id, reason=str(exc))
