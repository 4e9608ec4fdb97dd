"""What a job's history ends with: it follows from the record, so that it is there once, wherever a crash came."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adavae.service.jobs.records.event_log import Level
from adavae.service.jobs.records.job import Job, JobStatus


@dataclass(frozen=True, slots=True)
class Ending:
    """One of the last events."""

    message: str
    level: Level = "info"
    data: Mapping[str, Any] = field(default_factory=dict)


def endings(job: Job) -> tuple[Ending, ...]:
    """The last events of a finished job, in order; none of any other."""
    match job.status:
        case JobStatus.SUCCEEDED:
            made = Ending(f"New fine-tuned model created: {job.adapter}", data={"adapter": job.adapter})
            return made, Ending("The job has succeeded")
        case JobStatus.FAILED if job.error is not None:
            return (Ending(f"The job has failed: {job.error.message}", "error", {"code": job.error.code}),)
        case JobStatus.CANCELLED:
            return (Ending("The job is cancelled"),)
    return ()
