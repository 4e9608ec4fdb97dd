"""Claims where nobody has locks: how a set is published by one worker alone, whoever is frozen and goes on later.

    files sent -> the record says which version -> the index names it -> the record says that the job has succeeded

The record changes on the condition that the claim is still the newest; from then on that version is published, by this
worker or by whoever takes the job up next, and by nobody once the job has ended.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adavae.model.errors import AdaVAEError
from adavae.model.storage.manifest import read_manifest
from adavae.service.jobs.records.claims import Claim, Claims
from adavae.service.jobs.records.job import Job, JobStatus
from adavae.service.jobs.records.job_errors import ClaimLost
from adavae.service.jobs.records.job_store import JobRecord, JobStore
from adavae.service.jobs.records.set_owners import SetOwners
from adavae.service.objects.published_sets import PublishedSets
from adavae.service.objects.set_index import SetKey, Sets


class NameTaken(AdaVAEError):
    """Somebody else has published under the name since the job was made."""


class SharedClaims(Claims):
    """``Claims`` over an object store."""

    def __init__(self, store: JobStore, sets: PublishedSets, owners: SetOwners, made: Path) -> None:
        """``made`` is where the training process puts its set on this machine."""
        super().__init__(store, made)
        self._sets, self._owners, self._made = sets, owners, made

    @contextmanager
    def publishing(
        self, claim: Claim, version: str, *, last_progress: Mapping[str, Any] | None = None
    ) -> Iterator[None]:
        """As on a volume: what happens inside puts the set in place on this machine, from where it is published.

        Raises:
            ClaimLost: As on a volume.
            NameTaken: Another key has published under that name in the last moment.
        """
        self._change(claim, lambda record: _refuse_wish(record.job))
        yield
        path = self._made / self.store.get(claim.job_id).adapter_name / version
        self._sets.send_files(path, read_manifest(path))
        self._change(claim, lambda record: self._intend(record, version, last_progress))
        self.store.change(claim.job_id, lambda record: self._complete(record, claim))

    def _complete(self, record: JobRecord, claim: Claim) -> None:
        job = record.job
        if job.status is JobStatus.SUCCEEDED and job.attempt == claim.attempt:
            return  # whoever took the job up has done it
        self._checked(claim, job)
        self._sets.publish(_key(job), job.owner, lambda sets: self._check(job, sets))
        self._succeed(record)

    def _manifest(self, job: Job) -> dict[str, Any] | None:
        """Of the set that is being published, which it is by now; None where its files are not there."""
        manifest = self._sets.manifest(_key(job))
        if manifest is None:
            return None
        try:
            self._sets.publish(_key(job), job.owner, lambda sets: self._check(job, sets))
        except NameTaken:
            return None
        return {"metrics": manifest.metrics, "training": manifest.training}

    def _check(self, job: Job, sets: Sets) -> None:
        """Raises ClaimLost where the job has ended: its user may have deleted its set, and it must not come back."""
        current = self.store.get(job.id)
        if current.status is not JobStatus.RUNNING or current.publishing != job.publishing:
            raise ClaimLost(f"{job.id} is {current.status} in attempt {current.attempt}: no set is published")
        name, owner = job.adapter_name, job.owner
        is_others = bool(sets.of_name(name)) and (owner is None or sets.owner_of(name) != owner)
        if is_others and not job.may_shadow:
            raise NameTaken(self._owners.objection(name, owner) or f"the set {name!r} is not this key's")


def _key(job: Job) -> SetKey:
    return job.adapter_name, str(job.publishing)


def _refuse_wish(job: Job) -> None:
    if job.wish is not None:
        raise ClaimLost(f"{job.id} is not published: its user has asked to {job.wish} it")
