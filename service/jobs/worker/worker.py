"""The worker: takes jobs up one at a time, as the queue delivers them or as its lookout finds them, until stopped.

It runs as ``adavae worker``, or inside the service where that trains for itself.
"""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Sequence

import structlog

from adavae.model.errors import AdaVAEError
from adavae.service.jobs.queue.queue import JobQueue
from adavae.service.jobs.records.open_records import open_claims, open_jobs
from adavae.service.jobs.worker.child_process import COMMAND
from adavae.service.jobs.worker.lookout import Lookout, VolumeView, Waiting
from adavae.service.jobs.worker.resting import Resting
from adavae.service.jobs.worker.supervisor import FilePaths, Outcome, Supervisor
from adavae.service.jobs.worker.training_metrics import TrainingMetrics
from adavae.service.settings import Settings

_LOOK_EVERY_S = 1.0
_NICENESS = 10  # training gives way: a service on the same cores has users that wait
_log = structlog.get_logger("adavae.jobs")


class Worker:
    """Works on the jobs of one volume; used from one event loop."""

    def __init__(
        self,
        settings: Settings,
        files: FilePaths,
        queue: JobQueue,
        metrics: TrainingMetrics,
        *,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Training processes are started as ``command``."""
        self._claims = open_claims(settings, open_jobs(settings))
        self._supervisor = Supervisor(settings, self._claims, files, metrics, niceness=_NICENESS, command=command)
        self._lookout = Lookout(self._claims, settings.lease_s)
        self._queue, self._metrics = queue, metrics
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._one_at_a_time = asyncio.Lock()
        self._stopping, self._has_time = asyncio.Event(), asyncio.Event()
        self._resting = Resting()

    def stop(self) -> None:
        """Lets ``run`` end: the step under way is finished, its job handed back with a checkpoint."""
        self._stopping.set()
        self._has_time.set()

    async def run(self, *, is_once: bool = False) -> None:
        """Until ``stop``, or until no job waits where ``is_once`` is set."""
        consuming = asyncio.create_task(self._consume())
        try:
            await self._look_out(is_once=is_once)
        finally:
            self.stop()
            async with self._one_at_a_time:  # what was delivered is handed back first
                consuming.cancel()
            await asyncio.wait({consuming})

    async def _consume(self) -> None:
        try:
            if (problem := await self._queue.problem()) is not None:
                _log.warning("queue_unreachable", reason=problem, remedy="jobs are found on the volume meanwhile")
            await self._queue.consume(self._deliver)
        except Exception:  # without a queue the lookout goes on
            _log.exception("queue_failed")

    async def _deliver(self, job_id: str) -> None:
        async with self._one_at_a_time:
            if not self._stopping.is_set():
                await self.take(Waiting(job_id, None))

    async def _look_out(self, *, is_once: bool) -> None:
        working: asyncio.Task[None] | None = None
        while not self._stopping.is_set():
            view = await self._view()
            if view is not None and not self._one_at_a_time.locked():
                if view.waiting:
                    working = asyncio.create_task(self._take_first(view.waiting))
                elif is_once and view.is_settled:
                    return
            self._has_time.clear()
            if not self._stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._has_time.wait(), _LOOK_EVERY_S)
        if working is not None:
            await working

    async def _view(self) -> VolumeView | None:
        try:
            view = await asyncio.to_thread(self._lookout.view)
        except (AdaVAEError, OSError) as exc:
            _log.warning("volume_not_read", reason=str(exc))
            return None
        except Exception:  # nothing that is on the volume may end the worker
            _log.exception("volume_not_read")
            return None
        self._metrics.set_jobs(view.counts)
        return view

    async def _take_first(self, jobs: Sequence[Waiting]) -> None:
        """Works on the first of ``jobs`` that can be claimed."""
        async with self._one_at_a_time:
            for waiting in jobs:
                if self._stopping.is_set():
                    return
                if not self._resting.is_resting(waiting.job_id) and await self.take(waiting) is not None:
                    return

    async def take(self, waiting: Waiting) -> Outcome | None:
        """Works on a job to the end of an attempt; the one place where every error ends.

        Returns:
            None where the job could not be claimed: somebody else has it, or it needs no more work.
        """
        job_id = waiting.job_id
        try:
            claim = await asyncio.to_thread(self._claims.claim, job_id, self._name, abandoned=waiting.abandoned)
            if claim is None:
                return None
            outcome = await self._supervisor.run(claim, self._stopping)
        except (AdaVAEError, OSError) as exc:
            _log.warning("attempt_failed", job=job_id, reason=str(exc))
            outcome = Outcome.CRASHED
        except Exception:
            _log.exception("attempt_failed", job=job_id)
            outcome = Outcome.CRASHED
        self._resting.note(job_id, has_crashed=outcome is Outcome.CRASHED)
        self._has_time.set()
        return outcome
