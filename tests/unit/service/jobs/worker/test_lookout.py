"""Jobs that wait for a worker are found whatever became of their messages, and only those."""

import os

import pytest

from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.claims import Claim
from adavae.service.jobs.records.job import Job, JobError, JobStatus
from adavae.service.jobs.records.job_store import JobStore
from adavae.service.jobs.worker.lookout import Lookout, Waiting
from tests.unit.service.jobs.job_home import JobHome, home

__all__ = ["home"]

LEASE_S = 10.0


class Watch:
    """A lookout whose clock goes as the test says."""

    def __init__(self, home: JobHome) -> None:
        self.now, self._renewals = 100.0, 0
        self.lookout = Lookout(home.claims, LEASE_S, clock=lambda: self.now)

    def after(self, seconds: float) -> list[Waiting]:
        self.now += seconds
        return list(self.lookout.view().waiting)

    def renew(self, claim: Claim) -> None:
        self._renewals += 1
        os.utime(claim.directory / "lease.json", ns=(self._renewals, self._renewals))


def test_queued_jobs_wait_the_oldest_first(home: JobHome) -> None:
    first, second, paused = (home.queue_job() for _ in range(3))
    wishes.pause(home.store, paused.id)
    watch = Watch(home)
    assert watch.after(0) == [Waiting(first.id, None), Waiting(second.id, None)]
    assert watch.lookout.view().counts == {JobStatus.QUEUED: 2, JobStatus.PAUSED: 1}


def test_a_running_job_waits_when_its_lease_was_the_same_for_too_long(home: JobHome) -> None:
    job = home.queue_job()
    home.claim(job)
    watch = Watch(home)
    assert watch.after(0) == watch.after(LEASE_S - 1) == []
    (waiting,) = watch.after(1)
    assert waiting.abandoned is not None
    taken = home.claims.claim(job.id, "w2", abandoned=waiting.abandoned)
    assert taken is not None
    assert watch.after(0) == watch.after(LEASE_S - 1) == []


def test_a_job_whose_lease_is_renewed_never_waits(home: JobHome) -> None:
    claim = home.claim(home.queue_job())
    watch = Watch(home)
    for _ in range(20):
        watch.renew(claim)
        assert watch.after(LEASE_S / 4) == []


def test_clocks_that_differ_or_jump_expire_no_lease(home: JobHome) -> None:
    claim = home.claim(home.queue_job())
    os.utime(claim.directory / "lease.json", ns=(1, 1))
    watch = Watch(home)
    assert watch.after(0) == []
    os.utime(claim.directory / "lease.json", (4e9, 4e9))
    assert watch.after(LEASE_S - 1) == []


def test_this_machine_is_tidied_at_the_beginning_and_now_and_then(
    home: JobHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, tidied = Watch(home), list[float]()
    monkeypatch.setattr(home.claims, "tidy", lambda: tidied.append(watch.now))
    for _ in range(21):
        watch.after(60)
    assert tidied == [160, 760, 1360]


def test_abandoned_jobs_come_before_queued_ones(home: JobHome) -> None:
    queued, abandoned = home.queue_job(), home.queue_job()
    home.claim(abandoned)
    watch = Watch(home)
    watch.after(0)
    assert [waiting.job_id for waiting in watch.after(LEASE_S)] == [abandoned.id, queued.id]


def test_the_volume_is_settled_when_every_running_job_is_known_to_be_alive(home: JobHome) -> None:
    watch = Watch(home)
    assert watch.lookout.view().is_settled
    job = home.queue_job()
    assert not watch.lookout.view().is_settled
    claim = home.claim(job)
    assert not watch.lookout.view().is_settled
    watch.renew(claim)
    assert watch.lookout.view().is_settled


def test_finished_jobs_lose_their_checkpoints(home: JobHome) -> None:
    job: Job = home.queue_job()
    claim = home.claim(job)
    path = home.checkpoint(claim, 10)
    watch = Watch(home)
    watch.after(0)
    assert path.exists()
    home.claims.fail(claim, JobError(code="c", message="m"))
    watch.after(0)
    assert not path.exists()


def test_while_nothing_can_be_seen_nobody_is_silent(home: JobHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place was away for longer than a lease: its workers could give no sign of life."""
    home.claim(home.queue_job())
    watch = Watch(home)
    assert watch.after(0) == []

    def away(_store: JobStore) -> list[Job]:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="Input/output error"):
        patched.setattr(JobStore, "unfinished", away)
        watch.after(LEASE_S)
    assert watch.after(1) == watch.after(LEASE_S - 1) == []
    assert len(watch.after(1)) == 1
