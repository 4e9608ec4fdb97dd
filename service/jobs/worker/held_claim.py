"""A claim that somebody works on: a sign of life as often as one is due, and what has become of the job meanwhile."""

import asyncio
import time

import structlog

from adavae.model.errors import AdaVAEError
from adavae.service.jobs.records.claims import Claim, Claims
from adavae.service.jobs.records.job import Job
from adavae.service.jobs.records.job_errors import ClaimLost

_RENEWALS = 4  # in the time after which others may take the job over
_log = structlog.get_logger("adavae.jobs")


class HeldClaim:
    """Used from one event loop; made when the claim was."""

    def __init__(self, claim: Claim, claims: Claims, lease_s: float) -> None:
        self._claim, self._claims = claim, claims
        self._renew_every_s, self._renewed_at = lease_s / _RENEWALS, time.monotonic()

    async def look(self) -> Job | None:
        """The record as it stands, after a sign of life where one is due.

        Returns:
            None where volume or lock cannot be had just now, which is no reason to end.

        Raises:
            ClaimLost: The job belongs to somebody else, or has ended.
        """
        is_due = time.monotonic() - self._renewed_at >= self._renew_every_s
        job = await asyncio.to_thread(self._look, renews=is_due)
        if is_due:
            self._renewed_at = time.monotonic()
        return job

    def _look(self, *, renews: bool) -> Job | None:
        try:
            job = self._claims.renew(self._claim) if renews else self._claims.store.get(self._claim.job_id)
        except ClaimLost:
            raise
        except (AdaVAEError, OSError) as exc:
            _log.warning("job_not_reached", job=self._claim.job_id, reason=str(exc))
            return None
        if job.attempt != self._claim.attempt:
            raise ClaimLost(f"{job.id} was taken over: it is in attempt {job.attempt}")
        return job
