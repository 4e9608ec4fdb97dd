"""A volume that is away, full, read-only or broken, under every operation on files and jobs: a 503 that names it."""

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from adavae.service.errors import ServiceError
from adavae.service.jobs.backbone_description import BackboneDescription
from adavae.service.jobs.data.file_store import FileStore
from adavae.service.jobs.job_service import JobService
from adavae.service.jobs.queue.in_process import InProcessQueue
from adavae.service.jobs.records import job_store, volume_jobs, wishes
from adavae.service.jobs.records.claims import Claims
from adavae.service.jobs.records.job import Job, JobError, JobStatus, NewJob
from adavae.service.jobs.records.job_store import JobStore
from adavae.service.jobs.records.volume import MARKER, Volume
from adavae.service.jobs.records.volume_lock import VolumeLock
from tests.tiny import TINY
from tests.unit.service.jobs.file_home import TRAINABLE, count_with_tiny_tokenizer
from tests.unit.service.jobs.job_home import JobHome, home
from tests.unit.service.stub_latent_service import stub_settings

__all__ = ["home"]

NUMBERS = (errno.EIO, errno.EROFS, errno.ENOSPC, errno.ESTALE, errno.EACCES, errno.ENOTCONN, errno.EMFILE)


class Training:
    """Files and jobs over one volume, with one of each."""

    def __init__(self, root: Path) -> None:
        self.settings = stub_settings(data=root / "data", weights=root / "weights")
        self.volume, self.store = Volume(self.settings.data), JobStore(self.settings.jobs)
        self.files = FileStore(self.settings, self.store, count_with_tiny_tokenizer, volume=self.volume)
        description = BackboneDescription(TINY, "d" * 64)
        self.jobs = JobService(
            self.settings, self.store, self.files, InProcessQueue(), lambda: description, self.volume
        )
        self.file_id = self.job_id = ""

    async def fill(self) -> None:
        self.file_id = (await self.upload()).id
        self.job_id = (await self.create_job()).id

    async def upload(self) -> Any:
        return await self.files.create("a.jsonl", "fine-tune", _pieces())

    async def create_job(self) -> Job:
        return await self.jobs.create(NewJob(training_file=self.file_id, adapter_name="mine"), idempotency_key="k")

    async def watch(self) -> None:
        async for _ in self.jobs.watch(self.job_id, after=None):
            return

    @property
    def operations(self) -> dict[str, Callable[[], Awaitable[object]]]:
        return {
            "upload": self.upload,
            "file": lambda: self.files.get(self.file_id),
            "files": lambda: self.files.list(limit=9, after=None),
            "delete": lambda: self.files.delete(self.file_id),
            "create": self.create_job,
            "job": lambda: self.jobs.get(self.job_id),
            "jobs": lambda: self.jobs.list(limit=9, after=None),
            "events": lambda: self.jobs.events(self.job_id, limit=9, after=None),
            "watch": self.watch,
            "pause": lambda: self.jobs.pause(self.job_id),
            "resume": lambda: self.jobs.resume(self.job_id),
            "cancel": lambda: self.jobs.cancel(self.job_id),
        }


OPERATIONS = list(Training(Path("/nowhere")).operations)


async def _pieces() -> AsyncIterator[bytes]:
    yield TRAINABLE


async def refused(ask: Callable[[], Awaitable[object]]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await ask()
    return caught.value


@pytest.mark.asyncio
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_nothing_is_done_where_the_volume_went_away(tmp_path: Path, operation: str) -> None:
    training = Training(tmp_path)
    await training.fill()
    mounted = tmp_path / "elsewhere"
    training.settings.data.rename(mounted)
    training.settings.data.mkdir()
    error = await refused(training.operations[operation])
    assert (error.status, error.code) == (503, "storage_unmounted")
    assert list(training.settings.data.iterdir()) == []
    training.settings.data.rmdir()
    mounted.rename(training.settings.data)
    assert (await training.jobs.get(training.job_id)).status is JobStatus.QUEUED
    assert len((await training.files.list(limit=9, after=None)).items) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("number", NUMBERS, ids=[errno.errorcode[number] for number in NUMBERS])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_every_operation_answers_for_the_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, number: int
) -> None:
    """Whichever call into the system fails first, at any place of the volume."""
    training = Training(tmp_path)
    await training.fill()
    failing, real = str(training.settings.data), os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).startswith(failing) and MARKER not in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        try:
            await training.operations[operation]()
        except ServiceError as exc:
            assert exc.status == 503, exc
            assert exc.code.startswith("storage_"), exc
            assert failing not in exc.message
        else:
            assert operation in ("jobs", "files", "delete")  # lists of what can be read; a rename opens nothing
    assert (await training.jobs.list(limit=9, after=None)).items[0].status is JobStatus.QUEUED


@pytest.mark.asyncio
@pytest.mark.parametrize("number", NUMBERS, ids=[errno.errorcode[number] for number in NUMBERS])
async def test_a_volume_that_gives_nothing_is_no_empty_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    training = Training(tmp_path)
    await training.fill()
    failing, real = str(training.settings.data), os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).startswith(failing):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        for operation in training.operations.values():
            assert (await refused(operation)).code.startswith("storage_")


@pytest.mark.asyncio
async def test_the_list_of_jobs_is_quick_while_a_frozen_process_holds_locks(tmp_path: Path) -> None:
    """Regression: it took 19 s, for all threads waited for a job whose publisher was frozen."""
    training = Training(tmp_path)
    await training.fill()
    other = await training.jobs.create(NewJob(training_file=training.file_id, adapter_name="other"))
    lock = VolumeLock(training.store.directory(training.job_id) / "lock", timeout_s=0)
    stuck = [asyncio.create_task(training.jobs.cancel(training.job_id)) for _ in range(8)]
    await asyncio.sleep(0)
    for _ in range(20):
        listed = await training.jobs.list(limit=9, after=None)
        assert [job.id for job in listed.items] == [other.id, training.job_id]
        assert (await training.files.get(training.file_id)).id == training.file_id
    assert not any(task.done() and task.exception() is None for task in stuck)
    assert (await training.jobs.cancel(other.id)).status is JobStatus.CANCELLED, "and so do changes of other jobs"
    errors = await asyncio.gather(*stuck, return_exceptions=True)
    assert {getattr(error, "code", None) for error in errors} == {"job_busy"}
    lock.release()
    assert (await training.jobs.cancel(training.job_id)).status is JobStatus.CANCELLED


FULL = OSError(errno.ENOSPC, "No space left on device")


def full_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records cannot be replaced from now on; a line of history still finds its place."""

    def refuse(_path: Path, _content: bytes) -> None:
        raise FULL

    monkeypatch.setattr(volume_jobs, "write_atomically", refuse)


@pytest.mark.parametrize("wish", [wishes.cancel, wishes.pause, wishes.resume])
@pytest.mark.parametrize("status", ["queued", "running", "paused", "pausing"])
def test_a_change_that_was_not_saved_is_not_reported(
    home: JobHome, monkeypatch: pytest.MonkeyPatch, wish: Callable[[JobStore, str], Job], status: str
) -> None:
    """Regression: on a full volume the history said that the job was asked to end, and it went on."""
    job = home.queue_job()
    if status in ("running", "pausing"):
        home.claim(job)
    if status in ("paused", "pausing"):
        wishes.pause(home.store, job.id)
    before, told = home.store.get(job.id), home.told(job)
    full_after(monkeypatch)
    with pytest.raises((OSError, ServiceError)):
        wish(home.store, job.id)
        raise OSError("there was nothing to save")
    assert home.store.get(job.id) == before
    assert home.told(job) == told


@pytest.mark.parametrize("end", ["stopped", "crashed", "fail", "publishing", "claim"])
def test_what_a_worker_could_not_save_is_not_reported(home: JobHome, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    job = home.queue_job()
    claim = home.claim(job) if end != "claim" else None
    told = home.told(job)
    full_after(monkeypatch)

    def publish(claims: Claims) -> None:
        assert claim is not None
        with claims.publishing(claim, "v1", last_progress={"step": 9, "total_steps": 9}):
            raise AssertionError("nothing is published that could not be noted")

    ends: dict[str, Callable[[Any], object]] = {
        "stopped": lambda taken: home.claims.stopped(taken),
        "crashed": lambda taken: home.claims.crashed(taken, JobError(code="c", message="m")),
        "fail": lambda taken: home.claims.fail(taken, JobError(code="c", message="m")),
        "publishing": lambda _: publish(home.claims),
        "claim": lambda _: home.claims.claim(job.id, "w"),
    }
    with pytest.raises(OSError, match="No space"):
        ends[end](claim)
    assert home.told(job) == told


def test_what_was_saved_counts_where_it_cannot_be_reported(home: JobHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_fields: object) -> None:
        raise FULL

    job = home.queue_job()
    monkeypatch.setattr(job_store.EventLog, "append", refuse)
    claim = home.claims.claim(job.id, "w")
    assert claim is not None
    assert wishes.pause(home.store, job.id).wish is not None
    assert home.claims.stopped(claim).status is JobStatus.PAUSED
    assert wishes.resume(home.store, job.id).status is JobStatus.QUEUED


def test_jobs_sort_as_they_were_made_whatever_is_done_to_the_clock(
    home: JobHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: after the clock was set back, new jobs went before those that waited."""
    now_ns, made = time.time_ns(), []
    for hours in (0, 5, -5, -24 * 365, 0):
        monkeypatch.setattr(time, "time_ns", lambda hours=hours: now_ns + hours * 3600 * 10**9)
        made.append(home.queue_job(id=home.store.new_id()).id)
    assert home.store.ids() == made[::-1]
    assert [job.id for job in home.store.unfinished()] == made
