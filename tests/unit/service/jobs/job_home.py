"""A volume with training jobs for tests: records are real, what is trained and published are stand-ins."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from adavae.model.training.config import TrainingConfig
from adavae.service.jobs.records.attempt_files import attempt_directory
from adavae.service.jobs.records.claims import Claim, Claims
from adavae.service.jobs.records.job import Job, JobStatus
from adavae.service.jobs.records.job_store import JobStore, new_job_id
from adavae.service.settings import Settings
from tests.tiny import PLAIN

FIGURES = {"step": 10, "total_steps": 100, "loss": 2.5, "tokens_per_s": 1e3, "eta_s": 9.0, "beta": 0.5}


@dataclass(slots=True)
class JobHome:
    """Everything below one directory."""

    root: Path
    store: JobStore = field(init=False)
    claims: Claims = field(init=False)

    def __post_init__(self) -> None:
        self.store = JobStore(self.settings().jobs)
        self.claims = Claims(self.store, self.adapters)

    def settings(self, **fields: Any) -> Settings:
        return Settings(**{"weights": self.root / "weights", "data": self.root / "data", "lease_s": 0.5} | fields)

    @property
    def adapters(self) -> Path:
        return self.settings().own_adapters

    def queue_job(self, *, max_open: int = 100, request_digest: str = "d", **fields: Any) -> Job:
        return self.store.create(new_job(**fields), request_digest=request_digest, max_open=max_open)

    def claim(self, job: Job, worker: str = "w1") -> Claim:
        claim = self.claims.claim(job.id, worker)
        assert claim is not None
        return claim

    def take_over(self, job: Job, worker: str = "w2") -> Claim | None:
        """As a worker does that has seen the same lease for too long."""
        return self.claims.claim(job.id, worker, abandoned=self.claims.lease(self.store.get(job.id)))

    def publish(self, job: Job, version: str = "abc123") -> None:
        """What stands for an adapter set being renamed into place."""
        directory = self.adapters / job.adapter_name / version
        directory.mkdir(parents=True)
        manifest = {"metrics": {"kl": 7.5}, "training": {"trained_tokens": 1234}}
        (directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    def checkpoint(self, claim: Claim, step: int, content: bytes = b"tensors") -> Path:
        directory = attempt_directory(self.store.directory(claim.job_id), claim.attempt) / "checkpoints"
        directory.mkdir(exist_ok=True)
        path = directory / f"step-{step:09d}.safetensors"
        path.write_bytes(content)
        return path

    def told(self, job: Job) -> list[str]:
        return [event.message for event in self.store.history(job.id).read()]


def new_job(**fields: Any) -> Job:
    """A queued job that nobody has put anywhere yet."""
    chosen: dict[str, Any] = {
        "id": new_job_id(),
        "status": JobStatus.QUEUED,
        "created_at": int(time.time()),
        "training_file": "file-1",
        "validation_file": None,
        "backbone": "bundled",
        "backbone_digest": "b" * 64,
        "adapter_name": "mine",
        "hyperparameters": {},
        "config": TrainingConfig(adapter=PLAIN).to_dict(),
        "seed": 0,
        "metadata": {},
        "report": {},
    }
    return Job(**(chosen | fields))


@pytest.fixture
def home(tmp_path: Path) -> JobHome:
    return JobHome(tmp_path)
