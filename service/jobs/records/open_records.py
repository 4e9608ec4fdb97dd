"""Where the settings say that jobs, and what belongs to them, are kept: on a volume or in an object store."""

from pathlib import Path

from adavae.service.jobs.records.attempt_files import attempt_directory
from adavae.service.jobs.records.claims import Claim, Claims
from adavae.service.jobs.records.job_store import JobStore
from adavae.service.jobs.records.object_jobs import ObjectJobs
from adavae.service.jobs.records.set_owners import SetOwners, SharedOwners
from adavae.service.jobs.records.shared_claims import SharedClaims
from adavae.service.jobs.records.volume import SharedPlace, Volume
from adavae.service.objects.open_objects import open_objects
from adavae.service.objects.published_sets import PublishedSets
from adavae.service.settings import Settings

MADE = "made"
"""In the directory of an attempt: the set that it has made, where sets are published in an object store."""


def open_jobs(settings: Settings) -> JobStore:
    """Every job; not asked for anything yet."""
    objects = open_objects(settings)
    return JobStore(settings.jobs if objects is None else ObjectJobs(objects, settings.jobs))


def open_volume(settings: Settings) -> Volume:
    """The place as requests use it."""
    deadline_s = settings.deadline_s
    if settings.shared is None:
        return Volume(settings.data, deadline_s=deadline_s)
    return SharedPlace(settings.directory, deadline_s=deadline_s)


def open_owners(settings: Settings) -> SetOwners:
    """Whose adapter sets are."""
    objects = open_objects(settings)
    return SetOwners(settings) if objects is None else SharedOwners(settings, PublishedSets(objects))


def open_claims(settings: Settings, store: JobStore, claim: Claim | None = None) -> Claims:
    """Who works on jobs; for a ``claim``, what its training process may publish."""
    objects = open_objects(settings)
    if objects is None:
        return Claims(store, settings.own_adapters)
    sets = PublishedSets(objects)
    return SharedClaims(store, sets, SharedOwners(settings, sets), destination_of(settings, claim))


def destination_of(settings: Settings, claim: Claim | None) -> Path:
    """Where a training process puts its set; without a claim, where no set will be."""
    if settings.shared is None:
        return settings.own_adapters
    return (attempt_directory(settings.jobs, 0) if claim is None else claim.directory) / MADE
