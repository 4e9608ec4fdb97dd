"""Whether every job of a drill ended as it should have, exactly once, and left nothing else behind."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from adavae.model.errors import AdaVAEError
from adavae.model.storage.pretrained import load_backbone
from adavae.model.training.preparation import TrainingRequest
from adavae.model.training.run import train_adapter_set
from adavae.service.jobs.records.job import Job, JobStatus
from tests.integration.training_home import TrainingHome, read_metrics, training_config

_ENDS = ("The job has succeeded", "The job is cancelled", "The job has failed")


@dataclass(slots=True)
class Summary:
    """What a drill did, and what went wrong."""

    seed: int
    faults: dict[str, int]
    jobs: int
    statuses: dict[str, int]
    attempts: int
    seconds: float
    violations: list[str]


def violations(home: TrainingHome, ended: Sequence[Job], doomed: Collection[str], num_steps: int) -> list[str]:
    """What is wrong, in words; empty if all is well.

    Args:
        home: The volume.
        ended: Every job.
        doomed: Ids of the cancelled ones.
        num_steps: Steps of each run.
    """
    expected = _unbroken_loss(home, num_steps)
    found = [problem for job in ended for problem in _problems_of(home, job, expected, job.id in doomed)]
    lost = sorted(set(home.store.ids()) ^ {job.id for job in ended})
    left = home.leftovers()
    return [*found, *(f"unknown: {job_id}" for job_id in lost), *(f"left behind: {each}" for each in left)]


def _unbroken_loss(home: TrainingHome, num_steps: int) -> float:
    """The last validation loss of an undisturbed run."""
    directory = home.settings.directory / "unbroken"
    config = training_config(max_steps=num_steps)
    request = TrainingRequest(name="unbroken", data=home.data, validation=None, config=config, truncate=True)
    pretrained = load_backbone(home.settings.backbone_source)
    train_adapter_set(request, pretrained, directory=directory / "run", destination=directory / "adapters")
    return float(read_metrics(directory / "run" / "metrics.jsonl")[-1]["validation_loss"])


def _problems_of(home: TrainingHome, job: Job, expected: float, is_doomed: bool) -> list[str]:
    try:
        versions = home.versions(job.adapter_name)
    except (AdaVAEError, AssertionError) as exc:
        return [f"{job.id} is half published: {exc}"]
    problems = []
    if job.status is JobStatus.CANCELLED and is_doomed:
        problems += [f"{job.id} was cancelled and has {versions}"] if versions else []
    elif job.status is not JobStatus.SUCCEEDED:
        problems.append(f"{job.id} is lost: it is {job.status}, {job.error}")
    elif [f"{job.adapter_name}@{version}" for version in versions] != [job.adapter]:
        problems.append(f"{job.id} says it made {job.adapter}, there are {versions}")
    elif home.final_loss(job) != expected:
        problems.append(f"{job.id} ended unlike an unbroken run: {home.final_loss(job)}, not {expected}")
    ends = [message for message in home.told(job) if message.startswith(_ENDS)]
    return problems if len(ends) == 1 else [*problems, f"{job.id} was told to have ended: {ends}"]
