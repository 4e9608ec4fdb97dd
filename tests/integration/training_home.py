"""A volume over a tiny backbone, and real worker processes on it: started, killed, frozen, stopped at will."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from adavae.model.storage.adapter_set import read_adapter_set
from adavae.model.training.config import BetaSchedule, TrainingConfig
from adavae.service.jobs.backbone_description import BackboneDescription, describe_backbone
from adavae.service.jobs.data.shared_files import open_files
from adavae.service.jobs.queue.open_queue import open_queue
from adavae.service.jobs.records.attempt_files import attempt_directory
from adavae.service.jobs.records.job import Job, JobStatus
from adavae.service.jobs.records.job_store import new_job_id
from adavae.service.jobs.records.open_records import open_claims, open_jobs
from adavae.service.settings import Settings
from tests.tiny import PLAIN
from tests.tiny_home import tiny_settings
from tests.tiny_text import as_tsv, reviews

DEADLINE_S = 120.0
SILENCE_S = 20.0  # many times what a process takes to come up on a loaded machine, where it can say nothing
POLL_S = 0.02
_REPOSITORY = Path(__file__).resolve().parents[2]
_PASSED = ("weights", "data", "lease_s", "training_threads", "training_silence_s", "training_processes")
_OF_STORES = ("store_cache", "store_timeout_s")


class TrainingHome:
    """Everything below one directory; ``close`` ends every process that was started."""

    def __init__(self, root: Path, *, redis_url: str | None = None, lease_s: float = 1.5, **fields: Any) -> None:
        self.settings: Settings = tiny_settings(
            root, redis_url=redis_url, lease_s=lease_s, training_threads=1, training_silence_s=SILENCE_S, **fields
        )
        self.settings.directory.mkdir(parents=True, exist_ok=True)
        self.store = open_jobs(self.settings)
        self.claims = open_claims(self.settings, self.store)
        files = open_files(self.settings, self.store)
        self.file_id = asyncio.run(files.create("reviews.tsv", "fine-tune", _sent(as_tsv(reviews(36))))).id
        self.data = files.path_of(self.file_id)
        self._redis_url, self._workers = redis_url, list[WorkerProcess]()
        self._backbone: BackboneDescription = describe_backbone(self.settings)

    def queue_job(self, name: str = "mine", **fields: Any) -> Job:
        """A job that takes some seconds, all of them alike."""
        job = Job(
            id=new_job_id(),
            status=JobStatus.QUEUED,
            created_at=int(time.time()),
            training_file=self.file_id,
            validation_file=None,
            backbone="bundled",
            backbone_digest=self._backbone.digest,
            adapter_name=name,
            hyperparameters={},
            config=training_config(**fields).to_dict(),
            seed=0,
            metadata={},
            report={},
        )
        return self.store.create(job, request_digest=job.id, max_open=1000)

    def dispatch(self, job: Job) -> None:
        """Tells workers of a job, as the service does."""
        asyncio.run(_enqueue(self.settings, job))

    def start_worker(self) -> "WorkerProcess":
        worker = WorkerProcess(self.settings, self._redis_url)
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()

    def status(self, job: Job) -> JobStatus:
        return self.store.get(job.id).status

    def step(self, job: Job) -> int:
        """The last that the record knows of."""
        return int((self.store.get(job.id).progress or {}).get("step", 0))

    def checkpointed_step(self, job: Job) -> int:
        """Of the newest checkpoint of the newest attempt."""
        directory = attempt_directory(self.store.directory(job.id), self.store.get(job.id).attempt)
        steps = [int(path.stem.removeprefix("step-")) for path in directory.glob("checkpoints/step-*.safetensors")]
        return max(steps, default=0)

    def child_of(self, job: Job) -> int:
        """The process that trains it, which is the only one there is."""
        (child,) = [worker.child for worker in self._workers if worker.child is not None]
        assert self.status(job) is JobStatus.RUNNING
        return child

    def told(self, job: Job) -> list[str]:
        return [event.message for event in self.store.history(job.id).read()]

    def metrics(self, job: Job) -> list[dict[str, Any]]:
        """What the newest attempt has measured while it trained, without what depends on the machine's speed."""
        directory = attempt_directory(self.store.directory(job.id), self.store.get(job.id).attempt)
        return read_metrics(directory / "metrics.jsonl")

    def wait_for(self, condition: Callable[[], object]) -> None:
        wait_for(condition, lambda: "\n".join(worker.output for worker in self._workers))

    def worker_of(self, job: Job) -> str:
        """Who works on it, as its lease says."""
        lease = attempt_directory(self.store.directory(job.id), job.attempt) / "lease.json"
        return str(json.loads(lease.read_bytes())["worker"])

    def set_back_at(self, job: Job) -> int:
        """How far its checkpoints went at its last setback; -1 before the first."""
        setbacks = self.store.directory(job.id) / "setbacks.json"
        return int(json.loads(setbacks.read_bytes())["step"]) if setbacks.exists() else -1

    def damage_checkpoint(self, job: Job) -> None:
        """Cuts the newest one of its newest attempt in half."""
        directory = attempt_directory(self.store.directory(job.id), job.attempt) / "checkpoints"
        for path in sorted(directory.glob("step-*"))[-1:]:
            content = path.read_bytes()
            path.unlink()  # other attempts may have the same file under another name
            path.write_bytes(content[: len(content) // 2])

    def final_loss(self, job: Job) -> float:
        """Of the validation texts, as the newest attempt measured it last."""
        return float(self.metrics(job)[-1]["validation_loss"])

    def leftovers(self) -> list[str]:
        """What should have gone once every job is over."""
        adapters, jobs = self.settings.own_adapters, self.settings.jobs
        found = [
            *adapters.glob(".staging*"),
            *adapters.glob(".writing*"),
            *jobs.glob(".staging*"),
            *jobs.glob("*/attempts/*/.staging*"),
            *jobs.glob("*/attempts/*/checkpoints"),
        ]
        return [str(path) for path in found]

    def versions(self, name: str) -> list[str]:
        """Published sets of that name, each read and verified; nothing but whole sets may stand there."""
        root = self.settings.own_adapters
        strays = [path.name for path in root.glob(".*") if path.name != ".publications"] if root.is_dir() else []
        assert not strays, f"left behind: {strays}"
        return [read_adapter_set(path).manifest.version for path in sorted(root.glob(f"{name}/*"))]


class WorkerProcess:
    """One ``adavae worker``."""

    def __init__(self, settings: Settings, redis_url: str | None) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ADAVAE_")}
        for name in (*_PASSED, *(name for name in _OF_STORES if settings.shared is not None)):
            environment[f"ADAVAE_{name.upper()}"] = str(getattr(settings, name))
        if redis_url is not None:
            environment["ADAVAE_REDIS_URL"] = redis_url
        self._log = settings.directory / f"worker-{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "adavae.service", "worker"],
                env=environment | {"PYTHONPATH": str(_REPOSITORY)},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def child(self) -> int | None:
        """The training process that it runs, if it runs one."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = self._process.pid
            return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])
        return None

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """kill -9, also of a frozen one."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM, once it listens to that; its exit code."""
        wait_for(lambda: "works on" in self.output or not self.is_running, lambda: self.output)
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(DEADLINE_S)


async def _sent(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


async def _enqueue(settings: Settings, job: Job) -> None:
    queue = open_queue(settings)
    await queue.enqueue(job.id)
    await queue.close()


def fill_disk_of(pid: int, num_bytes: int = 4096) -> None:
    """From now on that process can write no file longer than ``num_bytes``."""
    with contextlib.suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (num_bytes, hard))


def training_config(**fields: Any) -> TrainingConfig:
    config = TrainingConfig(
        adapter=PLAIN,
        epochs=1000,
        max_steps=160,
        batch_size=8,
        warmup_steps=0,
        learning_rate=2e-2,
        beta=0.01,
        beta_schedule=BetaSchedule.CONSTANT,
        stage_one_share=0.0,
        checkpoint_every=20,
        validations=8,
        patience=1000,
    )
    return replace(config, **fields)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key not in ("tokens_per_s", "eta_s")} for line in lines]


def wait_for(condition: Callable[[], object], explain: Callable[[], str]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"did not come about in time; workers said:\n{explain()}"
        time.sleep(POLL_S)
