"""Jobs as the routes ask for them: refused with the field that is wrong, made once, listed, watched to their end."""

import asyncio
import time
from dataclasses import replace
from typing import Any, ClassVar, cast

import pytest

from adavae.model.errors import StorageFull
from adavae.model.training.config import TrainingConfig
from adavae.service.errors import InvalidRequest, Overloaded, ServiceError
from adavae.service.jobs.backbone_description import BackboneDescription
from adavae.service.jobs.job_service import JobService
from adavae.service.jobs.job_watches import MAX_STREAMS_OF_A_CLIENT
from adavae.service.jobs.owned import OwnedJobs
from adavae.service.jobs.protocol import FileOperations, Page
from adavae.service.jobs.records.caller import EVERYBODY, Caller
from adavae.service.jobs.records.job import Job, JobError, JobStatus, NewJob, StoredFile
from adavae.service.jobs.records.job_errors import JobConflict, JobNotFound
from adavae.service.jobs.records.job_store import JobStore
from tests.tiny import TINY
from tests.unit.service.jobs.job_home import FIGURES, JobHome, home
from tests.unit.service.jobs.running import DEADLINE_S, until

__all__ = ["home"]

NEW = NewJob(training_file="file-1", adapter_name="mine", metadata={"team": "reviews"})


class Files:
    """Some stored files; nothing else is asked of it."""

    labels: ClassVar = {
        "file-1": ("no", "yes"),
        "file-2": ("no", "yes"),
        "file-3": ("maybe", "no"),
        "file-4": (),
        "file-5": ("yes",),
    }

    async def get(self, file_id: str) -> StoredFile:
        if file_id not in self.labels:
            raise ServiceError(404, "file_not_found", "no such file")
        return StoredFile(
            id=file_id,
            created_at=1,
            filename="a.tsv",
            purpose="fine-tune",
            num_bytes=1,
            sha256="s",
            num_rows=9,
            labels=dict.fromkeys(self.labels[file_id], 4),
            report={"duplicates": int(file_id[-1])},
        )


class Queue:
    """Remembers what it was told of; ``error`` is what its Redis does meanwhile."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.may_tell = asyncio.Event()
        self.may_tell.set()

    async def enqueue(self, job_id: str) -> None:
        await self.may_tell.wait()
        self.told.append(job_id)

    async def consume(self, deliver: object) -> None: ...

    async def problem(self) -> str | None: ...

    async def close(self) -> None: ...


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def service(home: JobHome, queue: Queue) -> JobService:
    description = BackboneDescription(TINY, "d" * 64)
    settings = home.settings(max_open_jobs=3)
    return JobService(settings, home.store, cast(FileOperations, Files()), queue, lambda: description)


async def refused(service: JobService, **fields: Any) -> ServiceError:
    with pytest.raises(ServiceError) as error:
        await service.create(replace(NEW, **fields))
    return error.value


@pytest.mark.asyncio
async def test_a_job_holds_everything_that_its_worker_needs(service: JobService, home: JobHome, queue: Queue) -> None:
    job = await service.create(replace(NEW, validation_file="file-2", hyperparameters={"n_epochs": 2}, seed=7))
    await service.close()
    assert home.store.get(job.id) == job == await service.get(job.id)
    assert (job.status, job.seed, job.backbone_digest) == (JobStatus.QUEUED, 7, "d" * 64)
    assert (job.training_file, job.validation_file, job.metadata) == ("file-1", "file-2", {"team": "reviews"})
    assert job.report == {
        "training_file": {"filename": "a.tsv", "duplicates": 1},
        "validation_file": {"filename": "a.tsv", "duplicates": 2},
    }
    assert TrainingConfig.from_dict(job.config).seed == 7
    assert queue.told == [job.id]


@pytest.mark.asyncio
async def test_of_very_many_labels_a_job_tells_the_commonest(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: every label of both files went into the record, which nothing could read again."""
    labels = {f"{number:04d}": 1 + number // 990 for number in range(1000)}
    report = {"labels": labels, "warnings": ["w" * 100_000] * 100, "rows": 9}
    stored = replace(await Files().get("file-1"), labels=labels, report=report)

    async def get(_files: Files, _file_id: str) -> StoredFile:
        return stored

    monkeypatch.setattr(Files, "get", get)
    told = (await service.create(NEW)).report["training_file"]
    assert (told["rows"], told["num_labels"], len(told["labels"])) == (9, 1000, 20)
    assert {f"{number:04d}" for number in range(990, 1000)} <= set(told["labels"])
    assert told["warnings"] == ["w" * 2000] * 20


@pytest.mark.asyncio
async def test_a_seed_is_drawn_where_none_is_given(service: JobService) -> None:
    seeds = {(await service.create(NEW)).seed for _ in range(3)}
    assert len(seeds) == 3


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"training_file": "file-9"}, "training_file", "there is no such file: upload it"),
        ({"validation_file": "file-9"}, "validation_file", "there is no such file: upload it"),
        ({"backbone": "gpt2-xl"}, "model", "this service has the backbone 'bundled'"),
        ({"adapter_name": "../x"}, "suffix", "must be 1 to 64 of a-z"),
        ({"hyperparameters": {"n_epochs": -1}}, "hyperparameters.n_epochs", "is -1: must be a number from"),
        ({"hyperparameters": {"epoch": 1}}, "hyperparameters.epoch", "did you mean epochs?"),
        ({"hyperparameters": {"epochs": 1, "n_epochs": 1}}, "hyperparameters.epochs", "not both"),
        ({"validation_file": "file-3"}, "validation_file", "has labels that training_file lacks (maybe)"),
        ({"validation_file": "file-4"}, "validation_file", "and validation_file has none"),
        (
            {"training_file": "file-5", "hyperparameters": {"preset": "classification"}},
            "hyperparameters.preset",
            "the training file has one label only",
        ),
    ],
)
async def test_what_is_wrong_is_refused_by_its_field(
    service: JobService, home: JobHome, fields: dict[str, Any], param: str, said: str
) -> None:
    error = await refused(service, **fields)
    assert (error.status, error.param) == (422, param)
    assert said in error.message
    assert home.store.ids() == []


@pytest.mark.asyncio
async def test_one_label_is_enough_to_validate_on_and_to_train_without_a_head(service: JobService) -> None:
    assert (await service.create(replace(NEW, validation_file="file-5"))).validation_file == "file-5"
    assert (await service.create(replace(NEW, training_file="file-5"))).training_file == "file-5"


@pytest.mark.asyncio
@pytest.mark.parametrize("training", ["file-1", "file-4", "file-5"])
@pytest.mark.parametrize("held_back", ["file-1", "file-3", "file-4", "file-5"])
async def test_labels_count_nothing_where_the_preset_trains_no_head(
    service: JobService, training: str, held_back: str
) -> None:
    """Texts without labels were refused to validate a language-modelling run on."""
    preset = {"preset": "language-modelling"}
    wanted = replace(NEW, training_file=training, validation_file=held_back, hyperparameters=preset)
    assert (await service.create(wanted)).validation_file == held_back


def stored_texts(labels: dict[str, int], **report: Any) -> StoredFile:
    return StoredFile(
        id="file-1",
        created_at=1,
        filename="few.tsv",
        purpose="fine-tune",
        num_bytes=1,
        sha256="s",
        num_rows=sum(labels.values()),
        labels=labels,
        report=report,
    )


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("labels", "report", "is_refused"),
    [
        ({"a": 1, "b": 1}, {}, True),
        ({"a": 1, "b": 1}, {"normalised_duplicates": 0, "conflicting_texts": 0}, True),
        ({"a": 2, "b": 1}, {"normalised_duplicates": 1, "conflicting_texts": 0}, True),
        ({"a": 2, "b": 1}, {"normalised_duplicates": 0, "conflicting_texts": 0}, False),
        ({"a": 2, "b": 1}, {"normalised_duplicates": 1, "conflicting_texts": 1}, False),
        ({"a": 2, "b": 1}, {"normalised_duplicates": None}, False),
        ({"a": 9}, {"normalised_duplicates": 0, "conflicting_texts": 0}, False),
    ],
)
@pytest.mark.parametrize("preset", ["generation", "language-modelling"])
async def test_what_cannot_be_split_is_refused_before_it_waits_for_a_worker(
    service: JobService,
    monkeypatch: pytest.MonkeyPatch,
    labels: dict[str, int],
    report: dict[str, Any],
    is_refused: bool,
    preset: str,
) -> None:
    """Labels of one text each waited for a worker, which refused to split them."""

    async def get(_files: Files, _file_id: str) -> StoredFile:
        return stored_texts(labels, **report)

    monkeypatch.setattr(Files, "get", get)
    wanted = replace(NEW, hyperparameters={"preset": preset})
    if not is_refused:
        await service.create(wanted)
        return
    error = await refused(service, hyperparameters={"preset": preset})
    assert (error.status, error.param) == (422, "training_file")
    assert error.message.startswith("few.tsv: no label has a text to spare for validation: add texts")
    assert (await service.create(replace(wanted, validation_file="file-2"))).validation_file


@pytest.mark.asyncio
async def test_a_repeated_request_makes_one_job_also_where_its_file_is_gone(
    service: JobService, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await service.create(NEW, idempotency_key="k")

    async def gone(*_: object) -> StoredFile:
        raise ServiceError(404, "file_not_found", "gone")

    monkeypatch.setattr(Files, "get", gone)
    assert await service.create(NEW, idempotency_key="k") == first
    with pytest.raises(JobConflict):
        await service.create(replace(NEW, seed=1), idempotency_key="k")
    await service.close()
    assert queue.told == [first.id]


@pytest.mark.asyncio
async def test_a_job_whose_file_is_deleted_at_that_moment_is_refused(
    service: JobService, home: JobHome, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, files = home.store.create, {**Files.labels}

    def delete_and_create(*arguments: Any, **options: Any) -> Job:
        del files["file-1"]
        return create(*arguments, **options)

    monkeypatch.setattr(Files, "labels", files)
    monkeypatch.setattr(home.store, "create", delete_and_create)
    error = await refused(service)
    assert (error.status, error.param) == (422, "training_file")
    assert [home.store.get(job_id).status for job_id in home.store.ids()] == [JobStatus.CANCELLED]
    assert queue.told == []


@pytest.mark.asyncio
async def test_the_same_request_at_once_makes_one_job(service: JobService) -> None:
    jobs = await asyncio.gather(*(service.create(NEW, idempotency_key="k") for _ in range(10)))
    assert len({job.id for job in jobs}) == 1


@pytest.mark.asyncio
async def test_too_many_open_jobs_are_refused(service: JobService) -> None:
    for _ in range(3):
        await service.create(NEW)
    with pytest.raises(Overloaded) as error:
        await service.create(NEW)
    assert (error.value.status, error.value.retry_after_s) == (429, 300)


@pytest.mark.asyncio
async def test_a_full_volume_is_no_internal_error(
    service: JobService, home: JobHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> Job:
        raise StorageFull("no room")

    monkeypatch.setattr(home.store, "create", full)
    error = await refused(service)
    assert (error.status, error.code) == (503, "storage_full")


@pytest.mark.asyncio
async def test_a_queue_that_hangs_holds_nobody_up(service: JobService, queue: Queue) -> None:
    queue.may_tell.clear()
    job = await service.create(NEW)
    assert (await service.pause(job.id)).status is JobStatus.PAUSED
    assert (await service.resume(job.id)).status is JobStatus.QUEUED
    assert (await service.cancel(job.id)).status is JobStatus.CANCELLED
    queue.may_tell.set()
    await service.close()
    assert queue.told == [job.id] * 2


@pytest.mark.asyncio
async def test_jobs_are_listed_page_by_page_newest_first(service: JobService, home: JobHome) -> None:
    jobs = [home.queue_job(metadata={"even": str(number % 2 == 0)}) for number in range(6)]
    newest = [job.id for job in reversed(jobs)]
    first = await service.list(limit=4, after=None)
    assert ([job.id for job in first.items], first.has_more) == (newest[:4], True)
    rest = await service.list(limit=4, after=first.items[-1].id)
    assert ([job.id for job in rest.items], rest.has_more) == (newest[4:], False)
    even = await service.list(limit=2, after=None, metadata={"even": "True"})
    assert ([job.id for job in even.items], even.has_more) == ([jobs[4].id, jobs[2].id], True)
    assert await service.list(limit=2, after=None, metadata={"even": "?"}) == Page([], has_more=False)
    with pytest.raises(InvalidRequest, match="there is no such job"):
        await service.list(limit=2, after="ftjob-0")


@pytest.mark.asyncio
async def test_a_page_of_ones_own_reads_no_further_than_its_end(
    service: JobService, home: JobHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an object store every record is a request, and all that there ever were took minutes."""
    ids = [home.queue_job(owner=("bob", "alice")[number % 2]).id for number in range(20)]
    alice, own = Caller("alice", is_admin=False), ids[::-2]
    read: set[str] = set()
    original = JobStore.readable
    monkeypatch.setattr(JobStore, "readable", lambda self, job_id: (read.add(job_id), original(self, job_id))[1])
    page = await service.list(limit=2, after=None, caller=alice)
    assert ([job.id for job in page.items], page.has_more) == (own[:2], True)
    assert read == set(ids[-5:])
    page = await service.list(limit=9, after=own[1], caller=alice)
    assert ([job.id for job in page.items], page.has_more) == (own[2:], False)
    with pytest.raises(InvalidRequest, match="no such job"):
        await service.list(limit=2, after=ids[-2], caller=alice)
    assert not (await service.list(limit=2, after=None, caller=Caller(None, is_admin=False))).items


@pytest.mark.asyncio
async def test_a_damaged_record_hides_no_other_from_the_list(service: JobService, home: JobHome) -> None:
    damaged, whole = home.queue_job(), home.queue_job()
    (home.store.directory(damaged.id) / "job.json").write_text("{", encoding="utf-8")
    assert [job.id for job in (await service.list(limit=9, after=None)).items] == [whole.id]


@pytest.mark.asyncio
async def test_events_are_paged_towards_the_oldest(service: JobService, home: JobHome) -> None:
    job = home.queue_job()
    claim = home.claim(job)
    home.claims.report_progress(claim, FIGURES, is_event=True)
    first = await service.events(job.id, limit=3, after=None)
    assert [event.id[-1] for event in first.items] == ["4", "3", "2"]
    rest = await service.events(job.id, limit=3, after=first.items[-1].id)
    assert ([event.id[-1] for event in rest.items], rest.has_more) == (["1"], False)
    with pytest.raises(InvalidRequest, match="ftevent-000000001"):
        await service.events(job.id, limit=3, after="x")
    with pytest.raises(JobNotFound):
        await service.events("ftjob-0", limit=3, after=None)


@pytest.mark.asyncio
async def test_a_job_is_watched_to_its_end(service: JobService, home: JobHome) -> None:
    job = home.queue_job()
    seen: list[str] = []

    async def watch(after: str | None) -> None:
        async with asyncio.timeout(DEADLINE_S):
            async for event in service.watch(job.id, after=after):
                seen.append(event.message)

    watching = asyncio.create_task(watch(None))
    await until(lambda: len(seen) == 2)
    claim = home.claim(job)
    await until(lambda: len(seen) == 3)
    home.claims.fail(claim, JobError(code="c", message="bad line"))
    await watching
    assert seen == home.told(job)
    assert seen[-1] == "The job has failed: bad line"
    seen.clear()
    await watch("ftevent-000000002")
    assert seen == home.told(job)[2:]


@pytest.mark.asyncio
async def test_one_stream_too_many_is_refused_before_it_begins(service: JobService, home: JobHome) -> None:
    """Once it has begun there is no status any more that would say so."""
    job = home.queue_job()
    owned = OwnedJobs(service, EVERYBODY)
    streams = [owned.watch(job.id, after=None) for _ in range(MAX_STREAMS_OF_A_CLIENT)]
    for stream in streams:
        await anext(stream)
    with pytest.raises(Overloaded) as caught:
        owned.watch(job.id, after=None)
    assert caught.value.status == 429
    for stream in streams:
        await stream.aclose()
    await owned.watch(job.id, after=None).aclose()


@pytest.mark.asyncio
async def test_watching_what_is_not_there_is_refused(service: JobService) -> None:
    with pytest.raises(JobNotFound):
        await anext(service.watch("ftjob-0", after=None))
    with pytest.raises(InvalidRequest):
        await anext(service.watch("ftjob-0", after="x"))


@pytest.mark.asyncio
async def test_the_event_loop_goes_on_while_the_volume_is_slow(
    service: JobService, home: JobHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, get = home.queue_job(), home.store.get
    may_answer = False

    def slow(job_id: str) -> Job:
        while not may_answer:
            time.sleep(0.001)
        return get(job_id)

    monkeypatch.setattr(home.store, "get", slow)
    getting = asyncio.create_task(service.get(job.id))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not getting.done()
    may_answer = True
    assert await getting == job
