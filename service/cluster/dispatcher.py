"""Who makes Ray tasks of training jobs: an actor that looks at the volume, and asks Ray for room for what waits there.

It keeps nothing that matters. Where its machine is lost Ray starts it on another one, its tasks end with it, and their
jobs are found abandoned on the volume like those of any worker. A task that waits for room is a demand that an
autoscaling cluster answers with a machine.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import structlog
from ray.exceptions import RayError

from adavae.model.errors import AdaVAEError
from adavae.service.cluster.arguments import ClusterArguments
from adavae.service.cluster.training_task import train
from adavae.service.jobs.records.claims import Claims
from adavae.service.jobs.records.open_records import open_claims, open_jobs
from adavae.service.jobs.worker.lookout import Lookout, Waiting
from adavae.service.jobs.worker.resting import Resting
from adavae.service.jobs.worker.supervisor import Outcome
from adavae.service.log import set_up_log
from adavae.service.settings import Settings

_LOOK_EVERY_S = 1.0
_log = structlog.get_logger("adavae.jobs")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a task is for: the job, and how many attempts at it there had been; nobody is asked twice for the same."""

    job_id: str
    num_before: int


class Dispatcher:
    """The actor; used from its event loop."""

    async def __init__(self, arguments: Mapping[str, Any]) -> None:  # type: ignore[misc]
        """Looks at once; ``arguments`` are those of ``ClusterArguments``."""
        self._resting = Resting()
        self._tasks: dict[Attempt, ray.ObjectRef[str | None]] = {}
        self._following: set[asyncio.Task[None]] = set()
        self._settings = settings = ClusterArguments(**arguments).settings_here()
        self._arguments = dict(arguments)
        self._watch(settings)
        set_up_log(settings)
        self._looking = asyncio.create_task(self._look_out())

    async def adopt(self, arguments: Mapping[str, Any]) -> None:
        """The settings of whoever called last hold for what is begun from now on."""
        if arguments == self._arguments:
            return
        before, self._settings = self._settings, ClusterArguments(**arguments).settings_here()
        self._arguments = dict(arguments)
        if _watched_by(before) != _watched_by(self._settings):
            self._watch(self._settings)

    async def num_tasks(self) -> int:
        """Tasks that train, or wait for room."""
        return len(self._tasks)

    async def stop(self, patience_s: float) -> None:
        """Ends every task with a checkpoint, and waits for that."""
        self._looking.cancel()
        for task in self._tasks.values():
            ray.cancel(task)
        if self._following:
            await asyncio.wait(self._following, timeout=patience_s)

    def _watch(self, settings: Settings) -> None:
        """Knows of no lease yet how long it has been the same."""
        self._claims = open_claims(settings, open_jobs(settings))
        self._lookout = Lookout(self._claims, settings.lease_s)

    async def _look_out(self) -> None:
        while True:
            try:
                for waiting, attempt in await asyncio.to_thread(self._look):
                    self._begin(waiting, attempt)
            except (AdaVAEError, OSError) as exc:
                _log.warning("volume_not_read", reason=str(exc))
            except Exception:  # nothing that is on the volume may end this
                _log.exception("volume_not_read")
            await asyncio.sleep(_LOOK_EVERY_S)

    def _look(self) -> list[tuple[Waiting, Attempt]]:
        """What waits, in a thread."""
        return [(waiting, _attempt(waiting, self._claims)) for waiting in self._lookout.view().waiting]

    def _begin(self, waiting: Waiting, attempt: Attempt) -> None:
        if attempt in self._tasks or self._resting.is_resting(attempt.job_id):
            return
        remote = ray.remote(train).options(name=f"train {attempt.job_id}", **task_options(self._settings))
        self._tasks[attempt] = remote.remote(self._arguments, waiting.job_id, waiting.abandoned)
        following = asyncio.create_task(self._follow(attempt))
        self._following.add(following)
        following.add_done_callback(self._following.discard)

    async def _follow(self, attempt: Attempt) -> None:
        """To its end, whatever that is."""
        has_crashed = True
        try:
            has_crashed = await self._tasks[attempt] == Outcome.CRASHED
        except RayError as exc:
            reason = str(exc).strip().splitlines()[-1]
            _log.warning("training_task_lost", job=attempt.job_id, reason=reason, remedy="it is begun again")
        finally:
            del self._tasks[attempt]
            self._resting.note(attempt.job_id, has_crashed=has_crashed)


def task_options(settings: Settings) -> dict[str, Any]:
    """What a task reserves; it is never repeated by Ray, for who may go on is decided on the volume."""
    memory = {"memory": settings.training_memory_bytes} if settings.training_memory_bytes else {}
    return {"num_cpus": settings.training_cpus, "num_gpus": settings.training_gpus, "max_retries": 0, **memory}


def _watched_by(settings: Settings) -> tuple[Path, Path, float]:
    """Which volume, and how long a lease may be the same there."""
    return settings.data, settings.directory, settings.lease_s


def _attempt(waiting: Waiting, claims: Claims) -> Attempt:
    if waiting.abandoned is not None:
        return Attempt(waiting.job_id, waiting.abandoned.attempt)
    return Attempt(waiting.job_id, claims.store.get(waiting.job_id).attempt)
