"""Jobs in an object store in memory, and machines that work on them."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from adavae.service.jobs.records.claims import Claim
from adavae.service.jobs.records.job import Job
from adavae.service.jobs.records.job_store import JobStore
from adavae.service.jobs.records.object_jobs import ObjectJobs
from adavae.service.jobs.records.set_owners import SharedOwners
from adavae.service.jobs.records.shared_claims import SharedClaims
from adavae.service.objects.published_sets import PublishedSets
from adavae.service.settings import Settings
from tests.tiny_sets import publish
from tests.unit.service.jobs.job_home import new_job
from tests.unit.service.objects.memory_objects import Bucket


class Machine:
    """One worker, with a disk of its own."""

    def __init__(self, bucket: Bucket, root: Path) -> None:
        self.root = root
        settings = Settings(data=Path("s3://bucket"), store_cache=root, weights=root / "weights")
        self.records = ObjectJobs(bucket.opened(), root / "jobs")
        self.sets = PublishedSets(bucket.opened())
        self.store = JobStore(self.records)
        self.claims = SharedClaims(self.store, self.sets, SharedOwners(settings, self.sets), root / "made")

    def claim(self, job: Job) -> Claim:
        claim = self.claims.claim(job.id, "w")
        assert claim is not None
        return claim

    def take_over(self, job: Job) -> Claim | None:
        """As a worker does that has seen the same lease for too long."""
        return self.claims.claim(job.id, "other", abandoned=self.claims.lease(self.store.get(job.id)))

    def make_set(self, name: str = "mine", created_at: str = "2026-01-02T03:04:05+00:00") -> str:
        """What the training process has put on this disk; its version."""
        return publish(self.root / "made", name=name, created_at=created_at).name


@dataclass(slots=True)
class SharedHome:
    """A bucket, and any number of machines."""

    root: Path
    bucket: Bucket = field(default_factory=Bucket)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def machine(self) -> Machine:
        return Machine(self.bucket, self.root / f"machine-{next(self._numbers)}")

    def queue_job(self, **fields: object) -> Job:
        return self.machine().store.create(new_job(**fields), request_digest="d", max_open=100)

    def published(self) -> list[str]:
        return [f"{name}@{version}" for name, version in PublishedSets(self.bucket.opened()).current().numbers]
