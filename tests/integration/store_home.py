"""Jobs in an object store, and real worker processes on them."""

import json
from pathlib import Path
from typing import Any

from adavae.service.jobs.records.job import Job
from adavae.service.jobs.records.object_jobs import ObjectJobs
from adavae.service.loading import open_store
from tests.integration.training_home import TrainingHome


class StoreHome(TrainingHome):
    """As on a volume; every worker has the same disk here for what it fetches and makes."""

    def __init__(self, root: Path, address: str, **fields: Any) -> None:
        """``address`` is where everything is shared; the environment leads to the server."""
        super().__init__(root, data=Path(address), store_cache=root / "cache", **fields)
        assert isinstance(self.store.records, ObjectJobs)
        self.records = self.store.records

    def worker_of(self, job: Job) -> str:
        lease = self.records.store.read(f"jobs/{job.id}/attempts/{job.attempt}/lease.json", 1000)
        return str(json.loads(lease.content)["worker"])

    def set_back_at(self, job: Job) -> int:
        steps = [int(name.split("-")[1]) - 1 for name in self.records.store.names(f"jobs/{job.id}/setbacks")]
        return max(steps, default=-1)

    def checkpointed_step(self, job: Job) -> int:
        return max(0, self.records.newest_step(job.id))

    def damage_checkpoint(self, job: Job) -> None:
        folder = f"jobs/{job.id}/attempts/{self.store.get(job.id).attempt}/checkpoints"
        for each in self.records.store.keys(folder, 100)[-1:]:
            content = b"".join(self.records.store.fetch(each.key, each.num_bytes))
            half = self.settings.directory / "half"
            half.write_bytes(content[: len(content) // 2])
            self.records.store.send(each.key, half)

    def final_loss(self, job: Job) -> float:
        """As the published set says: what its worker measured last may have died with it."""
        training = open_store(self.settings).read(str(job.adapter)).manifest.training
        return float(training["validation_loss"])

    def leftovers(self) -> list[str]:
        keys = [each.key for each in self.records.store.keys("jobs", 100_000)]
        return [key for key in keys if "/checkpoints/" in key] + self.records.unsettled_ids()

    def versions(self, name: str) -> list[str]:
        sets = open_store(self.settings)
        return [sets.read(entry.reference).manifest.version for entry in sets.list() if entry.name == name]
