"""Who works on a job: claims, leases, and changes that only the newest claim may make.

    queued --claim--> running --succeeded | failed | cancelled | paused | handed back (queued)
    running, without a sign of life for ``lease_s`` --claim--> running, with the next attempt number

The attempt number is the fencing token: it is checked at every change of the record, publication included, under the
job's lock or on the condition that the record has stayed as it was, so that a worker which was frozen and goes on later
changes nothing. What workers do all the time (signs of
life, figures) goes into their attempt's own files, without the lock: frozen, they should not be holding it.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog

from adavae.model.errors import AdaVAEError
from adavae.model.training.progress import judged_by
from adavae.service.jobs.records.decoding import MAX_RECORD_BYTES, decoded_object
from adavae.service.jobs.records.job import Job, JobError, JobStatus, Wish
from adavae.service.jobs.records.job_errors import ClaimLost, JobDamaged, JobNotFound
from adavae.service.jobs.records.job_store import JobRecord, JobStore
from adavae.service.jobs.records.progress import Progress
from adavae.service.jobs.records.volume_file import NotReadable, read_regular

MAX_CRASHES = 3  # of the training process, without a newer checkpoint in between
MAX_LOST_WORKERS = 10  # which died, froze or were killed, likewise

Result = TypeVar("Result")
_log = structlog.get_logger("adavae.jobs")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a job until somebody takes it over.

    Attributes:
        attempt: The fencing token.
        directory: What this attempt writes into.
    """

    job_id: str
    attempt: int
    worker: str
    directory: Path


@dataclass(frozen=True, slots=True)
class Lease:
    """A running job's last sign of life; whoever sees the same one for ``lease_s`` may take the job over."""

    attempt: int
    renewed_ns: int


class Claims:
    """Every change that workers make to jobs."""

    def __init__(self, store: JobStore, adapters: Path) -> None:
        """``adapters`` is where sets are published."""
        self.store, self._adapters = store, adapters

    def claim(self, job_id: str, worker: str, *, abandoned: Lease | None = None) -> Claim | None:
        """Takes a job up.

        Args:
            job_id: Of a queued job, or of a running one whose worker seems to be gone.
            worker: Who takes it.
            abandoned: The lease that has not been renewed; for a running job.

        Returns:
            None where somebody else was faster, where the lease was renewed after all, or where the job needed an end
            and no more work: its set was in place already, it was to be cancelled, or it has failed too often.
        """

        def claimed(record: JobRecord) -> Claim | None:
            if abandoned is not None and not self._settle(record, abandoned):
                return None
            if record.job.status is not (JobStatus.QUEUED if abandoned is None else JobStatus.RUNNING):
                return None
            return _begin(record, worker)

        return self.store.change(job_id, claimed)

    def settle(self, job_id: str, abandoned: Lease) -> None:
        """Ends an abandoned job that needs no more work; any other stays as it is."""

        def settled(record: JobRecord) -> None:
            if _is_due(record.job):
                self._settle(record, abandoned, counts=False)

        self.store.change(job_id, settled)

    def lease(self, job: Job) -> Lease:
        """The last sign of life of a running job."""
        return Lease(job.attempt, self.store.records.stamp(job.id, job.attempt))

    def renew(self, claim: Claim) -> Job:
        """Gives a sign of life, and looks at the job; raises ClaimLost. Needs neither lock nor room on the disk."""
        self.store.records.renew(claim.job_id, claim.attempt)
        return self._checked(claim, self.store.get(claim.job_id))

    def report(self, claim: Claim, message: str, data: Mapping[str, Any] | None = None) -> None:
        """Tells something of the attempt, with figures where it is about some; raises ClaimLost."""
        record = JobRecord(self._checked(claim, self.store.get(claim.job_id)), self.store.records)
        record.tell(message, data=data)

    def report_progress(self, claim: Claim, figures: Mapping[str, Any], *, is_event: bool) -> None:
        """Leaves the newest figures beside the record, and in the history where they are an event; raises ClaimLost.

        Without the lock: what is written is the attempt's own, and readers pass over what comes too late.
        """
        record = JobRecord(self._checked(claim, self.store.get(claim.job_id)), self.store.records)
        eta_s = figures.get("eta_s", 0)
        finish = None if eta_s is None else int(time.time() + eta_s)
        content = json.dumps(asdict(Progress(figures, finish))).encode()
        self.store.records.write_progress(claim.job_id, claim.attempt, content)
        if is_event:
            _tell_progress(record, figures)

    @contextmanager
    def publishing(
        self, claim: Claim, version: str, *, last_progress: Mapping[str, Any] | None = None
    ) -> Iterator[None]:
        """Holds the job while its adapter set is put in place, and ends it as succeeded.

        A crash inside is decided by whoever takes the job up next: by whether the set is in place.

        Raises:
            ClaimLost: Somebody else has the job, or its user has asked to cancel or pause it.
        """
        with self.store.changing(claim.job_id) as record:
            self._hold(record, claim)
            self._intend(record, version, last_progress)
            try:
                yield
            except BaseException:
                if not self._is_in_place(record.job):
                    with suppress(AdaVAEError, OSError):
                        record.save(publishing=None)
                raise
            self._succeed(record)

    def fail(self, claim: Claim, error: JobError) -> None:
        """Ends the job; raises ClaimLost."""

        def failed(record: JobRecord) -> None:
            if not _fulfil_wish(record):
                _fail(record, error)

        self._change(claim, failed)

    def stopped(self, claim: Claim) -> Job:
        """The training process has ended as it was asked to: cancelled, paused, or handed back to the queue.

        Raises:
            ClaimLost: Somebody else has the job.
        """

        def handed_back(record: JobRecord) -> Job:
            if not _fulfil_wish(record):
                record.save(status=JobStatus.QUEUED)
                record.note("The worker has stopped: the job is queued again and goes on from its checkpoint")
            return record.job

        return self._change(claim, handed_back)

    def crashed(self, claim: Claim, error: JobError) -> Job:
        """The training process has ended as it should not: queued again, or failed after ``MAX_CRASHES``.

        Raises:
            ClaimLost: Somebody else has the job.
        """

        def set_back(record: JobRecord) -> Job:
            if _fulfil_wish(record):
                return record.job
            num_crashes = self.store.records.count_setback(claim.job_id, "crashes", claim.attempt)
            if num_crashes >= MAX_CRASHES:
                _fail(record, error)
            else:
                setback = f"Attempt {claim.attempt} failed ({num_crashes} of {MAX_CRASHES} without progress)"
                record.save(status=JobStatus.QUEUED)
                record.note(f"{setback}: {error.message}", level="warn", data={"code": error.code})
            return record.job

        return self._change(claim, set_back)

    def leave(self, claim: Claim) -> None:
        """The attempt has ended here, however."""
        self.store.records.leave(claim.job_id, claim.attempt)

    def tidy(self) -> None:
        """Removes from this machine what workers that were killed have left of attempts that nobody goes on with.

        Raises:
            StoreError: The store cannot be asked.
        """
        for job_id, attempt in self.store.records.left_here():
            if self._is_past(job_id, attempt):
                self.store.records.leave(job_id, attempt)
                _log.info("attempt_cleared_up", job=job_id, attempt=attempt)

    def _is_past(self, job_id: str, attempt: int) -> bool:
        """Whether the job has gone, has ended, or is in a later attempt or in none."""
        try:
            job = self.store.get(job_id)
        except JobNotFound:
            return True
        except JobDamaged:
            return False
        is_in_attempt = job.status is JobStatus.RUNNING and job.attempt == attempt
        return job.status.is_finished or (attempt <= job.attempt and not is_in_attempt)

    def _change(self, claim: Claim, change: Callable[[JobRecord], Result]) -> Result:
        """What ``change`` makes of the record, if the claim is still the newest; raises ClaimLost."""

        def held(record: JobRecord) -> Result:
            self._hold(record, claim)
            return change(record)

        return self.store.change(claim.job_id, held)

    def _hold(self, record: JobRecord, claim: Claim) -> None:
        """Sees that the claim is still the newest and its set not in place yet; raises ClaimLost."""
        job = record.job
        if job.status is JobStatus.RUNNING and self._is_in_place(job):
            job = self._succeed(record)
        self._checked(claim, job)

    def _intend(self, record: JobRecord, version: str, last_progress: Mapping[str, Any] | None) -> None:
        """Notes which version is about to be put in place; raises ClaimLost where the user wants something else."""
        if record.job.wish is not None:
            raise ClaimLost(f"{record.job.id} is not published: its user has asked to {record.job.wish} it")
        if last_progress is not None and _is_newer(last_progress, record.job.progress):
            record.save(progress=last_progress)
            _tell_progress(record, last_progress)
        record.save(publishing=version)

    def _checked(self, claim: Claim, job: Job) -> Job:
        """The job, if it is the claim's; raises ClaimLost."""
        if job.attempt != claim.attempt or job.status is not JobStatus.RUNNING:
            raise ClaimLost(
                f"attempt {claim.attempt} of {job.id} counts no more: the job is {job.status} in attempt {job.attempt}"
            )
        return job

    def _settle(self, record: JobRecord, abandoned: Lease, *, counts: bool = True) -> bool:
        """Gives an abandoned job the end that its worker could not; returns whether it still needs work."""
        job = record.job
        if job.status is not JobStatus.RUNNING or self.lease(job) != abandoned:
            return False
        if self._is_in_place(job):
            self._succeed(record)
            return False
        if _fulfil_wish(record):
            return False
        if counts and record.records.count_setback(job.id, "lost_workers", job.attempt) >= MAX_LOST_WORKERS:
            message = (
                f"{MAX_LOST_WORKERS} workers in a row died while training this job, none got on: as happens when the "
                "machine has too little memory for it; choose a smaller batch_size"
            )
            _fail(record, JobError(code="worker_lost", message=message))
            return False
        return True

    def _is_in_place(self, job: Job) -> bool:
        """Whether the set that was being published when somebody last had the job's lock is there."""
        return job.publishing is not None and self._manifest(job) is not None

    def _succeed(self, record: JobRecord) -> Job:
        job = record.job
        manifest = self._manifest(job) or {}
        metrics, training = manifest.get("metrics"), manifest.get("training")
        tokens = training.get("trained_tokens") if isinstance(training, dict) else None
        adapter = f"{job.adapter_name}@{job.publishing}"
        return record.save(
            status=JobStatus.SUCCEEDED,
            finished_at=int(time.time()),
            estimated_finish=None,
            wish=None,
            adapter=adapter,
            metrics=metrics if isinstance(metrics, dict) else None,
            trained_tokens=tokens if isinstance(tokens, int) else None,
        )

    def _manifest(self, job: Job) -> dict[str, Any] | None:
        """Of the set that is being published; None where it is not there, or is no manifest."""
        path = self._adapters / job.adapter_name / str(job.publishing) / "manifest.json"
        try:
            return decoded_object(read_regular(path, MAX_RECORD_BYTES))
        except (FileNotFoundError, NotADirectoryError, NotReadable):
            return None


def _begin(record: JobRecord, worker: str) -> Claim:
    """The next attempt: its lease is there before the record names it, and its history begins after that."""
    job, number = record.job, record.job.attempt + 1
    directory = record.records.begin(job.id, number, json.dumps({"attempt": number, "worker": worker}).encode())
    record.save(
        status=JobStatus.RUNNING, attempt=number, publishing=None, started_at=job.started_at or int(time.time())
    )
    record.note(f"Attempt {number} begins", data={"attempt": number})
    return Claim(job.id, number, worker, directory)


def _is_due(job: Job) -> bool:
    """Whether an abandoned job may need an end rather than work."""
    return job.wish is not None or job.publishing is not None


def _fulfil_wish(record: JobRecord) -> bool:
    """Does what the user has asked for, now that nobody works on the job; False where that is nothing."""
    if record.job.wish is Wish.CANCEL:
        record.save(status=JobStatus.CANCELLED, wish=None, finished_at=int(time.time()), estimated_finish=None)
    elif record.job.wish is Wish.PAUSE:
        record.save(status=JobStatus.PAUSED, wish=None, estimated_finish=None)
        record.note("The job is paused; its checkpoint is kept")
    else:
        return False
    return True


def _fail(record: JobRecord, error: JobError) -> None:
    record.save(status=JobStatus.FAILED, error=error, finished_at=int(time.time()), estimated_finish=None)


def _tell_progress(record: JobRecord, figures: Mapping[str, Any]) -> None:
    message = f"Step {figures['step']}/{figures['total_steps']}: {_losses(figures)}"
    record.tell(message, kind="metrics", data=figures)


def _losses(figures: Mapping[str, Any]) -> str:
    names = {"loss": "training loss", "validation_loss": "validation loss"}
    shown = [f"{title}={figures[key]:.3f}" for key, title in names.items() if figures.get(key) is not None]
    return ", ".join([*shown, *filter(None, [judged_by(figures)])])


def _is_newer(figures: Mapping[str, Any], known: Mapping[str, Any] | None) -> bool:
    return known is None or bool(known["step"] < figures["step"])
