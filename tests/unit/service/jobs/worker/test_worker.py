"""A worker: every job that waits gets its turn, one at a time, whatever befalls queue, volume and jobs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from adavae.service.jobs.queue.in_process import InProcessQueue
from adavae.service.jobs.queue.queue import Deliver
from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.claims import Claims
from adavae.service.jobs.records.job import Job, JobStatus
from adavae.service.jobs.records.job_store import new_job_id
from adavae.service.jobs.worker.training_metrics import TrainingMetrics
from adavae.service.jobs.worker.worker import Worker
from tests.unit.service.jobs.hostile import PLANTS, planted
from tests.unit.service.jobs.job_home import JobHome, home
from tests.unit.service.jobs.running import DEADLINE_S, Files, command, until

__all__ = ["home"]


class SilentQueue:
    """Delivers nothing; ``deliver`` is what it would call."""

    def __init__(self, error: Exception | None = None) -> None:
        self.deliver: Deliver | None = None
        self._error = error

    async def enqueue(self, job_id: str) -> None: ...

    async def consume(self, deliver: Deliver) -> None:
        self.deliver = deliver
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()

    async def problem(self) -> str | None:
        return None

    async def close(self) -> None: ...


def worker(home: JobHome, *behaviour: str, queue: SilentQueue | InProcessQueue | None = None) -> Worker:
    metrics = TrainingMetrics(CollectorRegistry())
    return Worker(home.settings(), Files(), queue or SilentQueue(), metrics, command=command(*behaviour))


async def work_off(*workers: Worker) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*(trainer.run(is_once=True) for trainer in workers))


@contextlib.asynccontextmanager
async def working(trainer: Worker) -> AsyncIterator[None]:
    running = asyncio.create_task(trainer.run())
    try:
        yield
    finally:
        trainer.stop()
        async with asyncio.timeout(DEADLINE_S):
            await running


def statuses(home: JobHome, *jobs: Job) -> list[JobStatus]:
    return [home.store.get(job.id).status for job in jobs]


@pytest.mark.asyncio
async def test_jobs_that_nobody_dispatches_are_done_in_order(home: JobHome) -> None:
    jobs = [home.queue_job(adapter_name=f"set-{number}") for number in range(3)]
    await work_off(worker(home, "train", "2"))
    assert statuses(home, *jobs) == [JobStatus.SUCCEEDED] * 3
    begun = [home.store.get(job.id).started_at or 0 for job in jobs]
    assert begun == sorted(begun)


@pytest.mark.asyncio
async def test_two_workers_share_the_jobs_and_do_none_twice(home: JobHome) -> None:
    jobs = [home.queue_job(adapter_name=f"set-{number}") for number in range(6)]
    await work_off(worker(home, "train", "2"), worker(home, "train", "2"))
    assert statuses(home, *jobs) == [JobStatus.SUCCEEDED] * 6
    assert [home.store.get(job.id).attempt for job in jobs] == [1] * 6
    assert len(list(home.adapters.glob("*/*"))) == 6


@pytest.mark.asyncio
async def test_one_job_at_a_time(home: JobHome) -> None:
    first, second = home.queue_job(), home.queue_job()
    queue = SilentQueue()
    async with working(worker(home, "train", "100000", queue=queue)):
        await until(lambda: home.store.get(first.id).status is JobStatus.RUNNING)
        assert queue.deliver is not None
        delivering = asyncio.create_task(queue.deliver(second.id))
        await until(lambda: home.store.get(first.id).progress is not None)
        assert statuses(home, second) == [JobStatus.QUEUED]
    await delivering
    assert statuses(home, first, second) == [JobStatus.QUEUED] * 2
    assert home.store.get(second.id).attempt == 0


@pytest.mark.asyncio
async def test_a_delivered_job_is_worked_on_at_once(home: JobHome) -> None:
    queue = InProcessQueue()
    async with working(worker(home, "train", "2", queue=queue)):
        job = home.queue_job()
        await queue.enqueue(job.id)
        await until(lambda: home.store.get(job.id).status is JobStatus.SUCCEEDED)
        await queue.enqueue(job.id)
        other = home.queue_job()
        await queue.enqueue(other.id)
        await until(lambda: home.store.get(other.id).status is JobStatus.SUCCEEDED)
    await queue.close()
    assert home.store.get(job.id).attempt == 1


@pytest.mark.asyncio
async def test_a_queue_that_breaks_stops_no_job(home: JobHome) -> None:
    job = home.queue_job()
    await work_off(worker(home, "train", "2", queue=SilentQueue(RuntimeError("broken"))))
    assert statuses(home, job) == [JobStatus.SUCCEEDED]


@pytest.mark.asyncio
async def test_a_job_whose_worker_is_gone_is_taken_over(home: JobHome) -> None:
    job = home.queue_job()
    home.claim(job, "gone")
    await work_off(worker(home, "train", "2"))
    done = home.store.get(job.id)
    assert (done.status, done.attempt) == (JobStatus.SUCCEEDED, 2)


@pytest.mark.asyncio
async def test_a_job_that_crashes_rests_while_others_are_done(home: JobHome) -> None:
    crashing, other = home.queue_job(), home.queue_job()
    claim = Claims.claim

    def refused(claims: Claims, job_id: str, *arguments: str, **options: object) -> object:
        if job_id == crashing.id:
            raise OSError("input/output error")
        return claim(claims, job_id, *arguments, **options)  # type: ignore[arg-type]

    trainer = worker(home, "train", "1")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Claims, "claim", refused)
        async with working(trainer):
            await until(lambda: home.store.get(other.id).status is JobStatus.SUCCEEDED)
    assert statuses(home, crashing) == [JobStatus.QUEUED]


@pytest.mark.asyncio
async def test_a_volume_that_cannot_be_read_is_tried_again(home: JobHome, monkeypatch: pytest.MonkeyPatch) -> None:
    job, trainer = home.queue_job(), worker(home, "train", "1")
    view, failures = trainer._lookout.view, [OSError("stale file handle"), RecursionError("nobody foresaw it")]

    def sometimes() -> object:
        if failures:
            raise failures.pop()
        return view()

    monkeypatch.setattr(trainer._lookout, "view", sometimes)
    await work_off(trainer)
    assert statuses(home, job) == [JobStatus.SUCCEEDED]


@pytest.mark.asyncio
async def test_whatever_stands_on_the_volume_the_jobs_behind_it_are_done(home: JobHome) -> None:
    """Regression: one job.json of 3,000 brackets, and a worker died when it started."""
    for plant in PLANTS.values():
        planted(home.store.directory(home.queue_job().id) / "job.json", plant)
        planted(home.store.root / new_job_id(), plant)
    job = home.queue_job()
    await work_off(worker(home, "train", "1"))
    assert statuses(home, job) == [JobStatus.SUCCEEDED]


@pytest.mark.asyncio
async def test_paused_jobs_are_left_alone(home: JobHome) -> None:
    job = home.queue_job()
    wishes.pause(home.store, job.id)
    await work_off(worker(home, "train", "1"))
    assert statuses(home, job) == [JobStatus.PAUSED]
