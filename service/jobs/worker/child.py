"""The training process of one attempt: ``python -m adavae.service.jobs.worker.child``; a worker talks to it over pipes.

It reads an order and commands from standard input, reports on standard output, and ends the job itself when
its set is in place, under the job's lock. When standard input closes the worker is gone, and the process ends at once.
"""

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from adavae.model.errors import TrainingInterrupted
from adavae.model.training.readers.columns import Columns
from adavae.service.jobs.records.attempt_files import attempt_directory
from adavae.service.jobs.records.claims import Claim
from adavae.service.jobs.records.job import Job, JobError
from adavae.service.jobs.records.job_errors import ClaimLost
from adavae.service.jobs.records.job_store import JobStore
from adavae.service.jobs.records.object_jobs import ObjectJobs
from adavae.service.jobs.records.open_records import destination_of, open_claims, open_jobs, open_owners
from adavae.service.jobs.records.set_owners import SetOwners
from adavae.service.jobs.records.shared_claims import NameTaken
from adavae.service.jobs.worker.child_protocol import DONE, FAILED, ORPHANED, STOP, STOPPED, SUPERSEDED, Line, Order
from adavae.service.jobs.worker.failures import MISCONFIGURED, failure_of, places_of
from adavae.service.jobs.worker.sent_checkpoints import SentCheckpoints
from adavae.service.jobs.worker.verdict import NotWorthPublishing, judge
from adavae.service.settings import Settings, keep_few_kernels, let_threads_wait_briefly

_SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>

if TYPE_CHECKING:
    from adavae.model.storage.manifest import Manifest
    from adavae.model.training.preparation import TrainingRequest
    from adavae.model.training.progress import Progress


def main() -> None:
    """Carries out one order and ends the process with one of the codes of ``child_protocol``."""
    _die_with_worker()
    pipe = WorkerPipe(_private_stdout())
    commands = os.fdopen(os.dup(0), "rb", buffering=0)  # without a buffer there is no lock to be held at exit
    line = commands.readline()
    if not line:
        sys.exit(ORPHANED)
    order, should_stop = Order.from_line(line), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: should_stop.set())
    threading.Thread(target=_obey, args=(commands, should_stop), daemon=True).start()
    threading.Thread(target=_give_signs_of_life, args=(pipe, order.alive_every_s), daemon=True).start()
    os.nice(order.niceness)
    let_threads_wait_briefly()
    keep_few_kernels()
    sys.exit(carry_out(order, pipe, should_stop))


class WorkerPipe:
    """What the worker hears; the last figures are kept, for they may have to go into the record with the set."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._one_at_a_time = stream, threading.Lock()
        self.last_progress: dict[str, Any] | None = None

    def say(self, kind: str, **values: Any) -> None:
        try:
            with self._one_at_a_time:
                self._stream.write(Line(kind, values).encode())
                self._stream.flush()
        except BrokenPipeError:
            os._exit(ORPHANED)

    def on_progress(self, progress: "Progress") -> None:
        self.last_progress = {"stage": "training", **asdict(progress)}
        self.say("progress", **self.last_progress)

    def on_preparation(self, stage: str, done: int, total: int) -> None:
        self.say("preparing", stage=stage, done=done, total=total)


def carry_out(order: Order, pipe: WorkerPipe, should_stop: threading.Event) -> int:
    """Trains, and says why where that fails: the one place where every error ends.

    Returns:
        The exit code.
    """
    settings = Settings(**order.settings)
    try:
        _train(order, settings, pipe, should_stop)
    except TrainingInterrupted:
        return STOPPED
    except ClaimLost:
        return STOPPED if should_stop.is_set() else SUPERSEDED
    except Exception as exc:
        failure = failure_of(exc, _not_for_clients(order, settings))
        if failure.error.code == "internal_error":  # without its message, which could hold texts
            sys.stderr.write("".join(traceback.format_tb(exc.__traceback__)) + f"{type(exc).__name__}\n")
        elif failure.error is MISCONFIGURED:
            sys.stderr.write(f"{exc}\n")
        pipe.say("failure", **asdict(failure.error), is_final=failure.is_final)
        return FAILED
    return DONE


def _train(order: Order, settings: Settings, pipe: WorkerPipe, should_stop: threading.Event) -> None:
    pipe.on_preparation("load the backbone", 0, 0)  # before torch is imported, which takes seconds
    from adavae.model.training.checkpoint import latest_checkpoint
    from adavae.model.training.checkpoint_name import step_of
    from adavae.model.training.run import train_adapter_set
    from adavae.service.loading import load_pretrained

    store, owners = open_jobs(settings), open_owners(settings)
    job, directory = store.get(order.job_id), store.directory(order.job_id)
    claim = Claim(order.job_id, order.attempt, order.worker, attempt_directory(directory, order.attempt))
    pretrained = load_pretrained(settings, None, weight_format="float16")
    _refuse_other_backbone(job, pretrained.digests)
    _refuse_shadowing(job, owners)
    checkpoint = store.records.inherit(order.job_id, order.attempt, latest_checkpoint)
    pipe.say("started", step=step_of(checkpoint.name) if checkpoint is not None else 0)

    @contextmanager
    def publishing(manifest: "Manifest") -> Iterator[None]:
        judge(manifest.metrics, manifest.config.labels, manifest.training["preset"])
        claims = open_claims(settings, store, claim)
        with owners.publishing(job.adapter_name, manifest.version, job.owner):
            _refuse_shadowing(job, owners)
            with _name_taken_told(), claims.publishing(claim, manifest.version, last_progress=pipe.last_progress):
                yield

    def on_evaluation(stage: str, done: int, total: int) -> None:
        pipe.say("measuring", stage=stage, done=done, total=total)
        if should_stop.is_set():
            raise TrainingInterrupted("stopped while measuring the trained set; checkpoint kept")

    with _sending(store, claim, checkpoint):
        train_adapter_set(
            _request(order, job, settings),
            pretrained,
            directory=claim.directory,
            destination=destination_of(settings, claim),
            resume=True,
            on_preparation=pipe.on_preparation,
            on_progress=pipe.on_progress,
            on_evaluation=on_evaluation,
            on_note=lambda note: pipe.say("note", text=note),
            should_stop=should_stop.is_set,
            publishing=publishing,
            num_processes=settings.training_processes,
        )


@contextmanager
def _sending(store: JobStore, claim: Claim, checkpoint: Path | None) -> Iterator[None]:
    """Sends checkpoints where others cannot read them on this machine's disk."""
    if not isinstance(store.records, ObjectJobs):
        yield
        return
    sent = SentCheckpoints(store.records, claim, None if checkpoint is None else checkpoint.name)
    try:
        yield
    finally:
        sent.end()


@contextmanager
def _name_taken_told() -> Iterator[None]:
    """The name may be taken in the very last moment."""
    try:
        yield
    except NameTaken as exc:
        raise NotWorthPublishing(JobError(code="name_taken", message=str(exc), param="suffix")) from exc


def _request(order: Order, job: Job, settings: Settings) -> "TrainingRequest":
    from adavae.model.training.config import TrainingConfig
    from adavae.model.training.preparation import TrainingRequest
    from adavae.service.loading import open_store

    config = TrainingConfig.from_dict(job.config)
    return TrainingRequest(
        name=job.adapter_name,
        data=Path(order.training_file),
        validation=Path(order.validation_file) if order.validation_file is not None else None,
        config=config,
        columns=Columns(**order.training_columns),
        validation_columns=Columns(**order.validation_columns),
        truncate=True,
        initial=open_store(settings).read(config.init_from) if config.init_from is not None else None,
        command=f"fine-tuning job {job.id}",
        source=job.report.get("training_file", {}).get("filename"),
    )


def _refuse_other_backbone(job: Job, digests: Sequence[str]) -> None:
    if job.backbone_digest not in digests:
        message = (
            f"the job is for backbone {job.backbone_digest[:12]}, the worker has {digests[0][:12]}: give worker and "
            "service the same ADAVAE_BACKBONE and create the job again"
        )
        raise NotWorthPublishing(JobError(code="backbone_mismatch", message=message, param="model"))


def _refuse_shadowing(job: Job, owners: SetOwners) -> None:
    """The name may have been taken since the job was made."""
    if not job.may_shadow and (objection := owners.objection(job.adapter_name, job.owner)) is not None:
        raise NotWorthPublishing(JobError(code="name_taken", message=objection, param="suffix"))


def _not_for_clients(order: Order, settings: Settings) -> dict[str, str]:
    """Paths on this machine, and what stands for them in a message."""
    held_back = {order.validation_file: "validation_file"} if order.validation_file is not None else {}
    return {order.training_file: "training_file", **held_back, **places_of(settings)}


def _die_with_worker() -> None:
    """Also where this process is frozen when its worker dies, and so does not see its standard input close."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SIGNAL_AT_PARENTS_DEATH, signal.SIGKILL)


def _private_stdout() -> BinaryIO:
    """Standard output for our lines alone: what libraries print goes to standard error."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return pipe


def _give_signs_of_life(pipe: WorkerPipe, every_s: float) -> None:
    """For as long as any of its threads runs; what is frozen says nothing."""
    while True:
        time.sleep(every_s)
        pipe.say("alive")


def _obey(commands: RawIOBase, should_stop: threading.Event) -> None:
    for command in commands:
        if command == STOP:
            should_stop.set()
    os._exit(ORPHANED)


if __name__ == "__main__":
    main()
