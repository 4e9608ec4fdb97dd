"""What users may ask of a job in which state."""

import pytest

from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.job import JobStatus, Wish
from adavae.service.jobs.records.job_errors import JobConflict
from tests.unit.service.jobs.job_home import JobHome, home

__all__ = ["home"]


def test_a_job_that_is_not_running_is_cancelled_at_once(home: JobHome) -> None:
    queued, paused = home.queue_job(), home.queue_job()
    wishes.pause(home.store, paused.id)
    for job in (queued, paused):
        cancelled = wishes.cancel(home.store, job.id)
        assert cancelled.status is JobStatus.CANCELLED
        assert cancelled.finished_at is not None
        assert home.told(job)[-1] == "The job is cancelled"


def test_a_running_job_gets_a_wish_that_only_cancelling_replaces(home: JobHome) -> None:
    job = home.queue_job()
    home.claim(job)
    assert wishes.pause(home.store, job.id).wish is Wish.PAUSE
    assert wishes.cancel(home.store, job.id).wish is Wish.CANCEL
    assert wishes.cancel(home.store, job.id).status is JobStatus.RUNNING
    with pytest.raises(JobConflict, match="being cancelled"):
        wishes.pause(home.store, job.id)
    assert home.told(job).count("Asked to cancel the job") == 1


def test_a_queued_job_is_paused_and_resumed_at_once(home: JobHome) -> None:
    job = home.queue_job()
    assert wishes.pause(home.store, job.id).status is JobStatus.PAUSED
    assert wishes.pause(home.store, job.id).status is JobStatus.PAUSED
    assert home.claims.claim(job.id, "w1") is None
    assert wishes.resume(home.store, job.id).status is JobStatus.QUEUED
    home.claim(job)


def test_the_wish_to_pause_can_be_taken_back(home: JobHome) -> None:
    job = home.queue_job()
    home.claim(job)
    wishes.pause(home.store, job.id)
    resumed = wishes.resume(home.store, job.id)
    assert (resumed.status, resumed.wish) == (JobStatus.RUNNING, None)


def test_what_is_not_paused_cannot_be_resumed(home: JobHome) -> None:
    queued, running = home.queue_job(), home.queue_job()
    home.claim(running)
    for job in (queued, running):
        with pytest.raises(JobConflict, match="only a paused job can be resumed"):
            wishes.resume(home.store, job.id)


def test_a_cancelled_job_can_be_cancelled_again(home: JobHome) -> None:
    """Whoever had lost the reply and asked again was told that it cannot be done, though it was."""
    job = home.queue_job()
    first = wishes.cancel(home.store, job.id)
    assert wishes.cancel(home.store, job.id) == first
    assert home.told(job).count("The job is cancelled") == 1


@pytest.mark.parametrize("ask", [wishes.pause, wishes.resume])
def test_a_cancelled_job_neither_waits_nor_goes_on(home: JobHome, ask: object) -> None:
    job = home.queue_job()
    wishes.cancel(home.store, job.id)
    with pytest.raises(JobConflict, match="has been cancelled and cannot be") as refused:
        ask(home.store, job.id)  # type: ignore[operator]
    assert refused.value.status == 409


@pytest.mark.parametrize("ask", [wishes.cancel, wishes.pause, wishes.resume])
def test_nothing_can_be_asked_of_a_job_that_has_ended_otherwise(home: JobHome, ask: object) -> None:
    job = home.queue_job()
    with home.store.changing(job.id) as record:
        record.save(status=JobStatus.RUNNING)
        record.save(status=JobStatus.SUCCEEDED)
    with pytest.raises(JobConflict, match="has succeeded and cannot be"):
        ask(home.store, job.id)  # type: ignore[operator]
