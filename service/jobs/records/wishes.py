"""What users may do with a job once it is there: cancel, pause, resume.

A job that nobody works on changes at once; a running one gets a wish, which its worker sees within a second.
"""

import time

from adavae.service.jobs.records.job import Job, JobStatus, Wish
from adavae.service.jobs.records.job_errors import JobConflict
from adavae.service.jobs.records.job_store import JobRecord, JobStore

_PATIENCE_S = 2.0  # a user waits, and others behind them


def cancel(store: JobStore, job_id: str) -> Job:
    """Ends a job, or asks its worker to; one that is cancelled stays so.

    Raises:
        JobNotFound: No such job.
        JobConflict: It has ended otherwise.
    """

    def cancelled(record: JobRecord) -> Job:
        job = record.job
        if job.status is JobStatus.CANCELLED:
            return job
        _refuse_finished(job, "cancelled")
        if job.status is not JobStatus.RUNNING:
            return record.save(status=JobStatus.CANCELLED, finished_at=int(time.time()))
        if job.wish is not Wish.CANCEL:
            record.save(wish=Wish.CANCEL)
            record.note("Asked to cancel the job")
        return record.job

    return store.change(job_id, cancelled, timeout_s=_PATIENCE_S)


def pause(store: JobStore, job_id: str) -> Job:
    """Lays a job aside, or asks its worker to.

    Raises:
        JobNotFound: No such job.
        JobConflict: It has ended, or is being cancelled.
    """

    def paused(record: JobRecord) -> Job:
        job = record.job
        _refuse_finished(job, "paused")
        if job.wish is Wish.CANCEL:
            raise JobConflict(f"{job.id} is being cancelled and cannot be paused: create another job")
        if job.status is JobStatus.QUEUED:
            record.save(status=JobStatus.PAUSED)
            record.note("The job is paused")
        elif job.status is JobStatus.RUNNING and job.wish is None:
            record.save(wish=Wish.PAUSE)
            record.note("Asked to pause the job")
        return record.job

    return store.change(job_id, paused, timeout_s=_PATIENCE_S)


def resume(store: JobStore, job_id: str) -> Job:
    """Queues a paused job again, or takes the wish to pause back; raises JobConflict for any other."""

    def resumed(record: JobRecord) -> Job:
        job = record.job
        _refuse_finished(job, "resumed")
        if job.status is JobStatus.PAUSED:
            record.save(status=JobStatus.QUEUED)
            record.note("The job is resumed: it is queued")
            return record.job
        if job.wish is Wish.PAUSE:
            record.save(wish=None)
            record.note("The job is resumed")
            return record.job
        raise JobConflict(f"{job.id} is {job.status}, only a paused job can be resumed")

    return store.change(job_id, resumed, timeout_s=_PATIENCE_S)


def _refuse_finished(job: Job, what: str) -> None:
    if job.status.is_finished:
        raise JobConflict(f"{job.id} has {_ENDS[job.status]} and cannot be {what}: create another job")


_ENDS = {JobStatus.SUCCEEDED: "succeeded", JobStatus.FAILED: "failed", JobStatus.CANCELLED: "been cancelled"}
