"""What can go wrong with a job that is there: whoever asks gets the answer, whoever works on it stops."""

from adavae.model.errors import AdaVAEError
from adavae.service.errors import ServiceError


class JobNotFound(ServiceError):
    """No job of that id."""

    def __init__(self, job_id: str) -> None:
        message = f"there is no job {job_id[:60]!r}: GET /v1/fine_tuning/jobs lists those that there are"
        super().__init__(404, "job_not_found", message)


class JobConflict(ServiceError):
    """The job is in a state, or the key was used in a way, that does not go with what is asked."""

    def __init__(self, message: str, *, code: str = "job_conflict", param: str | None = None) -> None:
        super().__init__(409, code, message, param=param)


class JobBusy(ServiceError):
    """Somebody has held the job's lock for longer than any change takes: a frozen process, or a stuck volume."""

    def __init__(self, what: str, waited_s: float) -> None:
        message = f"{what} has been locked for {waited_s:g} s: its worker or the volume hangs, try again later"
        super().__init__(503, "job_busy", message, retry_after_s=5)


class JobDamaged(ServiceError):
    """The record cannot be read; nothing of ours writes one like it."""

    def __init__(self, job_id: str, reason: str) -> None:
        message = f"the record of job {job_id} is damaged ({reason}): remove its directory from the volume"
        super().__init__(503, "job_damaged", message)


class ClaimLost(AdaVAEError):
    """Somebody else has taken the job up since, or it has ended: nothing of this attempt counts any more."""
