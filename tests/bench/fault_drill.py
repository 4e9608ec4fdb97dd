"""A seeded drill: two workers, a Redis and jobs, and one random fault after another.

    python -m tests.bench.fault_drill --faults 100 --seed 0
    python -m tests.bench.fault_drill --faults 100 --seed 0 --store
    python -m tests.bench.fault_drill --faults 100 --seed 0 --ray    # tasks of a Ray cluster train: ``ray_drill``

At the end every job is done exactly once, or cancelled if that was requested: none is lost, done twice or half
published, and each has the same last figures as an undisturbed run. Writes one JSON object to stdout.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import torch

from adavae.service.jobs.records import wishes
from adavae.service.jobs.records.job import Job, JobStatus
from adavae.service.jobs.records.job_errors import JobConflict
from tests.bench.drill_verdict import Summary, violations
from tests.integration.faulty_store import FaultyStore, faulty_store
from tests.integration.redis_server import RedisServer
from tests.integration.s3_server import s3_server, variables
from tests.integration.store_home import StoreHome
from tests.integration.training_home import TrainingHome, WorkerProcess, fill_disk_of

NUM_STEPS = 100
_NUM_OPEN = 3
_LEASE_S = 1.5
_STORE_LEASE_S, _STORE_TIMEOUT_S = 4.0, 5.0
_LONGEST_PAUSE_S = 1.0
_PATIENCE_S = 20.0
_POLL_S = 0.02


class Trainer(Protocol):
    """A process that works on one job at a time, by a process of its own."""

    @property
    def child(self) -> int | None: ...

    def kill(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


class Drill:
    """One drill over one volume; who trains there, and what else may break, is for subclasses to say."""

    def __init__(self, home: TrainingHome, seed: int) -> None:
        self._home, self._random, self._seed = home, random.Random(seed), seed
        self._jobs: list[Job] = []
        self._doomed: set[str] = set()
        self._faults: list[Callable[[], bool]] = [
            self._kill_worker,
            self._stop_worker,
            self._freeze_worker,
            self._kill_training,
            self._freeze_training,
            self._fill_disk,
            self._damage_checkpoint,
            self._cancel_job,
            self._pause_job,
            self._strike_while_publishing,
        ]

    @property
    def _workers(self) -> Sequence[Trainer]:
        raise NotImplementedError

    def _replaced(self, worker: Trainer) -> None:
        """What ends a worker has ended this one: another begins, where nobody else sees to that."""
        raise NotImplementedError

    def _stop_worker(self) -> bool:
        raise NotImplementedError

    def _stop_all(self) -> list[int]:
        """Exit codes."""
        raise NotImplementedError

    def run(self, num_faults: int) -> Summary:
        """Every kind of fault in turn, shuffled each round, then the remaining work."""
        started_at, done, order = time.monotonic(), Counter[str](), list[Callable[[], bool]]()
        while done.total() < num_faults:
            self._top_up()
            self._wait_for_progress()
            time.sleep(self._random.uniform(0.0, _LONGEST_PAUSE_S))
            if not order:
                order = self._random.sample(self._faults, len(self._faults))
            fault = order.pop()
            if fault():
                done[fault.__name__.removeprefix("_")] += 1
        self._home.wait_for(lambda: all(self._is_over(job) for job in self._jobs))
        self._home.wait_for(lambda: not self._home.leftovers())
        exit_codes = self._stop_all()
        ended = [self._home.store.get(job.id) for job in self._jobs]
        return Summary(
            seed=self._seed,
            faults=dict(done),
            jobs=len(ended),
            statuses=dict(Counter(str(job.status) for job in ended)),
            attempts=sum(job.attempt for job in ended),
            seconds=round(time.monotonic() - started_at, 1),
            violations=[
                *violations(self._home, ended, self._doomed, NUM_STEPS),
                *(f"a worker ended with exit code {code}" for code in exit_codes if code),
            ],
        )

    def _top_up(self) -> None:
        """Jobs for both workers, and one waiting; every second one is dispatched, the others must be found."""
        while len(self._open()) < _NUM_OPEN:
            job = self._home.queue_job(f"set-{len(self._jobs)}", max_steps=NUM_STEPS)
            self._jobs.append(job)
            if self._random.random() < 0.5:
                self._home.dispatch(job)

    def _open(self) -> list[Job]:
        jobs = [self._home.store.get(job.id) for job in self._jobs]
        return [job for job in jobs if not job.status.is_finished]

    def _is_over(self, job: Job) -> bool:
        """Whether a job is finished; resumes it if it is paused."""
        if self._home.status(job) is JobStatus.PAUSED:
            wishes.resume(self._home.store, job.id)
        return self._home.status(job).is_finished

    def _wait_for_progress(self) -> None:
        """Faults should hit running jobs, and not always the start of processes."""
        before, deadline_s = self._progress(), time.monotonic() + _PATIENCE_S
        while self._progress() == before and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)

    def _progress(self) -> list[tuple[str, JobStatus, int]]:
        return [(job.id, job.status, self._home.store.records.newest_step(job.id)) for job in self._open()]

    def _kill_worker(self) -> bool:
        if (worker := self._any_worker()) is None:
            return False
        worker.kill()
        self._replaced(worker)
        return True

    def _any_worker(self) -> Trainer | None:
        """None where there is none at the moment."""
        workers = self._workers
        return self._random.choice(workers) if workers else None

    def _shuffled_workers(self) -> Sequence[Trainer]:
        workers = self._workers
        return self._random.sample(workers, len(workers))

    def _freeze_worker(self) -> bool:
        """Freezes a worker until another has its job; its training process continues."""
        if (worker := self._any_worker()) is None:
            return False
        self._freeze(worker, self._job_of(worker.child) if worker.child is not None else None)
        return True

    def _freeze(self, worker: Trainer, job: Job | None) -> None:
        worker.freeze()
        deadline_s = time.monotonic() + (_PATIENCE_S if job is not None else _LEASE_S)
        while time.monotonic() < deadline_s and not (job is not None and self._is_taken_over(job)):
            time.sleep(_POLL_S)
        time.sleep(self._random.uniform(0.0, 2.0) * _LEASE_S)
        worker.thaw()

    def _is_taken_over(self, job: Job) -> bool:
        now = self._home.store.get(job.id)
        return now.attempt != job.attempt or now.status.is_finished

    def _kill_training(self) -> bool:
        return self._strike_training(_kill)

    def _freeze_training(self) -> bool:
        """Nobody thaws it: its worker has to notice."""
        return self._strike_training(_freeze)

    def _fill_disk(self) -> bool:
        return self._strike_training(fill_disk_of)

    def _strike_training(self, strike: Callable[[int], None]) -> bool:
        """Strikes a run that has progressed since its last setback: three in a row would rightly fail it."""
        for worker in self._shuffled_workers():
            child = worker.child
            job = self._job_of(child) if child is not None else None
            if child is not None and job is not None and self._has_got_on(job):
                strike(child)
                return True
        return False

    def _job_of(self, child: int) -> Job | None:
        """The running job whose lease names the worker that is the process's parent."""
        parent = _parent(child)
        for job in self._open():
            if job.status is JobStatus.RUNNING and self._home.worker_of(job).split(":")[1] == parent:
                return job
        return None

    def _has_got_on(self, job: Job) -> bool:
        return self._home.store.records.newest_step(job.id) > self._home.set_back_at(job)

    def _damage_checkpoint(self) -> bool:
        """Damages the newest checkpoint of a run, and kills its worker."""
        for worker in self._shuffled_workers():
            job = self._job_of(worker.child) if worker.child is not None else None
            if job is None:
                continue
            worker.kill()
            self._home.damage_checkpoint(job)
            self._replaced(worker)
            return True
        return False

    def _cancel_job(self) -> bool:
        job = self._random.choice(self._jobs[-_NUM_OPEN:])
        try:
            wishes.cancel(self._home.store, job.id)
        except JobConflict:
            return False
        self._doomed.add(job.id)
        return True

    def _pause_job(self) -> bool:
        job = self._random.choice(self._jobs[-_NUM_OPEN:])
        try:
            wishes.pause(self._home.store, job.id)
        except JobConflict:
            return False
        time.sleep(self._random.uniform(0.0, 1.0))
        with contextlib.suppress(JobConflict):  # if it has ended meanwhile
            wishes.resume(self._home.store, job.id)
        return True

    def _strike_while_publishing(self) -> bool:
        """Kills or freezes the worker, or cancels the job, about when the set is published."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline_s:
            for worker in self._workers:
                job = self._job_of(worker.child) if worker.child is not None else None
                if job is not None and (job.progress or {}).get("step", 0) >= NUM_STEPS:
                    time.sleep(self._random.uniform(0.0, 0.5))
                    self._strike(worker, job)
                    return True
            time.sleep(_POLL_S / 4)
        return False

    def _strike(self, worker: Trainer, job: Job) -> None:
        match self._random.choice(("kill", "freeze", "cancel")):
            case "kill":
                worker.kill()
                self._replaced(worker)
            case "freeze":
                self._freeze(worker, job)
            case "cancel":
                try:
                    wishes.cancel(self._home.store, job.id)
                except JobConflict:
                    return
                self._doomed.add(job.id)


class WorkerDrill(Drill):
    """Two ``adavae worker`` and a Redis; with a ``store`` its bad days, too."""

    def __init__(self, home: TrainingHome, redis: RedisServer, seed: int, store: FaultyStore | None = None) -> None:
        super().__init__(home, seed)
        self._redis, self._store = redis, store
        self._started: list[WorkerProcess] = [home.start_worker(), home.start_worker()]
        self._faults += [self._kill_redis, self._wipe_redis, self._freeze_redis]
        if store is not None:
            self._faults += [self._throttle, self._slow_down, self._cut_bodies, self._lose_answers]
            self._faults += [self._answer_old_lists, self._take_store_away]

    @property
    def _workers(self) -> Sequence[WorkerProcess]:
        return self._started

    def _replaced(self, worker: Trainer) -> None:
        self._started[self._started.index(worker)] = self._home.start_worker()

    def _stop_worker(self) -> bool:
        worker = self._random.choice(self._started)
        assert worker.stop() == 0, worker.output
        self._replaced(worker)
        return True

    def _stop_all(self) -> list[int]:
        return [worker.stop() for worker in self._started]

    def _kill_redis(self) -> bool:
        self._redis.kill()
        time.sleep(self._random.uniform(0.0, 1.5))
        self._redis.start()
        return True

    def _wipe_redis(self) -> bool:
        _wipe(self._redis)
        return True

    def _freeze_redis(self) -> bool:
        self._redis.hang()
        time.sleep(self._random.uniform(0.5, 2.0))
        self._redis.resume()
        return True

    def _throttle(self) -> bool:
        return self._in_store("num_throttled", self._random.randrange(5, 100), 0)

    def _slow_down(self) -> bool:
        return self._in_store("delay_s", self._random.uniform(0.1, 1.0), 0.0)

    def _cut_bodies(self) -> bool:
        return self._in_store("num_cut", self._random.randrange(1, 30), 0)

    def _lose_answers(self) -> bool:
        return self._in_store("num_lost", self._random.randrange(1, 10), 0)

    def _answer_old_lists(self) -> bool:
        return self._in_store("is_stale", True, False)

    def _take_store_away(self) -> bool:
        return self._in_store("is_gone", True, False)

    def _in_store(self, what: str, value: float | bool, usual: float | bool) -> bool:
        """For some seconds, in which this drill asks the store nothing itself."""
        setattr(self._store, what, value)
        time.sleep(self._random.uniform(1.0, 4.0))
        setattr(self._store, what, usual)
        return True


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _freeze(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)


def _wipe(redis: RedisServer) -> None:
    with socket.create_connection(("127.0.0.1", redis.port), timeout=_PATIENCE_S) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(64) == b"+OK\r\n"


def _parent(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[1]
    except OSError:
        return None


def drill(root: Path, redis: RedisServer, *, num_faults: int, seed: int) -> Summary:
    """Runs one drill; every process it started has ended when it returns."""
    home = TrainingHome(root, redis_url=redis.url, lease_s=_LEASE_S)
    try:
        return WorkerDrill(home, redis, seed).run(num_faults)
    finally:
        home.close()


def store_drill(root: Path, redis: RedisServer, *, num_faults: int, seed: int) -> Summary:
    """As ``drill``, with everything in an S3 server's bucket, which has bad days of its own."""
    with s3_server() as server, faulty_store(server.url) as proxy:
        server.make_bucket("drill")
        os.environ.update(variables(proxy.url))
        fields = {"redis_url": redis.url, "lease_s": _STORE_LEASE_S, "store_timeout_s": _STORE_TIMEOUT_S}
        home = StoreHome(root, "s3://drill/here", **fields)
        try:
            return WorkerDrill(home, redis, seed, proxy).run(num_faults)
        finally:
            home.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", action="store_true", help="in an S3 server's bucket instead of a volume")
    parser.add_argument("--ray", action="store_true", help="tasks of a Ray cluster train, not workers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    way = _on_ray if options.ray else _with_redis
    summary = way(options)
    sys.stdout.write(json.dumps(asdict(summary)) + "\n")
    sys.exit(1 if summary.violations else 0)


def _on_ray(options: argparse.Namespace) -> Summary:
    from tests.bench.ray_drill import ray_drill

    with tempfile.TemporaryDirectory(prefix="drill-") as directory:
        return ray_drill(Path(directory), num_faults=options.faults, seed=options.seed)


def _with_redis(options: argparse.Namespace) -> Summary:
    binary = shutil.which("redis-server")
    if binary is None:
        sys.exit("redis-server is not installed (Debian: apt-get install redis-server)")
    with tempfile.TemporaryDirectory(prefix="drill-") as directory, contextlib.ExitStack() as ending:
        redis = RedisServer(binary, Path(directory))
        ending.callback(redis.kill)
        redis.start()
        run = store_drill if options.store else drill
        return run(Path(directory) / "home", redis, num_faults=options.faults, seed=options.seed)


if __name__ == "__main__":
    main()
