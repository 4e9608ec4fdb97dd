"""Which jobs on the volume wait for a worker: queued ones, and running ones whose lease nobody renews.

This makes the queue a mere messenger: a job that was never dispatched, or whose message was lost, is found here.
Leases are judged by whether they change while we watch, on our own clock: no two machines' clocks are compared.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from adavae.service.jobs.records.claims import Claims, Lease
from adavae.service.jobs.records.job import Job, JobStatus
from adavae.service.objects.errors import StoreError

_TIDY_EVERY_S = 600.0
_log = structlog.get_logger("adavae.jobs")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that a worker may claim; ``abandoned`` is the lease of one that nobody works on any more."""

    job_id: str
    abandoned: Lease | None


@dataclass(frozen=True, slots=True)
class VolumeView:
    """The volume at one moment.

    Attributes:
        waiting: What may be claimed, in the order in which it should be.
        counts: Jobs that are not finished.
        is_settled: Nothing waits, and every running job is known to be alive.
    """

    waiting: tuple[Waiting, ...]
    counts: Mapping[JobStatus, int]
    is_settled: bool


@dataclass(slots=True)
class _Watched:
    lease: Lease
    seen_at: float
    is_alive: bool = False


class Lookout:
    """Looks at the volume again and again; ``view`` waits for the disk."""

    def __init__(self, claims: Claims, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._claims, self._lease_s, self._clock = claims, lease_s, clock
        self._watched: dict[str, _Watched] = {}
        self._cleared: set[str] = set()
        self._tidied_at = -math.inf

    def view(self) -> VolumeView:
        try:
            return self._view()
        except OSError:
            self._watched = {}  # while nothing can be seen, nobody is silent
            raise

    def _view(self) -> VolumeView:
        jobs = self._claims.store.unfinished()
        running = [job for job in jobs if job.status is JobStatus.RUNNING]
        abandoned = [Waiting(job.id, lease) for job in running if (lease := self._expired(job)) is not None]
        queued = [Waiting(job.id, None) for job in jobs if job.status is JobStatus.QUEUED]
        self._forget_all_but({job.id for job in running})
        self._clear_up()
        self._tidy()
        waiting = (*abandoned, *queued)
        is_settled = not waiting and all(watched.is_alive for watched in self._watched.values())
        return VolumeView(waiting, Counter(job.status for job in jobs), is_settled)

    def _expired(self, job: Job) -> Lease | None:
        """The lease, where it has been the same for ``lease_s``."""
        lease, now = self._claims.lease(job), self._clock()
        known = self._watched.get(job.id)
        if known is None or known.lease != lease:
            self._watched[job.id] = _Watched(lease, now, is_alive=known is not None)
            return None
        if now - known.seen_at < self._lease_s:
            return None
        known.is_alive = False
        return lease

    def _forget_all_but(self, running: set[str]) -> None:
        self._watched = {job_id: watched for job_id, watched in self._watched.items() if job_id in running}

    def _tidy(self) -> None:
        """At the beginning, and now and then."""
        if self._clock() - self._tidied_at >= _TIDY_EVERY_S:
            self._tidied_at = self._clock()
            self._claims.tidy()

    def _clear_up(self) -> None:
        """Removes the checkpoints of jobs that have finished since the last look."""
        for job_id in self._claims.store.known_finished - self._cleared:
            self._cleared.add(job_id)
            try:
                self._claims.store.records.settle(job_id)
            except StoreError:
                self._cleared.discard(job_id)
                raise
            except OSError as exc:  # which keeps no other job waiting
                _log.warning("checkpoints_not_removed", job=job_id, reason=str(exc))
