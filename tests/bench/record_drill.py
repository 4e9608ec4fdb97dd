"""A seeded drill of what workers do with records and sets in an object store, without training and without processes.

    python -m tests.bench.record_drill --faults 1000 --seed 0

Workers are threads, each with a machine of its own, over a store in memory that keeps conditions. Any request to it may
fail, be carried out and not answered, or be the last that a worker makes; a worker may also be frozen in it for longer
than its lease, and go on when another has the job. Meanwhile users cancel, pause and resume. At the end every job is
published once and whole, or not at all where it was cancelled or failed. Writes one JSON object to stdout; what the
processes themselves do under such faults is for ``fault_drill``.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import structlog

from adavae.model.errors import AdaVAEError
from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.claims import Claim
from adavae.service.jobs.records.job import Job, JobError, JobStatus
from adavae.service.jobs.records.job_errors import ClaimLost, JobConflict
from adavae.service.jobs.worker.lookout import Lookout
from adavae.service.objects.errors import StoreError
from adavae.service.objects.object_store import ObjectStore
from adavae.service.objects.shared_sets import SharedSets
from tests.bench.drill_verdict import Summary
from tests.unit.service.jobs.job_home import new_job
from tests.unit.service.jobs.shared_home import Machine
from tests.unit.service.objects.memory_objects import Bucket

_NUM_WORKERS, _NUM_OPEN, _NUM_STEPS = 6, 8, 6
_LEASE_S, _FAULT_SHARE = 0.4, 0.02
_ENDS = ("The job has succeeded", "The job is cancelled", "The job has failed")

Result = TypeVar("Result")


class Killed(BaseException):
    """A process is gone: nothing catches this but who starts the next one."""


class Luck:
    """What happens to requests, and how often it did."""

    def __init__(self, seed: int) -> None:
        self.done, self.is_on = Counter[str](), True
        self._random, self._lock = random.Random(seed), threading.Lock()

    def draw(self) -> str | None:
        with self._lock:
            if not self.is_on or self._random.random() >= _FAULT_SHARE:
                return None
            kinds = ("refused", "killed before", "killed after", "answer lost", "frozen")
            kind = self._random.choice(kinds)
            self.done[kind] += 1
            return kind


class UnluckyStore(ObjectStore):
    """A store as one worker has it."""

    luck: Luck

    def _told(self, work: Callable[[], Result]) -> Result:
        kind = self.luck.draw()
        if kind == "refused":
            raise StoreError("unreachable", self.address, "error sending request")
        if kind == "killed before":
            raise Killed
        if kind == "frozen":
            time.sleep(3 * _LEASE_S)
        result = super()._told(work)
        if kind == "killed after":
            raise Killed
        if kind == "answer lost":
            raise StoreError("unreachable", self.address, "operation timed out")
        return result


class UnluckyBucket(Bucket):
    """``opened`` gives a store with bad luck."""

    def __init__(self, luck: Luck) -> None:
        super().__init__()
        self._luck = luck

    def opened(self) -> ObjectStore:
        store = UnluckyStore("memory://bucket", self.library, self.library)
        store.luck = self._luck
        return store


class Drill:
    """One drill over one bucket."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root, self._seed, self._random = root, seed, random.Random(seed)
        self._luck = Luck(seed)
        self._unlucky = UnluckyBucket(self._luck)
        self._lucky = Bucket()
        self._lucky.library = self._unlucky.library
        self._user = Machine(self._lucky, root / "user")
        self._is_over, self._numbers, self._lock = threading.Event(), 0, threading.Lock()
        self._jobs: list[Job] = []
        self._doomed: set[str] = set()

    def run(self, num_faults: int) -> Summary:
        began_at = time.monotonic()
        workers = [threading.Thread(target=self._work, daemon=True) for _ in range(_NUM_WORKERS)]
        for worker in workers:
            worker.start()
        while self._luck.done.total() < num_faults:
            self._top_up()
            self._wish()
            time.sleep(0.05)
        self._luck.is_on = False
        while any(not self._settled(job) for job in self._jobs):
            time.sleep(0.05)
        self._is_over.set()
        for worker in workers:
            worker.join()
        ended = [self._user.store.get(job.id) for job in self._jobs]
        return Summary(
            seed=self._seed,
            faults=dict(self._luck.done),
            jobs=len(ended),
            statuses=dict(Counter(str(job.status) for job in ended)),
            attempts=sum(job.attempt for job in ended),
            seconds=round(time.monotonic() - began_at, 1),
            violations=self._violations(ended),
        )

    def _top_up(self) -> None:
        while sum(not self._user.store.get(job.id).status.is_finished for job in self._jobs) < _NUM_OPEN:
            new = new_job(adapter_name=f"set-{len(self._jobs)}")
            self._jobs.append(self._user.store.create(new, request_digest="d", max_open=100))

    def _wish(self) -> None:
        job, wish = self._random.choice(self._jobs), self._random.choice((wishes.pause, wishes.resume, wishes.cancel))
        if wish is wishes.cancel and self._random.random() < 0.9:
            return
        try:
            wish(self._user.store, job.id)
        except JobConflict:
            return
        if wish is wishes.cancel:
            self._doomed.add(job.id)

    def _settled(self, job: Job) -> bool:
        current = self._user.store.get(job.id)
        if current.status is JobStatus.PAUSED:
            wishes.resume(self._user.store, job.id)
        return current.status.is_finished

    def _work(self) -> None:
        """One worker after the other, as something starts them again."""
        while not self._is_over.is_set():
            with self._lock:
                self._numbers += 1
                root = self._root / f"machine-{self._numbers}"
            try:
                self._live(Machine(self._unlucky, root))
            except Killed:
                continue

    def _live(self, machine: Machine) -> None:
        lookout = Lookout(machine.claims, _LEASE_S)
        while not self._is_over.is_set():
            time.sleep(0.02)
            try:
                for waiting in lookout.view().waiting:
                    claim = machine.claims.claim(waiting.job_id, "w", abandoned=waiting.abandoned)
                    if claim is not None:
                        self._attempt(machine, claim)
                        break
            except (AdaVAEError, OSError):
                continue

    def _attempt(self, machine: Machine, claim: Claim) -> None:
        """As supervisor and training process do it together."""
        try:
            self._train(machine, claim)
        except ClaimLost:
            return
        except (AdaVAEError, OSError) as exc:
            machine.claims.crashed(claim, JobError(code="c", message=type(exc).__name__))

    def _train(self, machine: Machine, claim: Claim) -> None:
        found = machine.records.inherit(claim.job_id, claim.attempt, lambda folder: max(folder.iterdir(), default=None))
        first = 0 if found is None else int(found.stem.rpartition("-")[2])
        for step in range(first + 1, _NUM_STEPS + 1):
            time.sleep(0.01)
            job = machine.claims.renew(claim)
            if job.wish is not None:
                machine.claims.stopped(claim)
                return
            figures = {"step": step, "total_steps": _NUM_STEPS, "loss": 1.0 / step, "eta_s": 0.0}
            machine.claims.report_progress(claim, figures, is_event=True)
            path = claim.directory / "checkpoints" / f"step-{step:09d}.safetensors"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"%d" % step)
            machine.records.send_checkpoint(claim.job_id, claim.attempt, path, claim.directory / "metrics.jsonl", 2)
        minute, second = divmod(claim.attempt % 3600, 60)
        version = machine.make_set(job_name(machine, claim), f"2026-01-01T00:{minute:02d}:{second:02d}+00:00")
        with machine.claims.publishing(claim, version):
            pass

    def _violations(self, ended: list[Job]) -> list[str]:
        sets = SharedSets(self._lucky.opened(), self._root / "checked", [], 10**9)
        found = {
            entry.name: [other.version for other in sets.list() if other.name == entry.name] for entry in sets.list()
        }
        problems = []
        for job in ended:
            versions = [f"{job.adapter_name}@{version}" for version in found.get(job.adapter_name, [])]
            if versions != ([job.adapter] if job.status is JobStatus.SUCCEEDED else []):
                problems.append(f"{job.id} is {job.status}, made {job.adapter}, and there are {versions}")
            if job.status is JobStatus.CANCELLED and job.id not in self._doomed:
                problems.append(f"{job.id} is cancelled, and nobody asked for it")
            told = [event.message for event in self._user.store.history(job.id).read()]
            if len([message for message in told if message.startswith(_ENDS)]) != 1:
                problems.append(f"{job.id} was told to have ended: {told[-3:]}")
            if job.adapter is not None:
                sets.read(job.adapter)
        lost = set(self._user.store.ids()) ^ {job.id for job in ended}
        return problems + sorted(f"unknown: {each}" for each in lost)


def job_name(machine: Machine, claim: Claim) -> str:
    return machine.store.get(claim.job_id).adapter_name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory(prefix="drill-") as directory:
        summary = Drill(Path(directory), options.seed).run(options.faults)
    sys.stdout.write(json.dumps(asdict(summary)) + "\n")
    sys.exit(1 if summary.violations else 0)


if __name__ == "__main__":
    main()
