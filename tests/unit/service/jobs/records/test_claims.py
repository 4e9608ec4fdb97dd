"""Who may work on a job, and what becomes of it when workers die at any moment."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from adavae.model.errors import StorageFull
from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.claims import MAX_CRASHES, MAX_LOST_WORKERS, Claim, Claims
from adavae.service.jobs.records.job import Job, JobError, JobStatus, Wish
from adavae.service.jobs.records.job_errors import ClaimLost
from adavae.service.jobs.records.job_store import JobRecord
from tests.unit.service.jobs.job_home import FIGURES, JobHome, home

__all__ = ["home"]

CRASH = JobError(code="internal_error", message="the training process ended with exit code 3")

CHANGES: dict[str, Callable[[Claims, Claim], object]] = {
    "renew": lambda claims, claim: claims.renew(claim),
    "report": lambda claims, claim: claims.report(claim, "late"),
    "report_progress": lambda claims, claim: claims.report_progress(claim, FIGURES, is_event=True),
    "publishing": lambda claims, claim: claims.publishing(claim, "late").__enter__(),
    "fail": lambda claims, claim: claims.fail(claim, CRASH),
    "stopped": lambda claims, claim: claims.stopped(claim),
    "crashed": lambda claims, claim: claims.crashed(claim, CRASH),
}


def test_a_queued_job_is_claimed_once(home: JobHome) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    assert home.claims.claim(job.id, "w2") is None
    running = home.store.get(job.id)
    assert (running.status, running.attempt, claim.attempt) == (JobStatus.RUNNING, 1, 1)
    assert running.started_at is not None
    assert claim.directory.is_dir()


def test_of_many_workers_one_gets_the_job(home: JobHome) -> None:
    job = home.queue_job()
    with ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(lambda number: home.claims.claim(job.id, f"w{number}"), range(16)))
    assert sum(claim is not None for claim in claims) == 1
    lease = home.claims.lease(home.store.get(job.id))
    with ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(lambda number: home.claims.claim(job.id, f"w{number}", abandoned=lease), range(16)))
    assert [claim.attempt for claim in claims if claim is not None] == [2]


def test_a_renewed_job_is_not_taken_over(home: JobHome) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    old = home.claims.lease(home.store.get(job.id))
    os.utime(claim.directory / "lease.json", ns=(1, 1))
    assert home.claims.claim(job.id, "w2", abandoned=old) is None
    forgotten = home.claims.lease(home.store.get(job.id))
    home.claims.renew(claim)
    assert home.claims.claim(job.id, "w2", abandoned=forgotten) is None
    assert home.store.get(job.id).attempt == 1


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_superseded_attempt_changes_nothing(home: JobHome, change: Callable[[Claims, Claim], object]) -> None:
    job = home.queue_job()
    first = home.claim(job)
    assert home.take_over(job) is not None
    before, told = home.store.get(job.id), home.told(job)
    with pytest.raises(ClaimLost):
        change(home.claims, first)
    assert (home.store.get(job.id), home.told(job)) == (before, told)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_nothing_is_changed_after_a_jobs_end(home: JobHome, change: Callable[[Claims, Claim], object]) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    home.claims.fail(claim, CRASH)
    before, told = home.store.get(job.id), home.told(job)
    with pytest.raises(ClaimLost):
        change(home.claims, claim)
    assert (home.store.get(job.id), home.told(job)) == (before, told)


def test_a_published_job_has_succeeded_with_its_sets_figures(home: JobHome) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    home.claims.report_progress(claim, FIGURES, is_event=True)
    with home.claims.publishing(claim, "abc123", last_progress={**FIGURES, "step": 100}):
        assert home.store.get(job.id).publishing == "abc123"
        home.publish(job)
    done = home.store.get(job.id)
    assert (done.status, done.adapter, done.metrics) == (JobStatus.SUCCEEDED, "mine@abc123", {"kl": 7.5})
    assert (done.trained_tokens, done.estimated_finish) == (1234, None)
    assert done.progress is not None and done.progress["step"] == 100
    assert home.told(job)[-3:] == [
        "Step 100/100: training loss=2.500",
        "New fine-tuned model created: mine@abc123",
        "The job has succeeded",
    ]


@pytest.mark.parametrize("wish", [wishes.cancel, wishes.pause])
def test_a_job_that_is_to_end_otherwise_is_not_published(home: JobHome, wish: Callable[..., Job]) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    wish(home.store, job.id)
    with pytest.raises(ClaimLost, match="not published"), home.claims.publishing(claim, "abc123"):
        pytest.fail("must not be reached")
    assert home.store.get(job.id).publishing is None


class Killed(BaseException):
    """The process is gone: nothing after this line ran."""


def _die_when(monkeypatch: pytest.MonkeyPatch, should_die: Callable[[dict[str, Any]], bool]) -> None:
    """From the first change that ``should_die`` picks on, no record is written."""
    save, is_dead = JobRecord.save, [False]

    def die(record: JobRecord, **changes: Any) -> Job:
        is_dead[0] = is_dead[0] or should_die(changes)
        if is_dead[0]:
            raise Killed
        return save(record, **changes)

    monkeypatch.setattr(JobRecord, "save", die)


def test_killed_between_publishing_and_record_the_job_has_succeeded(
    home: JobHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        _die_when(patched, lambda changes: changes.get("status") is JobStatus.SUCCEEDED)
        with home.claims.publishing(claim, "abc123"):
            home.publish(job)
    assert home.store.get(job.id).status is JobStatus.RUNNING
    assert home.take_over(job) is None
    done = home.store.get(job.id)
    assert (done.status, done.adapter, done.attempt) == (JobStatus.SUCCEEDED, "mine@abc123", 1)


def test_killed_before_the_set_was_in_place_the_job_goes_on(home: JobHome, monkeypatch: pytest.MonkeyPatch) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        _die_when(patched, lambda changes: changes.get("publishing", "") is None)
        with home.claims.publishing(claim, "abc123"):
            raise Killed
    assert home.store.get(job.id).publishing == "abc123"
    taken = home.take_over(job)
    assert taken is not None and taken.attempt == 2
    assert home.store.get(job.id).publishing is None


def test_its_own_worker_ends_a_job_whose_set_is_in_place(home: JobHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was full when success was to be recorded: a second set must not be trained."""
    job = home.queue_job()
    claim = home.claim(job)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        _die_when(patched, lambda changes: changes.get("status") is JobStatus.SUCCEEDED)
        with home.claims.publishing(claim, "abc123"):
            home.publish(job)
    with pytest.raises(ClaimLost, match="succeeded"):
        home.claims.crashed(claim, CRASH)
    assert home.store.get(job.id).adapter == "mine@abc123"


def test_a_set_that_could_not_be_put_in_place_leaves_no_trace(home: JobHome) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    with pytest.raises(StorageFull), home.claims.publishing(claim, "abc123"):
        raise StorageFull("no room")
    assert home.store.get(job.id).publishing is None
    assert home.claims.crashed(claim, CRASH).status is JobStatus.QUEUED


def test_a_process_that_crashes_without_getting_on_fails_the_job(home: JobHome) -> None:
    job = home.queue_job()
    for number in range(1, MAX_CRASHES):
        assert home.claims.crashed(home.claim(job), CRASH).status is JobStatus.QUEUED
        assert home.told(job)[-1] == f"Attempt {number} failed ({number} of 3 without progress): {CRASH.message}"
    failed = home.claims.crashed(home.claim(job), CRASH)
    assert (failed.status, failed.error) == (JobStatus.FAILED, CRASH)


def test_a_process_that_gets_on_may_crash_more_often(home: JobHome) -> None:
    job = home.queue_job()
    for step in range(4 * MAX_CRASHES):
        claim = home.claim(job)
        home.checkpoint(claim, 10 * (step // 2))
        assert home.claims.crashed(claim, CRASH).status is JobStatus.QUEUED


def test_a_job_that_takes_its_workers_with_it_fails(home: JobHome) -> None:
    job = home.queue_job()
    home.claim(job)
    for _ in range(MAX_LOST_WORKERS - 1):
        assert home.take_over(job) is not None
    assert home.take_over(job) is None
    failed = home.store.get(job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None and failed.error.code == "worker_lost"


@pytest.mark.parametrize(
    ("ask", "status"),
    [(wishes.cancel, JobStatus.CANCELLED), (wishes.pause, JobStatus.PAUSED), (None, JobStatus.QUEUED)],
)
@pytest.mark.parametrize("how", ["stopped", "crashed"])
def test_a_wish_is_fulfilled_when_the_process_has_ended(
    home: JobHome, ask: Callable[..., Job] | None, status: JobStatus, how: str
) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    if ask is not None:
        ask(home.store, job.id)
    ended = home.claims.stopped(claim) if how == "stopped" else home.claims.crashed(claim, CRASH)
    assert (ended.status, ended.wish) == (status, None)


def test_cancelling_is_fulfilled_even_where_the_process_failed(home: JobHome) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    wishes.cancel(home.store, job.id)
    home.claims.fail(claim, CRASH)
    assert home.store.get(job.id).status is JobStatus.CANCELLED


def test_what_was_asked_of_an_abandoned_job_is_done_without_a_worker(home: JobHome) -> None:
    cancelled, untouched = home.queue_job(), home.queue_job()
    home.claim(cancelled)
    claim = home.claim(untouched)
    wishes.cancel(home.store, cancelled.id)
    for job in (cancelled, untouched):
        home.claims.settle(job.id, home.claims.lease(home.store.get(job.id)))
    assert home.store.get(cancelled.id).status is JobStatus.CANCELLED
    assert home.store.get(untouched.id).status is JobStatus.RUNNING
    home.claims.renew(claim)


def test_an_abandoned_job_that_is_to_be_cancelled_is_not_trained_again(home: JobHome) -> None:
    job = home.queue_job()
    home.claim(job)
    wishes.cancel(home.store, job.id)
    assert home.take_over(job) is None
    assert home.store.get(job.id).status is JobStatus.CANCELLED


def test_progress_is_in_the_record_and_where_asked_for_in_the_history(home: JobHome) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    home.claims.report_progress(claim, FIGURES, is_event=False)
    assert home.told(job)[-1] == "Attempt 1 begins"
    home.claims.report_progress(claim, {**FIGURES, "validation_loss": 2.25}, is_event=True)
    event = home.store.history(job.id).read()[-1]
    assert (event.type, event.message) == ("metrics", "Step 10/100: training loss=2.500, validation loss=2.250")
    judged = {"criterion": "head cross-entropy, nats a text", "score": 0.5, "best_score": 0.25}
    home.claims.report_progress(claim, {**FIGURES, **judged}, is_event=True)
    event = home.store.history(job.id).read()[-1]
    assert event.message == "Step 10/100: training loss=2.500, head cross-entropy 0.500 (best 0.250)"
    running = home.store.get(job.id)
    assert running.progress == event.data
    assert running.estimated_finish is not None and running.estimated_finish >= running.created_at + 9
    assert running.wish is not Wish.CANCEL
