"""One attempt from claim to end, with processes that succeed, fail, crash, hang, or lose their job."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from adavae.model.errors import StorageFull
from adavae.service.errors import ServiceError
from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.claims import Claims, Lease
from adavae.service.jobs.records.job import Job, JobStatus, Wish
from adavae.service.jobs.worker import supervisor as supervisor_module
from adavae.service.jobs.worker.child_process import ChildProcess
from adavae.service.jobs.worker.held_claim import HeldClaim
from adavae.service.jobs.worker.supervisor import Outcome, Supervisor
from tests.unit.service.jobs.job_home import JobHome, home
from tests.unit.service.jobs.running import DEADLINE_S, Files, supervisor, until

__all__ = ["home"]

LONG = ("train", "100000")


class Children:
    """Every process that was started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[ChildProcess] = []
        start = ChildProcess.start

        async def remembered(*arguments: object) -> ChildProcess:
            child = await start(*arguments)  # type: ignore[arg-type]
            self.started.append(child)
            return child

        monkeypatch.setattr(ChildProcess, "start", remembered)

    @property
    def are_gone(self) -> bool:
        return all(not Path(f"/proc/{child.pid}").exists() for child in self.started)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    return Children(monkeypatch)


async def run(home: JobHome, job: Job, trainer: Supervisor, stopping: asyncio.Event | None = None) -> Outcome:
    async with asyncio.timeout(DEADLINE_S):
        return await trainer.run(home.claim(job), stopping or asyncio.Event())


async def run_until_training(
    home: JobHome, job: Job, trainer: Supervisor, then: Callable[[], object], stopping: asyncio.Event | None = None
) -> Outcome:
    """Does ``then`` when the process has said its first figures."""
    running = asyncio.create_task(run(home, job, trainer, stopping))
    await until(lambda: home.store.get(job.id).progress is not None or running.done())
    then()
    return await running


@pytest.mark.asyncio
async def test_what_a_process_says_is_in_history_record_and_metrics(home: JobHome) -> None:
    job, registry = home.queue_job(), CollectorRegistry()
    assert await run(home, job, supervisor(home, "train", "3", registry=registry)) is Outcome.SUCCEEDED
    done = home.store.get(job.id)
    assert (done.status, done.adapter, done.wish) == (JobStatus.SUCCEEDED, "mine@v1", None)
    assert done.progress is not None and done.progress["step"] == 3
    assert home.told(job)[2:9] == [
        "Attempt 1 begins",
        "Getting ready: read texts",
        "About the data: a column is not read",
        "The training begins: step 0 of 3",
        "Step 1/3: training loss=1.000",
        "Step 2/3: training loss=0.500",
        "Step 3/3: training loss=0.333",
    ]
    assert home.told(job)[-1] == "The job has succeeded"
    assert registry.get_sample_value("adavae_training_steps_total") == 3
    assert registry.get_sample_value("adavae_training_loss", {"part": "total"}) == pytest.approx(1 / 3)
    assert registry.get_sample_value("adavae_training_attempts_total", {"outcome": "succeeded"}) == 1
    assert registry.get_sample_value("adavae_training_tokens_per_second") == 0


@pytest.mark.asyncio
async def test_a_job_moves_before_its_first_step(home: JobHome) -> None:
    """With large texts or batches, nothing was to be seen for minutes."""
    job = home.queue_job()
    running = asyncio.create_task(run(home, job, supervisor(home, "getting-ready")))
    await until(lambda: "Getting ready: tokenize texts" in home.told(job))
    await until(lambda: (home.store.get(job.id).progress or {}).get("stage") == "preparing: tokenize texts")
    now = home.store.get(job.id)
    assert now.progress is not None
    expected = {"step": 0, "total_steps": 0, "prepared": 0, "to_prepare": 2000, "eta_s": None}
    assert expected.items() <= now.progress.items()
    assert now.estimated_finish is None
    wishes.cancel(home.store, job.id)
    assert await running is Outcome.CANCELLED


@pytest.mark.asyncio
async def test_a_job_is_cancelled_while_it_runs(home: JobHome, children: Children) -> None:
    job = home.queue_job()
    outcome = await run_until_training(home, job, supervisor(home, *LONG), lambda: wishes.cancel(home.store, job.id))
    cancelled = home.store.get(job.id)
    assert (outcome, cancelled.status, cancelled.wish) == (Outcome.CANCELLED, JobStatus.CANCELLED, None)
    assert children.are_gone
    assert not home.adapters.exists()


@pytest.mark.asyncio
async def test_a_process_that_obeys_nothing_is_cancelled_too(home: JobHome, children: Children) -> None:
    job, trainer = home.queue_job(), supervisor(home, "silent")
    running = asyncio.create_task(run(home, job, trainer))
    await until(lambda: children.started)
    wishes.cancel(home.store, job.id)
    assert await running is Outcome.CANCELLED
    assert children.are_gone


@pytest.mark.asyncio
async def test_a_paused_job_keeps_its_checkpoint(home: JobHome) -> None:
    job = home.queue_job()
    outcome = await run_until_training(home, job, supervisor(home, *LONG), lambda: wishes.pause(home.store, job.id))
    assert (outcome, home.store.get(job.id).status) == (Outcome.PAUSED, JobStatus.PAUSED)
    wishes.resume(home.store, job.id)
    assert await run(home, job, supervisor(home, "train", "1")) is Outcome.SUCCEEDED
    assert home.store.get(job.id).adapter == "mine@v2"


@pytest.mark.asyncio
@pytest.mark.parametrize("behaviour", [LONG, ("silent",)])
async def test_a_worker_that_stops_hands_its_job_back(
    home: JobHome, children: Children, behaviour: tuple[str, ...]
) -> None:
    job, stopping = home.queue_job(), asyncio.Event()
    running = asyncio.create_task(run(home, job, supervisor(home, *behaviour, shutdown_s=0.5), stopping))
    await until(lambda: children.started)
    stopping.set()
    assert await running is Outcome.HANDED_BACK
    assert home.store.get(job.id).status is JobStatus.QUEUED
    assert "queued again" in home.told(job)[-1]
    assert children.are_gone


@pytest.mark.asyncio
@pytest.mark.parametrize("behaviour", [("train", "100000"), ("silent",), ("locked",)])
async def test_a_frozen_process_is_noticed_and_its_job_tried_again(
    home: JobHome, children: Children, behaviour: tuple[str, ...]
) -> None:
    """Regression: it was never noticed. One of these holds its job's lock while it is frozen."""
    job = home.queue_job()
    running = asyncio.create_task(run(home, job, supervisor(home, *behaviour, training_silence_s=1)))
    await until(lambda: children.started)
    if behaviour == LONG:
        await until(lambda: home.store.get(job.id).progress is not None)
        os.kill(children.started[0].pid, signal.SIGSTOP)
    assert await running is Outcome.CRASHED
    assert children.are_gone
    assert home.store.get(job.id).status is JobStatus.QUEUED
    assert "no sign of life for 1 s (ADAVAE_TRAINING_SILENCE_S)" in home.told(job)[-1]
    assert await run(home, job, supervisor(home, "train", "1")) is Outcome.SUCCEEDED


@pytest.mark.asyncio
async def test_a_slow_process_that_gives_signs_of_life_goes_on(home: JobHome) -> None:
    job = home.queue_job()
    assert await run(home, job, supervisor(home, "slow", training_silence_s=3)) is Outcome.SUCCEEDED
    assert home.store.get(job.id).attempt == 1


@pytest.mark.asyncio
async def test_a_worker_that_listens_to_nobody_calls_nobody_frozen(
    home: JobHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume that hangs while a line is written down is not the process's silence."""
    job, report = home.queue_job(), Claims.report_progress
    is_stuck, may_go_on = threading.Event(), threading.Event()

    def stuck(*arguments: object, **fields: object) -> None:
        is_stuck.set()
        assert may_go_on.wait(DEADLINE_S)
        report(*arguments, **fields)  # type: ignore[arg-type]

    monkeypatch.setattr(Claims, "report_progress", stuck)
    silence_s = 3  # within which the process has to have started, on a machine that does other things too
    running = asyncio.create_task(run(home, job, supervisor(home, *LONG, training_silence_s=silence_s)))
    num_looks, look = 0, HeldClaim._look

    def counted(held: HeldClaim, *, renews: bool) -> object:
        nonlocal num_looks
        num_looks += 1
        return look(held, renews=renews)

    monkeypatch.setattr(HeldClaim, "_look", counted)
    await until(is_stuck.is_set)
    num_before = num_looks
    await until(lambda: num_looks - num_before > silence_s / supervisor_module._POLL_S + 2)
    assert not running.done()
    may_go_on.set()
    wishes.cancel(home.store, job.id)
    assert await running is Outcome.CANCELLED


@pytest.mark.asyncio
async def test_bad_data_fails_at_once_and_for_good(home: JobHome) -> None:
    job = home.queue_job()
    assert await run(home, job, supervisor(home, "refuse")) is Outcome.FAILED
    failed = home.store.get(job.id)
    assert failed.error is not None
    assert (failed.attempt, failed.error.code, failed.error.message) == (1, "invalid_training_file", "bad line")
    assert home.store.history(job.id).read()[-1].level == "error"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("behaviour", "code", "said"),
    [
        (("fail",), "storage_full", "no room"),
        (("exit", "4"), "internal_error", "exit code 4"),
        (("exit", "0"), "internal_error", "published nothing"),
    ],
)
async def test_what_may_pass_is_tried_three_times(
    home: JobHome, behaviour: tuple[str, ...], code: str, said: str
) -> None:
    job = home.queue_job()
    for _ in range(2):
        assert await run(home, job, supervisor(home, *behaviour)) is Outcome.CRASHED
        assert home.store.get(job.id).status is JobStatus.QUEUED
    assert await run(home, job, supervisor(home, *behaviour)) is Outcome.FAILED
    error = home.store.get(job.id).error
    assert error is not None
    assert error.code == code
    assert said in error.message


@pytest.mark.asyncio
async def test_data_that_cannot_be_had_just_now_is_tried_again(home: JobHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: a full disk of the worker's machine ended the job for good, and its path was shown."""

    def full(_files: Files, _file_id: str) -> Path:
        raise StorageFull(f"{home.settings().files}/fetched/file-1/content.tsv needs more bytes than there are")

    job = home.queue_job()
    with monkeypatch.context() as patched:
        patched.setattr(Files, "path_of", full)
        assert await run(home, job, supervisor(home, "train", "1")) is Outcome.CRASHED
    told = home.told(job)[-1]
    assert "(1 of 3 without progress): files/fetched/file-1/content.tsv needs more bytes" in told
    assert await run(home, job, supervisor(home, "train", "1")) is Outcome.SUCCEEDED


@pytest.mark.asyncio
async def test_a_process_that_is_killed_ran_out_of_memory(home: JobHome, children: Children) -> None:
    job = home.queue_job()
    outcome = await run_until_training(
        home, job, supervisor(home, *LONG), lambda: os.kill(children.started[0].pid, signal.SIGKILL)
    )
    assert outcome is Outcome.CRASHED
    assert "memory runs out: choose a smaller batch_size" in home.told(job)[-1]


@pytest.mark.asyncio
async def test_what_a_failing_process_complains_of_is_in_the_log(home: JobHome) -> None:
    job = home.queue_job()
    with capture_logs() as logs:
        await run(home, job, supervisor(home, "shout"))
    (said,) = (entry for entry in logs if entry["event"] == "training_process_said")
    assert (said["job"], said["exit_code"], said["lines"]) == (job.id, 3, ["something terrible"])


@pytest.mark.asyncio
async def test_an_attempt_that_lost_its_job_ends_and_changes_nothing(home: JobHome, children: Children) -> None:
    job = home.queue_job()

    def take_over() -> None:
        assert home.take_over(job) is not None

    assert await run_until_training(home, job, supervisor(home, *LONG), take_over) is Outcome.SUPERSEDED
    assert children.are_gone
    assert (home.store.get(job.id).attempt, home.store.get(job.id).status) == (2, JobStatus.RUNNING)
    told = home.told(job)
    assert told[-1] == "Attempt 2 begins"


@pytest.mark.asyncio
async def test_the_lease_of_a_running_job_is_renewed(home: JobHome) -> None:
    job = home.queue_job()
    leases = set()

    def see() -> bool:
        leases.add(home.claims.lease(home.store.get(job.id)))
        return len(leases) >= 3

    running = asyncio.create_task(run(home, job, supervisor(home, *LONG)))
    await until(lambda: home.store.get(job.id).status is JobStatus.RUNNING and see())
    wishes.cancel(home.store, job.id)
    assert await running is Outcome.CANCELLED


class SlowFiles:
    """Data that comes when it may, as out of a slow object store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_asked, self.may_come, path_of = threading.Event(), threading.Event(), Files.path_of

        def slowly(files: Files, file_id: str) -> Path:
            self.is_asked.set()
            self.may_come.wait(DEADLINE_S)
            return path_of(files, file_id)

        monkeypatch.setattr(Files, "path_of", slowly)


@pytest.fixture
def slow_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowFiles]:
    files = SlowFiles(monkeypatch)
    yield files
    files.may_come.set()


@pytest.mark.asyncio
async def test_the_lease_is_renewed_while_the_data_comes(home: JobHome, slow_files: SlowFiles) -> None:
    """Regression: with a slow object store another worker took the job over, ten of them in a row ended it."""
    job = home.queue_job()
    running = asyncio.create_task(run(home, job, supervisor(home, "train", "1")))
    leases: set[Lease] = set()

    def see() -> bool:
        leases.add(home.claims.lease(home.store.get(job.id)))
        return len(leases) >= 4

    await until(slow_files.is_asked.is_set)
    await until(see)
    slow_files.may_come.set()
    assert await running is Outcome.SUCCEEDED


@pytest.mark.asyncio
@pytest.mark.parametrize("what", ["cancel", "pause", "stop", "lost"])
async def test_an_attempt_whose_data_still_comes_is_given_up_at_once(
    home: JobHome, children: Children, slow_files: SlowFiles, what: str
) -> None:
    job, stopping = home.queue_job(validation_file="file-2"), asyncio.Event()
    running = asyncio.create_task(run(home, job, supervisor(home, *LONG), stopping))
    await until(slow_files.is_asked.is_set)
    wish: Mapping[str, Callable[[], object]] = {
        "cancel": lambda: wishes.cancel(home.store, job.id),
        "pause": lambda: wishes.pause(home.store, job.id),
        "stop": stopping.set,
        "lost": lambda: home.take_over(job),
    }
    wish[what]()
    outcome, status = {
        "cancel": (Outcome.CANCELLED, JobStatus.CANCELLED),
        "pause": (Outcome.PAUSED, JobStatus.PAUSED),
        "stop": (Outcome.HANDED_BACK, JobStatus.QUEUED),
        "lost": (Outcome.SUPERSEDED, JobStatus.RUNNING),
    }[what]
    assert await running is outcome
    assert home.store.get(job.id).status is status
    assert not children.started
    slow_files.may_come.set()  # the loop waits for its threads before it closes


@pytest.mark.asyncio
async def test_a_volume_that_is_away_for_a_while_ends_no_training(
    home: JobHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = home.queue_job()
    num_failures = 0

    def away(*_: object, **__: object) -> None:
        nonlocal num_failures
        num_failures += 1
        raise OSError("stale file handle")

    running = asyncio.create_task(run(home, job, supervisor(home, *LONG)))
    await until(lambda: home.store.get(job.id).progress is not None)
    with monkeypatch.context() as patched:
        for name in ("renew", "report_progress"):
            patched.setattr(home.claims, name, away)
        await until(lambda: num_failures >= 5)
    assert not running.done()
    wishes.cancel(home.store, job.id)
    assert await running is Outcome.CANCELLED


@pytest.mark.asyncio
async def test_a_worker_that_is_torn_away_leaves_no_process_behind(home: JobHome, children: Children) -> None:
    job = home.queue_job()
    running = asyncio.create_task(run(home, job, supervisor(home, *LONG)))
    await until(lambda: children.started)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert children.are_gone


@pytest.mark.asyncio
async def test_a_file_that_is_gone_fails_the_job(home: JobHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: object, file_id: str) -> Path:
        raise ServiceError(404, "file_not_found", f"there is no file {file_id}")

    monkeypatch.setattr(Files, "path_of", gone)
    job = home.queue_job()
    assert await run(home, job, supervisor(home, "train")) is Outcome.FAILED
    error = home.store.get(job.id).error
    assert error is not None and "there is no file file-1" in error.message


@pytest.mark.asyncio
async def test_a_wish_that_comes_while_it_publishes_is_too_late_or_in_time_but_never_both(home: JobHome) -> None:
    job = home.queue_job()
    running = asyncio.create_task(run(home, job, supervisor(home, "train", "1")))
    await until(lambda: home.store.get(job.id).progress is not None)
    try:
        wish = wishes.cancel(home.store, job.id).wish
    except ServiceError:
        wish = None
    outcome = await running
    job = home.store.get(job.id)
    assert (job.status, outcome) == (
        (JobStatus.CANCELLED, Outcome.CANCELLED) if wish is Wish.CANCEL else (JobStatus.SUCCEEDED, Outcome.SUCCEEDED)
    )
    assert home.adapters.exists() is (wish is None)
