"""Records of jobs: written whole, changed one at a time, never after their end."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from adavae.model.errors import StorageFull
from adavae.service.errors import InvalidRequest, Overloaded
from adavae.service.jobs.records import volume_jobs
from adavae.service.jobs.records.decoding import MAX_RECORD_BYTES, decoded_job
from adavae.service.jobs.records.job import JobError, JobStatus, Wish
from adavae.service.jobs.records.job_errors import JobBusy, JobConflict, JobDamaged, JobNotFound
from adavae.service.jobs.records.job_store import JobStore, new_job_id
from adavae.service.jobs.records.volume_lock import locked
from tests.unit.service.jobs.job_home import JobHome, home, new_job

__all__ = ["home"]


def test_a_job_is_found_as_it_was_made(home: JobHome) -> None:
    job = home.queue_job(metadata={"team": "reviews"}, error=JobError(code="c", message="m"), wish=Wish.PAUSE)
    assert JobStore(home.store.root).get(job.id) == job
    assert home.told(job) == [f"Created fine-tuning job: {job.id}", "The job is queued"]


def test_jobs_are_listed_newest_first(home: JobHome) -> None:
    assert home.store.ids() == []
    jobs = [home.queue_job() for _ in range(5)]
    assert home.store.ids() == [job.id for job in reversed(jobs)]
    assert [job.id for job in home.store.unfinished()] == [job.id for job in jobs]


@pytest.mark.parametrize("job_id", ["ftjob-0", "../jobs", "", "ftjob-" + "0" * 24, "ftjob-" + "G" * 24, "ftjob-\0"])
def test_what_is_no_job_is_not_found(home: JobHome, job_id: str) -> None:
    home.queue_job()
    with pytest.raises(JobNotFound):
        home.store.get(job_id)
    with pytest.raises(JobNotFound), home.store.changing(job_id):
        pass


def test_the_same_key_gives_the_same_job(home: JobHome) -> None:
    first = home.queue_job(idempotency_key="k", request_digest="a")
    assert home.queue_job(idempotency_key="k", request_digest="a") == first
    assert home.queue_job(idempotency_key="other", request_digest="a") != first
    assert JobStore(home.store.root).made_with("k", "a") == first
    assert home.store.made_with("unknown", "a") is None


def test_the_same_key_with_another_request_is_refused(home: JobHome) -> None:
    home.queue_job(idempotency_key="k", request_digest="a")
    with pytest.raises(JobConflict, match="used for another request") as refused:
        home.queue_job(idempotency_key="k", request_digest="b")
    assert refused.value.status == 409
    assert len(home.store.ids()) == 1


def test_one_key_makes_one_job_however_many_ask_at_once(home: JobHome) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: home.queue_job(idempotency_key="k"), range(24)))
    assert len({job.id for job in made}) == len(home.store.ids()) == 1


def test_a_key_whose_job_never_came_to_be_is_free(home: JobHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two writes."""
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(volume_jobs, "publish_directory", _interrupt)
        home.queue_job(idempotency_key="k")
    assert home.store.ids() == []
    job = home.queue_job(idempotency_key="k")
    assert home.store.made_with("k", "d") == job


def test_what_a_killed_process_left_half_made_is_removed(home: JobHome) -> None:
    """Regression: it stayed on the volume for good."""
    home.queue_job()
    left = home.store.root / ".staging-0123456789abcdef"
    (left / "attempts").mkdir(parents=True)
    job = home.queue_job()
    assert not left.exists()
    assert home.store.get(job.id) == job


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_too_many_open_jobs_are_refused_and_finished_ones_do_not_count(home: JobHome) -> None:
    first = home.queue_job(max_open=2)
    home.queue_job(max_open=2)
    with pytest.raises(Overloaded, match="2 training jobs are not finished, the limit is 2"):
        home.queue_job(max_open=2)
    with home.store.changing(first.id) as record:
        record.save(status=JobStatus.CANCELLED)
    home.queue_job(max_open=2)


def test_a_damaged_record_counts_as_an_open_job(home: JobHome) -> None:
    """Regression: jobs whose records could not be read counted towards no limit, and could fill the volume."""
    damaged = home.queue_job(max_open=2, owner="alice")
    (home.store.directory(damaged.id) / "job.json").write_bytes(b"{")
    home.queue_job(max_open=2)
    with pytest.raises(Overloaded, match=rf"2 training jobs are not finished \(1 of them damaged, as {damaged.id}\)"):
        home.queue_job(max_open=2)
    shutil.rmtree(home.store.directory(damaged.id))
    home.queue_job(max_open=2)


def test_a_damaged_record_counts_for_its_owner_where_that_is_known(home: JobHome) -> None:
    damaged = home.queue_job(owner="alice")
    assert home.store.owner_of(damaged.id) == "alice"
    (home.store.directory(damaged.id) / "job.json").write_bytes(b"{")
    draft = new_job(owner="alice")
    with pytest.raises(Overloaded, match="1 training jobs of this key are"):
        home.store.create(draft, request_digest="d", max_open=9, max_open_of_owner=1)


def test_a_job_too_large_to_be_read_again_is_refused(home: JobHome) -> None:
    """Regression: it was accepted, and every read of it was a 503 afterwards."""
    with pytest.raises(InvalidRequest, match="of them are its report: make that shorter"):
        home.queue_job(report={"warnings": ["x" * MAX_RECORD_BYTES]}, idempotency_key="k")
    assert home.store.ids() == []
    assert home.store.made_with("k", "d") is None


def test_a_running_job_stays_readable_whatever_comes_to_it(home: JobHome) -> None:
    job = home.queue_job()
    with home.store.changing(job.id) as record:
        record.save(status=JobStatus.RUNNING)
        left = record.save(status=JobStatus.SUCCEEDED, metrics={"names": "x" * MAX_RECORD_BYTES}, adapter="mine@v1")
    assert left == home.store.get(job.id)
    assert (left.status, left.adapter, left.metrics) == (JobStatus.SUCCEEDED, "mine@v1", None)


@pytest.mark.parametrize("ended", [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_finished_job_never_changes(home: JobHome, ended: JobStatus) -> None:
    job = home.queue_job()
    with home.store.changing(job.id) as record:
        record.save(status=JobStatus.RUNNING)
        record.save(status=ended)
    for changes in ({"status": JobStatus.QUEUED}, {"wish": Wish.CANCEL}, {"status": JobStatus.RUNNING}):
        with home.store.changing(job.id) as record, pytest.raises(AssertionError):
            record.save(**changes)
    assert home.store.get(job.id).status is ended
    assert home.store.unfinished() == []


def test_a_queued_job_cannot_succeed(home: JobHome) -> None:
    with home.store.changing(home.queue_job().id) as record, pytest.raises(AssertionError):
        record.save(status=JobStatus.SUCCEEDED)


def test_no_change_is_lost_among_many_at_once(home: JobHome) -> None:
    job = home.queue_job(trained_tokens=0)

    def add_one(_: int) -> None:
        with home.store.changing(job.id) as record:
            record.save(trained_tokens=(record.job.trained_tokens or 0) + 1)
            record.tell("one more")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_one, range(40)))
    assert home.store.get(job.id).trained_tokens == 40
    assert home.told(job).count("one more") == 40
    assert len({event.id for event in home.store.history(job.id).read()}) == 42


def test_a_full_disk_leaves_the_record_as_it_was(home: JobHome, monkeypatch: pytest.MonkeyPatch) -> None:
    job = home.queue_job()

    def no_room(*_: object) -> None:
        raise StorageFull("no room")

    with monkeypatch.context() as patched, home.store.changing(job.id) as record, pytest.raises(StorageFull):
        patched.setattr(volume_jobs, "write_atomically", no_room)
        record.save(status=JobStatus.RUNNING)
    assert home.store.get(job.id) == job


def test_a_lock_that_is_never_given_back_is_not_waited_for_without_end(home: JobHome) -> None:
    path = home.store.directory(home.queue_job().id) / "lock"
    held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(path):
            held.set()
            may_go.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    with pytest.raises(JobBusy) as busy, locked(path, timeout_s=0.05):
        pass
    assert busy.value.status == 503
    may_go.set()
    holder.join()
    with locked(path, timeout_s=0.05):
        pass


def test_a_damaged_record_is_reported_and_hides_no_other(home: JobHome) -> None:
    damaged, whole = home.queue_job(), home.queue_job()
    (home.store.directory(damaged.id) / "job.json").write_text("{", encoding="utf-8")
    with pytest.raises(JobDamaged):
        home.store.get(damaged.id)
    assert [job.id for job in home.store.unfinished()] == [whole.id]


def test_a_file_is_used_by_the_jobs_that_are_not_finished(home: JobHome) -> None:
    trains = home.queue_job(training_file="file-a")
    validates = home.queue_job(training_file="file-b", validation_file="file-a")
    home.queue_job(training_file="file-b")
    assert home.store.users_of("file-a") == [trains.id, validates.id]
    with home.store.changing(trains.id) as record:
        record.save(status=JobStatus.CANCELLED)
    assert home.store.users_of("file-a") == [validates.id]


def test_ids_have_the_documented_form_and_are_not_repeated() -> None:
    ids = [new_job_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert all(len(job_id) == len("ftjob-") + 24 for job_id in ids)


def test_a_record_survives_json(home: JobHome) -> None:
    job = new_job(metadata={"note": "na\u00efve \u2603 \U0001f600"}, progress={"loss": 2.5})
    assert decoded_job(json.dumps(job.to_dict()).encode(), job.id) == job
    stored = home.store.create(job, request_digest="d", max_open=1)
    assert home.store.get(stored.id) == job
