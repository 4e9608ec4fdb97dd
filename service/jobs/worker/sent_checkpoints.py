"""Checkpoints of a training process on their way to the object store, beside the training, which waits for none of it.

Whole files alone are sent: they are put in place by a rename. What cannot be sent now is tried again at the next look,
and a newer checkpoint takes an older one's place; whoever takes the job up goes on from the newest that came there.
"""

import sys
import threading
from pathlib import Path

from adavae.model.training.checkpoint_name import step_of
from adavae.service.jobs.records.attempt_files import CHECKPOINTS, METRICS
from adavae.service.jobs.records.claims import Claim
from adavae.service.jobs.records.object_jobs import ObjectJobs

_LOOK_EVERY_S = 0.25
_KEPT = 2


class SentCheckpoints:
    """Sends what appears in an attempt's directory, from its making until ``end``."""

    def __init__(self, jobs: ObjectJobs, claim: Claim, sent: str | None) -> None:
        """``sent`` is the name of the checkpoint that the attempt goes on from, which is in the store already."""
        self._jobs, self._claim, self._sent = jobs, claim, sent
        self._ending, self._problem = threading.Event(), ""
        self._thread = threading.Thread(target=self._run, name="adavae-checkpoints", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Sends the last one, and all that was measured, if the store takes it."""
        self._ending.set()
        self._thread.join()
        self.look()
        try:
            self._jobs.send_metrics(self._claim.job_id, self._claim.attempt, self._claim.directory / METRICS)
        except OSError as exc:
            self._tell(str(exc))

    def look(self) -> None:
        """Sends the newest checkpoint, unless it is there."""
        newest = _newest(self._claim.directory / CHECKPOINTS)
        if newest is None or newest.name == self._sent:
            return
        metrics = self._claim.directory / METRICS
        try:
            self._jobs.send_checkpoint(self._claim.job_id, self._claim.attempt, newest, metrics, _KEPT)
        except FileNotFoundError:  # training has gone on: the next look finds a newer one
            return
        except OSError as exc:
            self._tell(str(exc))
            return
        self._sent, self._problem = newest.name, ""

    def _run(self) -> None:
        while not self._ending.wait(_LOOK_EVERY_S):
            self.look()

    def _tell(self, problem: str) -> None:
        """Once for each."""
        if problem != self._problem:
            self._problem = problem
            sys.stderr.write(f"checkpoint not sent: {problem}\n")


def _newest(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    return max((path for path in folder.iterdir() if step_of(path.name) is not None), default=None)
