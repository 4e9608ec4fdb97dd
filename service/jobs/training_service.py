"""Training behind the service: files, jobs, and, where no worker does it, the training itself.

embedded  a worker inside this process
queued    jobs go to ``adavae worker``; here only jobs are ended whose worker died while they were being cancelled
ray       the same, but tasks of a Ray cluster train, which are called here
off       jobs are shown, none is made
"""

import asyncio
import itertools
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

Mode = Literal["embedded", "queued", "ray", "off"]
CallTrainers = Callable[[Settings], None]
"""Sees to it that somebody elsewhere trains; called again and again, in a thread; raises AdaVAEError."""

_LOOK_EVERY_S = 2.0
_LOOKS_A_CALL = 5
_LAST_WRITES_S = 1.0  # requests that write have had shutdown_s before
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
        *,
        call: CallTrainers | None = None,
    ) -> None:
        """Opens nothing yet: ``start`` does.

        Args:
            settings: Where the volume is, and who trains.
            metrics: What is shown of training goes there.
            describe: Reads the backbone, in a thread.
            call: For the mode 'ray'.
        """
        self._settings, self._mode = settings, training_mode(settings)
        self._describe, self._call = describe, call
        self._description: BackboneDescription | None = None
        self._metrics = TrainingMetrics(metrics.registry)
        self._store = open_jobs(settings)
        self._queue = open_queue(settings)
        self._volume = open_volume(settings)
        self._files = open_files(settings, self._store, volume=self._volume)
        self._jobs = JobService(settings, self._store, self._files, self._queue, self._known_backbone, self._volume)
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
        """Reads the backbone, and starts to train or to watch; trainers that do not answer are called again later.

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
            await self._until_handed_back(self._running)
        await self._jobs.close()
        await self._queue.close()
        await self._volume.stop(_LAST_WRITES_S)

    async def _until_handed_back(self, running: "asyncio.Task[None]") -> None:
        """A job has ``shutdown_s`` to end its step, and as long again to be put away; a volume that hangs takes no
        more.
        """
        await asyncio.wait((running,), timeout=2 * self._settings.shutdown_s)
        if not running.done():
            _log.error("training_left", reason="the volume hangs", remedy="another worker takes the job up")
            running.cancel()
        elif not running.cancelled():
            running.result()

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
        for look in itertools.count():
            if look % _LOOKS_A_CALL == 0:
                await self._call_again()
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

    async def _call_again(self) -> None:
        """Trainers may be gone with the machine that they were on, or not be there yet: requests are answered."""
        if self._call is None or self._mode != "ray":
            return
        try:
            await asyncio.to_thread(self._call, self._settings)
        except (AdaVAEError, OSError) as exc:
            _log.warning("trainers_not_called", reason=str(exc), remedy="jobs wait until they can be")
        except Exception:  # of Ray's own; jobs are watched whatever it does
            _log.exception("trainers_not_called")


def _settle(claims: Claims, job_id: str, abandoned: Lease) -> None:
    """A job that cannot be ended does not keep others from their end."""
    try:
        claims.settle(job_id, abandoned)
    except (AdaVAEError, OSError) as exc:
        _log.warning("job_not_settled", job=job_id, reason=str(exc))
