"""Real workers, a real Redis, and everything that can befall them: no job is lost, done twice, or half published."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adavae.model.storage.pretrained import load_backbone
from adavae.model.training.preparation import TrainingRequest
from adavae.model.training.run import train_adapter_set
from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.job import Job, JobStatus
from adavae.service.jobs.records.volume_lock import locked
from tests.integration.redis_server import StartRedis, start_redis
from tests.integration.training_home import TrainingHome, fill_disk_of, read_metrics, training_config

__all__ = ["start_redis"]

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Iterator[TrainingHome]:
    """Without a Redis: the volume alone."""
    running = TrainingHome(tmp_path)
    yield running
    running.close()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The metrics of the same run when nothing befalls it."""
    directory = tmp_path_factory.mktemp("unbroken")
    running = TrainingHome(directory)
    request = TrainingRequest(
        name="unbroken", data=running.data, validation=None, config=training_config(), truncate=True
    )
    pretrained = load_backbone(running.settings.backbone_source)
    train_adapter_set(request, pretrained, directory=directory / "run", destination=directory / "adapters")
    return read_metrics(directory / "run" / "metrics.jsonl")


def assert_done_once(home: TrainingHome, job: Job) -> Job:
    done = home.store.get(job.id)
    assert done.status is JobStatus.SUCCEEDED, home.told(job)
    assert home.told(job).count("The job has succeeded") == 1
    assert [f"{job.adapter_name}@{version}" for version in home.versions(job.adapter_name)] == [done.adapter]
    return done


def test_killed_stopped_and_paused_a_run_ends_like_an_unbroken_one(
    home: TrainingHome, unbroken: list[dict[str, Any]]
) -> None:
    job = home.queue_job()
    first = home.start_worker()
    home.wait_for(lambda: home.checkpointed_step(job) >= 40)
    first.kill()
    reached = home.checkpointed_step(job)

    second = home.start_worker()
    home.wait_for(lambda: home.checkpointed_step(job) >= reached + 20 and home.store.get(job.id).attempt == 2)
    assert any(f"goes on from step {reached}" in message for message in home.told(job))
    assert second.stop() == 0
    assert home.status(job) is JobStatus.QUEUED
    handed_back = home.checkpointed_step(job)

    third = home.start_worker()
    home.wait_for(lambda: f"Training goes on from step {handed_back}" in home.told(job))
    wishes.pause(home.store, job.id)
    home.wait_for(lambda: home.status(job) is JobStatus.PAUSED)
    assert third.child is None
    wishes.resume(home.store, job.id)
    home.wait_for(lambda: home.status(job).is_finished)
    done = assert_done_once(home, job)
    assert done.attempt == 4
    assert home.metrics(job)[-1] == unbroken[-1]
    assert [line["validation_loss"] for line in home.metrics(job)] == [line["validation_loss"] for line in unbroken]
    assert third.stop() == 0


def test_a_worker_that_was_frozen_past_its_lease_publishes_nothing(home: TrainingHome) -> None:
    """Its training process goes on meanwhile, and comes to its end after the job was taken over."""
    job = home.queue_job()
    frozen = home.start_worker()
    home.wait_for(lambda: home.step(job) >= 10)
    late = frozen.child
    assert late is not None
    with locked(home.store.directory(job.id) / "lock"):  # not in the middle of a change: nobody could go on then
        frozen.freeze()
    home.start_worker()
    home.wait_for(lambda: home.store.get(job.id).attempt == 2)
    home.wait_for(lambda: not _is_alive(late) and home.status(job).is_finished)
    frozen.thaw()
    home.wait_for(lambda: '"outcome": "superseded"' in frozen.output)
    done = assert_done_once(home, job)
    assert done.attempt == 2
    assert frozen.is_running


def _is_alive(pid: int) -> bool:
    """A process that has ended and whose parent is frozen is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_frozen_training_process_costs_an_attempt_and_not_the_job(home: TrainingHome) -> None:
    """Regression: nobody noticed, and the job was running for ever."""
    job = home.queue_job()
    home.start_worker()
    home.wait_for(lambda: home.checkpointed_step(job) >= 20)
    frozen = home.child_of(job)
    os.kill(frozen, signal.SIGSTOP)
    home.wait_for(lambda: home.status(job).is_finished)
    assert not Path(f"/proc/{frozen}").exists()
    assert assert_done_once(home, job).attempt == 2
    told = " ".join(home.told(job))
    assert "Attempt 1 failed (1 of 3 without progress): the training process gave no sign of life" in told
    assert "Training goes on from step" in told


def test_a_job_over_two_processes_outlives_the_loss_of_one(tmp_path: Path, unbroken: list[dict[str, Any]]) -> None:
    home = TrainingHome(tmp_path, training_processes=2)
    try:
        job = home.queue_job()
        home.start_worker()
        home.wait_for(lambda: home.checkpointed_step(job) >= 40)
        (other,) = _children_of(home.child_of(job))
        os.kill(other, signal.SIGKILL)
        home.wait_for(lambda: home.status(job).is_finished)
        assert assert_done_once(home, job).attempt == 2
        told = " ".join(home.told(job))
        assert "training process 1 was ended by signal 9: its checkpoints were kept" in told
        assert _losses(home.metrics(job)) == pytest.approx(_losses(unbroken), rel=1e-2)
    finally:
        home.close()


def _losses(metrics: list[dict[str, Any]]) -> list[float]:
    return [line["validation_loss"] for line in metrics if line["validation_loss"] is not None]


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def test_a_frozen_training_process_dies_with_its_worker(home: TrainingHome) -> None:
    job = home.queue_job()
    worker = home.start_worker()
    home.wait_for(lambda: home.step(job) >= 10)
    frozen = home.child_of(job)
    os.kill(frozen, signal.SIGSTOP)
    worker.kill()
    home.wait_for(lambda: not _is_alive(frozen))


def test_a_full_disk_costs_an_attempt_and_not_the_job(home: TrainingHome) -> None:
    job = home.queue_job()
    worker = home.start_worker()
    home.wait_for(lambda: home.checkpointed_step(job) >= 20)
    child = worker.child
    assert child is not None
    fill_disk_of(child)
    home.wait_for(lambda: home.status(job).is_finished)
    assert_done_once(home, job)
    told = " ".join(home.told(job))
    assert "Attempt 1 failed (1 of 3 without progress): the disk took no more" in told
    assert "Training goes on from step" in told


def test_two_workers_race_for_jobs_and_a_running_one_is_cancelled(home: TrainingHome) -> None:
    doomed, kept = home.queue_job("doomed"), home.queue_job("kept")
    workers = [home.start_worker(), home.start_worker()]
    home.wait_for(lambda: home.step(doomed) and home.status(kept) is JobStatus.RUNNING)
    wishes.cancel(home.store, doomed.id)
    home.wait_for(lambda: home.status(doomed) is JobStatus.CANCELLED)
    home.wait_for(lambda: home.status(kept).is_finished)
    assert assert_done_once(home, kept).attempt == 1
    assert home.store.get(doomed.id).attempt == 1
    assert home.versions("doomed") == []
    assert [worker.stop() for worker in workers] == [0, 0]


def test_redis_killed_wiped_and_away_loses_no_job(tmp_path: Path, start_redis: StartRedis) -> None:
    redis = start_redis()
    home = TrainingHome(tmp_path, redis_url=redis.url)
    try:
        worker = home.start_worker()
        job, waiting = home.queue_job(), home.queue_job("waiting")
        home.dispatch(job)
        home.dispatch(waiting)
        home.wait_for(lambda: home.step(job))
        redis.kill()
        home.wait_for(lambda: home.status(job).is_finished)
        assert assert_done_once(home, job).attempt == 1
        home.wait_for(lambda: home.step(waiting))
        redis.start()
        home.wait_for(lambda: home.status(waiting).is_finished)
        assert assert_done_once(home, waiting).attempt == 1
        assert worker.stop() == 0
    finally:
        home.close()
