"""A job's set in an object store: published once, whole, by whoever has the job; frozen workers bring nothing back."""

from pathlib import Path

import pytest

from adavae.model.errors import StorageFull
from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.job import JobError, JobStatus
from adavae.service.jobs.records.job_errors import ClaimLost
from adavae.service.jobs.records.shared_claims import NameTaken
from adavae.service.objects.errors import StoreError
from adavae.service.objects.published_sets import PublishedSets
from tests.unit.service.jobs.shared_home import SharedHome
from tests.unit.service.objects.memory_objects import needs_obstore

pytestmark = needs_obstore


class Killed(BaseException):
    """What no code catches."""


@pytest.fixture
def home(tmp_path: Path) -> SharedHome:
    return SharedHome(tmp_path)


def _killed(*_arguments: object, **_options: object) -> None:
    raise Killed


def test_a_set_is_published_and_the_job_ends_with_its_figures(home: SharedHome) -> None:
    job, machine = home.queue_job(), home.machine()
    claim, version = machine.claim(job), machine.make_set()
    with machine.claims.publishing(claim, version, last_progress={"step": 100, "total_steps": 100}):
        assert home.published() == []
    ended = home.machine().store.get(job.id)
    assert (ended.status, ended.adapter) == (JobStatus.SUCCEEDED, f"mine@{version}")
    assert ended.metrics is not None and ended.metrics["neg_elbo"] == 41.25
    assert home.published() == [f"mine@{version}"]
    told = [event.message for event in home.machine().store.history(job.id).read()]
    assert told[-2:] == [f"New fine-tuned model created: mine@{version}", "The job has succeeded"]


@pytest.mark.parametrize("step", ["send_files", "publish"])
def test_a_worker_that_is_killed_while_publishing_leaves_it_to_the_next(
    home: SharedHome, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before the record says which version, nothing is published; after that, whoever takes the job up does it."""
    job, machine = home.queue_job(), home.machine()
    claim, version = machine.claim(job), machine.make_set()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(PublishedSets, step, _killed)
        with machine.claims.publishing(claim, version):
            pass
    assert home.published() == []
    other = home.machine()
    taken = other.take_over(job)
    if step == "send_files":
        assert taken is not None and taken.attempt == 2
        return
    assert taken is None
    assert other.store.get(job.id).adapter == f"mine@{version}"
    assert home.published() == [f"mine@{version}"]


def test_who_thaws_after_others_have_published_is_done(home: SharedHome, monkeypatch: pytest.MonkeyPatch) -> None:
    job, frozen, other = home.queue_job(), home.machine(), home.machine()
    claim, version = frozen.claim(job), frozen.make_set()
    original = PublishedSets.publish

    def overtaken(self: PublishedSets, *arguments: object, **options: object) -> None:
        monkeypatch.setattr(PublishedSets, "publish", original)
        assert other.take_over(job) is None
        original(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(PublishedSets, "publish", overtaken)
    with frozen.claims.publishing(claim, version):
        pass
    assert home.published() == [f"mine@{version}"]
    assert home.machine().store.get(job.id).status is JobStatus.SUCCEEDED
    messages = [event.message for event in home.machine().store.history(job.id).read()]
    assert messages.count("The job has succeeded") == 1


def test_who_thaws_after_the_set_was_deleted_does_not_bring_it_back(
    home: SharedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, frozen, other = home.queue_job(), home.machine(), home.machine()
    claim, version = frozen.claim(job), frozen.make_set()
    original = PublishedSets.publish

    def overtaken(self: PublishedSets, *arguments: object, **options: object) -> None:
        monkeypatch.setattr(PublishedSets, "publish", original)
        assert other.take_over(job) is None
        other.sets.remove(("mine", version), [])
        original(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(PublishedSets, "publish", overtaken)
    with pytest.raises(ClaimLost), frozen.claims.publishing(claim, version):
        pass
    assert home.published() == []


def test_who_lost_the_job_publishes_nothing(home: SharedHome) -> None:
    job, frozen, other = home.queue_job(), home.machine(), home.machine()
    claim, version = frozen.claim(job), frozen.make_set()
    with pytest.raises(ClaimLost), frozen.claims.publishing(claim, version):
        assert other.take_over(job) is not None
    assert home.published() == []
    assert home.machine().store.get(job.id).attempt == 2


@pytest.mark.parametrize("wish", [wishes.cancel, wishes.pause])
def test_a_wish_before_the_record_says_so_keeps_the_set_out(home: SharedHome, wish: object) -> None:
    job, machine = home.queue_job(), home.machine()
    claim, version = machine.claim(job), machine.make_set()
    with pytest.raises(ClaimLost, match="asked to"), machine.claims.publishing(claim, version):
        wish(home.machine().store, job.id)  # type: ignore[operator]
    assert home.published() == []
    assert machine.claims.stopped(claim).status in (JobStatus.CANCELLED, JobStatus.PAUSED)


def test_a_wish_that_comes_later_is_too_late(home: SharedHome, monkeypatch: pytest.MonkeyPatch) -> None:
    job, machine = home.queue_job(), home.machine()
    claim, version = machine.claim(job), machine.make_set()
    original = PublishedSets.publish

    def wished(self: PublishedSets, *arguments: object, **options: object) -> None:
        monkeypatch.setattr(PublishedSets, "publish", original)
        wishes.cancel(home.machine().store, job.id)
        original(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(PublishedSets, "publish", wished)
    with machine.claims.publishing(claim, version):
        pass
    assert home.machine().store.get(job.id).status is JobStatus.SUCCEEDED
    assert home.published() == [f"mine@{version}"]


def test_of_two_keys_that_publish_under_one_new_name_one_does(home: SharedHome) -> None:
    jobs = [home.queue_job(owner=owner, may_shadow=False) for owner in ("alice", "bob")]
    first, second = home.machine(), home.machine()
    claims = [first.claim(jobs[0]), second.claim(jobs[1])]
    versions = [first.make_set(), second.make_set(created_at="2026-02-02T00:00:00+00:00")]
    with (
        pytest.raises(NameTaken, match="not this key's"),
        second.claims.publishing(claims[1], versions[1]),
        first.claims.publishing(claims[0], versions[0]),
    ):
        pass
    assert home.published() == [f"mine@{versions[0]}"]
    second.claims.fail(claims[1], JobError(code="name_taken", message="taken"))
    assert home.machine().store.get(jobs[1].id).status is JobStatus.FAILED
    assert home.published() == [f"mine@{versions[0]}"]


@pytest.mark.parametrize("error", [StoreError("unreachable", "s3://b", "gone"), StorageFull("full")])
def test_a_store_that_takes_no_files_leaves_the_job_as_it_was(
    home: SharedHome, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    job, machine = home.queue_job(), home.machine()
    claim, version = machine.claim(job), machine.make_set()

    def refused(*_arguments: object) -> None:
        raise error

    with monkeypatch.context() as patched, pytest.raises(type(error)):
        patched.setattr(PublishedSets, "send_files", refused)
        with machine.claims.publishing(claim, version):
            pass
    assert machine.claims.crashed(claim, JobError(code="c", message="m")).status is JobStatus.QUEUED
    assert home.published() == []
