"""Every operation that jobs need of the place where their records are, on a volume and in an object store."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.claims import Claims
from adavae.service.jobs.records.encoding import encoded_new_job
from adavae.service.jobs.records.job import Job, JobError, JobStatus, Wish
from adavae.service.jobs.records.job_errors import ClaimLost, JobConflict, JobNotFound
from adavae.service.jobs.records.job_records import JobRecords, owner_mark
from adavae.service.jobs.records.job_store import JobStore, new_job_id
from adavae.service.jobs.records.object_jobs import ObjectJobs
from adavae.service.jobs.records.volume_file import NotReadable
from adavae.service.jobs.records.volume_jobs import VolumeJobs
from tests.unit.service.jobs.job_home import FIGURES, new_job
from tests.unit.service.objects.memory_objects import Bucket, needs_obstore


class Place:
    """A place, and processes that see it."""

    def __init__(self, kind: str, root: Path) -> None:
        self.root, self.bucket = root, Bucket() if kind == "store" else None

    def opened(self) -> JobRecords:
        """As one process has it."""
        return VolumeJobs(self.root) if self.bucket is None else ObjectJobs(self.bucket.opened(), self.root)

    def store(self) -> JobStore:
        return JobStore(self.opened())

    def claims(self) -> Claims:
        return Claims(self.store(), self.root / "adapters")

    def job(self, **fields: object) -> Job:
        return self.store().create(new_job(**fields), request_digest="d", max_open=100)

    def checkpoint(self, job_id: str, attempt: int, step: int, content: bytes = b"whole") -> None:
        """What a training process leaves, where others find it."""
        records = self.opened()
        directory = self.root / job_id / "attempts" / str(attempt)
        path = directory / "checkpoints" / f"step-{step:09d}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        (directory / "metrics.jsonl").write_bytes(b'{"step": 1}\n')
        if isinstance(records, ObjectJobs):
            records.send_checkpoint(job_id, attempt, path, directory / "metrics.jsonl", 2)
            path.unlink()


@pytest.fixture(params=["volume", pytest.param("store", marks=needs_obstore)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path / "jobs")


def test_a_job_is_there_for_every_process(place: Place) -> None:
    job = place.job()
    other = place.store()
    assert other.get(job.id) == job
    assert other.ids() == [job.id]
    assert [event.message for event in other.history(job.id).read()] == [
        f"Created fine-tuning job: {job.id}",
        "The job is queued",
    ]
    with pytest.raises(JobNotFound):
        other.get(new_job_id())


def test_an_empty_place_has_no_jobs(place: Place) -> None:
    assert (place.store().ids(), place.store().unfinished()) == ([], [])


def test_whose_a_job_is_is_told_of_marked_and_unmarked_jobs(place: Place) -> None:
    jobs = {owner: place.job(owner=owner).id for owner in ("alice", "bob", None)}
    old = new_job(owner="alice")
    place.opened().create(old.id, encoded_new_job(old), [], "alice")
    if place.bucket is not None:  # as it was made before there were marks
        place.bucket.opened().delete([f"owned/{owner_mark('alice')}/{old.id}"])
    for owner, own in (("alice", {jobs["alice"], old.id}), ("bob", {jobs["bob"]}), ("carol", set())):
        assert set(filter(place.store().belonging_to(owner), place.store().ids())) == own


@needs_obstore
def test_in_a_store_nobody_reads_the_jobs_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of ten thousand jobs took a request for each of them."""
    place = Place("store", tmp_path / "jobs")
    own = place.job(owner="alice").id
    for _ in range(5):
        place.job(owner="bob")
    read: list[str] = []
    monkeypatch.setattr(JobStore, "readable", lambda _self, job_id: read.append(job_id))
    store = place.store()
    assert list(filter(store.belonging_to("alice"), store.ids())) == [own]
    assert not read


@needs_obstore
def test_what_a_killed_worker_left_on_its_machine_is_removed(tmp_path: Path) -> None:
    """Regression: the checkpoints of its attempt stayed on that disk for good."""
    place = Place("store", tmp_path / "jobs")
    jobs = {name: place.job() for name in ("alive", "killed", "cancelled", "elsewhere", "queued")}
    workers = {name: place.claims() for name in jobs}
    claims = {name: workers[name].claim(job.id, "w") for name, job in jobs.items()}
    directories = {name: claim.directory for name, claim in claims.items() if claim is not None}
    for name in set(jobs) - {"alive"}:
        for lock in workers[name].store.records._working.values():  # type: ignore[attr-defined]
            lock.release()  # as the kernel does when a process ends
    wishes.cancel(place.store(), jobs["cancelled"].id)
    for name in ("cancelled", "elsewhere"):
        other = Claims(JobStore(ObjectJobs(place.bucket.opened(), tmp_path / "other")), tmp_path)  # type: ignore[union-attr]
        lease = other.lease(other.store.get(jobs[name].id))
        assert (other.claim(jobs[name].id, "other", abandoned=lease) is None) is (name == "cancelled")
    with place.store().changing(jobs["queued"].id) as record:
        record.save(status=JobStatus.QUEUED)
    place.claims().tidy()
    assert {name for name, directory in directories.items() if directory.exists()} == {"alive", "killed"}
    assert {number for name, number in place.opened().left_here()} == {1}
    workers["alive"].tidy()
    assert directories["alive"].exists()


def test_an_attempt_under_way_is_not_cleared_up(place: Place) -> None:
    job = place.job()
    claim = place.claims().claim(job.id, "w")
    assert claim is not None
    place.claims().tidy()
    assert claim.directory.exists()


def test_jobs_that_are_settled_are_looked_at_no_more(place: Place) -> None:
    first, second = place.job(), place.job()
    wishes.cancel(place.store(), first.id)
    place.checkpoint(first.id, 1, 20)
    store = place.store()
    assert [job.id for job in store.unfinished()] == [second.id]
    assert store.known_finished == {first.id}
    store.records.settle(first.id)
    assert store.records.newest_step(first.id) == -1
    assert store.get(first.id).status is JobStatus.CANCELLED
    assert store.ids() == [second.id, first.id]
    assert isinstance(store.records, VolumeJobs) or store.records.unsettled_ids() == [second.id]


def test_an_idempotency_key_makes_one_job_whoever_asks_at_once(place: Place) -> None:
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: place.job(idempotency_key="key").id, range(4)))
    assert len(set(made)) == 1
    assert place.store().ids() == made[:1]
    with pytest.raises(JobConflict):
        place.store().create(new_job(idempotency_key="key"), request_digest="other", max_open=100)


def test_a_key_whose_job_was_never_made_may_be_used_again(place: Place) -> None:
    place.job(idempotency_key="key")
    records, lost = place.opened(), new_job_id()
    name = "0" * 64
    with records.creating():
        first = records.write_key(name, b"1", lambda _: True)
        assert (first, records.read_key(name, 10)) == (b"1", b"1")
        assert records.write_key(name, b"2", lambda _: False) == b"2"
    assert records.read_key(name, 10) == b"2"
    with pytest.raises(NotReadable):
        records.read_key(name, 0)
    with pytest.raises(FileNotFoundError):
        records.read_key("1" * 64, 10)
    assert lost not in place.store().ids()


def test_of_many_workers_at_once_one_gets_the_job(place: Place) -> None:
    job = place.job()
    with ThreadPoolExecutor(6) as threads:
        claims = list(threads.map(lambda number: place.claims().claim(job.id, f"w{number}"), range(6)))
    assert [claim.attempt for claim in claims if claim is not None] == [1]
    assert place.store().get(job.id).attempt == 1


def test_of_many_who_take_over_at_once_one_does_and_it_counts_once(place: Place) -> None:
    job = place.job()
    assert place.claims().claim(job.id, "dies") is not None
    lease = place.claims().lease(place.store().get(job.id))
    with ThreadPoolExecutor(6) as threads:
        claims = list(threads.map(lambda each: place.claims().claim(job.id, f"w{each}", abandoned=lease), range(6)))
    assert [claim.attempt for claim in claims if claim is not None] == [2]
    assert place.opened().count_setback(job.id, "lost_workers", 2) == 2


def test_a_renewed_lease_keeps_others_away(place: Place) -> None:
    job, claims = place.job(), place.claims()
    claim = claims.claim(job.id, "w")
    assert claim is not None
    lease = claims.lease(place.store().get(job.id))
    assert place.claims().lease(place.store().get(job.id)) == lease
    claims.renew(claim)
    assert place.claims().claim(job.id, "other", abandoned=lease) is None
    assert place.claims().lease(place.store().get(job.id)) != lease
    assert place.opened().stamp(job.id, 7) == 0


def test_who_lost_a_claim_changes_nothing(place: Place) -> None:
    job, frozen = place.job(), place.claims()
    claim = frozen.claim(job.id, "frozen")
    assert claim is not None
    taken = place.claims().claim(job.id, "other", abandoned=frozen.lease(place.store().get(job.id)))
    assert taken is not None and taken.attempt == 2
    error = JobError(code="c", message="m")
    changes = (
        lambda: frozen.renew(claim),
        lambda: frozen.report(claim, "late"),
        lambda: frozen.fail(claim, error),
        lambda: frozen.crashed(claim, error),
        lambda: frozen.stopped(claim),
        lambda: frozen.report_progress(claim, FIGURES, is_event=True),
    )
    for change in changes:
        with pytest.raises(ClaimLost):
            change()
    assert place.store().get(job.id).status is JobStatus.RUNNING


def test_wishes_and_a_workers_changes_at_once_all_count(place: Place) -> None:
    job = place.job()
    claims = place.claims()
    claim = claims.claim(job.id, "w")
    assert claim is not None
    told = threading.Barrier(2)

    def wish() -> None:
        told.wait()
        wishes.pause(place.store(), job.id)

    asking = threading.Thread(target=wish)
    asking.start()
    told.wait()
    for number in range(5):
        claims.report_progress(claim, FIGURES | {"step": number}, is_event=True)
    asking.join()
    assert place.store().get(job.id).wish is Wish.PAUSE
    assert claims.stopped(claim).status is JobStatus.PAUSED
    messages = [event.message for event in place.store().history(job.id).read()]
    assert sum(message.startswith("Step") for message in messages) == 5
    assert messages[-1] == "The job is paused; its checkpoint is kept"


def test_lines_of_many_stay_whole_and_in_one_order(place: Place) -> None:
    job = place.job()
    with ThreadPoolExecutor(4) as threads:
        list(
            threads.map(
                lambda number: place.opened().lines(job.id).append(b"%03d" % number * 100 + b"\n", is_durable=False),
                range(24),
            )
        )
    first, second = place.opened().lines(job.id), place.opened().lines(job.id)
    content, position = first.read_on(0)
    assert second.read_on(0) == (content, position)
    lines = [line for line in content.splitlines()[2:] if line]  # an empty one may come between two that write at once
    assert sorted(lines) == [b"%03d" % number * 100 for number in range(24)]
    assert first.read_on(position) == (b"", position)
    place.opened().lines(job.id).append(b"more\n", is_durable=True)
    assert first.read_on(position)[0] == b"more\n"


def test_a_long_history_is_read_on_from_anywhere(place: Place) -> None:
    job, line = place.job(), b"x" * 50_000 + b"\n"
    lines, read, position = place.opened().lines(job.id), b"", 0
    _, position = lines.read_on(0)
    for _ in range(9):
        lines.append(line, is_durable=False)
        content, position = place.opened().lines(job.id).read_on(position)
        read += content
    assert read == line * 9
    assert place.opened().lines(job.id).read_on(0)[0].endswith(line * 9)


def test_progress_stands_beside_the_record_until_it_changes(place: Place) -> None:
    job, claims = place.job(), place.claims()
    claim = claims.claim(job.id, "w")
    assert claim is not None
    assert place.store().get(job.id).progress is None
    claims.report_progress(claim, FIGURES, is_event=False)
    assert place.store().get(job.id).progress == FIGURES
    claims.stopped(claim)
    assert place.store().get(job.id).progress == FIGURES


def test_setbacks_count_since_the_newest_checkpoint(place: Place) -> None:
    job, records = place.job(), place.opened()
    assert [records.count_setback(job.id, "crashes", attempt) for attempt in (1, 2)] == [1, 2]
    assert records.count_setback(job.id, "lost_workers", 3) == 1
    place.checkpoint(job.id, 3, 20)
    assert records.count_setback(job.id, "crashes", 3) == 1


def test_an_attempt_goes_on_from_the_newest_whole_checkpoint_of_those_before(place: Place) -> None:
    job, records = place.job(), place.opened()
    place.checkpoint(job.id, 1, 20)
    place.checkpoint(job.id, 2, 40)
    place.checkpoint(job.id, 3, 60, b"damaged")
    records.begin(job.id, 4, b"")

    def newest_whole(directory: Path) -> Path | None:
        paths = sorted(directory.glob("step-*"), reverse=True)
        return next((path for path in paths if path.read_bytes() == b"whole"), None)

    found = place.opened().inherit(job.id, 4, newest_whole)
    assert found is not None and found.name == "step-000000040.safetensors"
    own = place.root / job.id / "attempts" / "4"
    assert (own / "checkpoints" / found.name).read_bytes() == b"whole"
    assert (own / "metrics.jsonl").read_bytes() == b'{"step": 1}\n'
    assert records.newest_step(job.id) == 60
    records.begin(job.id, 5, b"")
    assert place.opened().inherit(job.id, 1, newest_whole) is None


@needs_obstore
def test_a_store_keeps_the_newest_checkpoints_of_an_attempt(tmp_path: Path) -> None:
    place = Place("store", tmp_path)
    job = place.job()
    for step in (20, 40, 60):
        place.checkpoint(job.id, 1, step)
    assert place.bucket is not None
    keys = place.bucket.keys()
    kept = [key.rpartition("/")[2] for key in keys if "/checkpoints/" in key]
    assert kept == ["step-000000040.safetensors", "step-000000060.safetensors"]


@needs_obstore
@pytest.mark.parametrize("content", [b"", b"junk", b"0" * 32 + b"\n{}", b"0" * 32 + b"\nnull"])
def test_what_a_stranger_put_in_place_of_a_record_hides_no_other_job(tmp_path: Path, content: bytes) -> None:
    place = Place("store", tmp_path)
    bad, good = place.job(), place.job()
    assert place.bucket is not None
    place.bucket.plant(f"jobs/{bad.id}/job.json", content)
    place.bucket.plant("jobs/no-id/job.json", content)
    place.bucket.plant("unsettled/no-id", content)
    assert [job.id for job in place.store().unfinished()] == [good.id]
    assert place.claims().claim(good.id, "w") is not None
