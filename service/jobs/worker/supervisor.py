"""One attempt at a job, from its claim to its end: a training process started, watched, listened to, and judged.

data fetched -> process started          a wish meanwhile, or the worker stops -> not started
child's lines -> history and record      every ``lease_s`` / 4 -> lease renewed
no line for ``training_silence_s`` -> child killed, as when it crashes
a wish to cancel -> child killed         a wish to pause, or the worker stops -> child told to stop
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import structlog

from adavae.model.errors import AdaVAEError
from adavae.model.training.readers.columns import Columns
from adavae.service.jobs.records.attempt_files import link
from adavae.service.jobs.records.claims import Claim, Claims
from adavae.service.jobs.records.job import Job, JobError, JobStatus, Wish
from adavae.service.jobs.records.job_errors import ClaimLost
from adavae.service.jobs.worker.child_process import COMMAND, ChildProcess
from adavae.service.jobs.worker.child_protocol import DONE, FAILED, SETTINGS, STOPPED, SUPERSEDED, Line, Order
from adavae.service.jobs.worker.failures import Failure, failure_to_start, frozen, killed, places_of
from adavae.service.jobs.worker.held_claim import HeldClaim
from adavae.service.jobs.worker.training_metrics import TrainingMetrics
from adavae.service.settings import Settings

_POLL_S = 0.25
_SIGNS_OF_LIFE = 10  # in the time after which a process without any counts as frozen
_RECORD_EVERY_S = 1.0  # of what is told more often than anybody reads
_NONE_YET = {"step": 0, "total_steps": 0}
_OF_PREPARATION = ("prepared", "to_prepare")
_log = structlog.get_logger("adavae.jobs")


class FilePaths(Protocol):
    """Where uploaded data is: ``FileStore`` knows."""

    def path_of(self, file_id: str) -> Path: ...

    def columns_of(self, file_id: str) -> Columns: ...


@dataclass(frozen=True, slots=True)
class _Source:
    """A file of the job, on this machine."""

    path: Path
    columns: Columns


class _Unwanted(Exception):
    """An attempt is to end before it has begun."""


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    HANDED_BACK = "handed_back"
    CRASHED = "crashed"
    SUPERSEDED = "superseded"


class Supervisor:
    """Runs attempts, one at a time."""

    def __init__(
        self,
        settings: Settings,
        claims: Claims,
        files: FilePaths,
        metrics: TrainingMetrics,
        *,
        niceness: int = 0,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._settings, self._claims, self._files, self._metrics = settings, claims, files, metrics
        self._niceness, self._command = niceness, command

    async def run(self, claim: Claim, stopping: asyncio.Event) -> Outcome:
        """Works on a claimed job until it ends, is taken away, or ``stopping`` is set and its process has stopped."""
        log = _log.bind(job=claim.job_id, attempt=claim.attempt)
        log.info("attempt_begins")
        try:
            outcome = await self._attempt(claim, stopping)
        except ClaimLost as exc:
            log.warning("attempt_superseded", reason=str(exc))
            outcome = Outcome.SUPERSEDED
        finally:
            await asyncio.to_thread(self._claims.leave, claim)
        self._metrics.attempts_total.labels(outcome=str(outcome)).inc()
        self._metrics.set_idle()
        log.info("attempt_ended", outcome=str(outcome))
        return outcome

    async def _attempt(self, claim: Claim, stopping: asyncio.Event) -> Outcome:
        held = HeldClaim(claim, self._claims, self._settings.lease_s)
        job = await asyncio.to_thread(self._claims.store.get, claim.job_id)
        try:
            order = await self._order(claim, job, held, stopping)
            child = await ChildProcess.start(order, self._command)
        except _Unwanted:
            return _outcome(await asyncio.to_thread(self._claims.stopped, claim))
        except ClaimLost:
            raise
        except (AdaVAEError, OSError) as exc:
            return await self._end_early(claim, exc)
        attempt = _Attempt(claim, self._claims, held, child, self._metrics, self._settings, job.progress)
        try:
            code = await attempt.accompany(stopping)
        except ClaimLost:
            code = SUPERSEDED
        finally:
            child.kill()
            await child.wait()
        if code and child.complaints:
            _log.info("training_process_said", job=job.id, exit_code=code, lines=child.complaints)
        return await asyncio.to_thread(self._conclude, claim, attempt, code)

    async def _order(self, claim: Claim, job: Job, held: HeldClaim, stopping: asyncio.Event) -> Order:
        """What the training process is told; raises ClaimLost and _Unwanted while its data comes."""
        settings = self._settings.model_dump(mode="json", include=set(SETTINGS))
        training = await self._source(claim, job.training_file, held, stopping)
        held_back = None
        if job.validation_file is not None:
            held_back = await self._source(claim, job.validation_file, held, stopping)
        return Order(
            job_id=job.id,
            attempt=claim.attempt,
            worker=claim.worker,
            settings={**settings, "threads": self._settings.training_threads},
            training_file=str(training.path),
            validation_file=str(held_back.path) if held_back is not None else None,
            training_columns=asdict(training.columns),
            validation_columns=asdict(held_back.columns) if held_back is not None else {},
            niceness=self._niceness,
            alive_every_s=self._settings.training_silence_s / _SIGNS_OF_LIFE,
            uses_store=self._settings.shared is not None,
        )

    async def _source(self, claim: Claim, file_id: str, held: HeldClaim, stopping: asyncio.Event) -> _Source:
        """A file of the job, which may take longer to come than a lease lasts.

        Raises:
            ClaimLost: The job belongs to somebody else, or has ended.
            _Unwanted: Its user, or who stops the worker, wants something else; what is under way comes into the cache.
        """
        fetching = asyncio.create_task(asyncio.to_thread(self._fetched, file_id))
        try:
            while not fetching.done():
                await asyncio.wait((fetching,), timeout=_POLL_S)
                if not fetching.done() and _is_unwanted(await held.look(), stopping):
                    raise _Unwanted
            source = fetching.result()
        finally:
            fetching.cancel()
        return source if self._settings.shared is None else await asyncio.to_thread(_kept, claim, file_id, source)

    def _fetched(self, file_id: str) -> _Source:
        """Touches nothing of the attempt: whoever asked for the file may have left before it came."""
        return _Source(self._files.path_of(file_id), self._files.columns_of(file_id))

    async def _end_early(self, claim: Claim, error: Exception) -> Outcome:
        """There was no process: its data is gone or could not be had, or the machine starts no more processes."""
        _log.warning("training_process_not_started", job=claim.job_id, reason=str(error))
        return await asyncio.to_thread(self._failed, claim, failure_to_start(error, places_of(self._settings)))

    def _failed(self, claim: Claim, failure: Failure) -> Outcome:
        if not failure.is_final:
            return self._crash(claim, failure.error)
        self._claims.fail(claim, failure.error)
        return Outcome.FAILED

    def _conclude(self, claim: Claim, attempt: "_Attempt", code: int) -> Outcome:
        """The end that an exit code means; raises ClaimLost."""
        job = self._claims.store.get(claim.job_id)
        if job.status is JobStatus.SUCCEEDED and job.attempt == claim.attempt:
            return Outcome.SUCCEEDED
        if attempt.is_frozen:
            return self._crash(claim, frozen(self._settings.training_silence_s))
        if attempt.is_stopping or code in (STOPPED, SUPERSEDED):
            return _outcome(self._claims.stopped(claim))
        if code == FAILED and attempt.failure is not None:
            return self._failed(claim, attempt.failure)
        return self._crash(claim, _unexplained(code))

    def _crash(self, claim: Claim, reason: JobError) -> Outcome:
        job = self._claims.crashed(claim, reason)
        return Outcome.CRASHED if job.status is JobStatus.QUEUED else _outcome(job)


class _Attempt:
    """What has been seen of a running process so far."""

    def __init__(
        self,
        claim: Claim,
        claims: Claims,
        held: HeldClaim,
        child: ChildProcess,
        metrics: TrainingMetrics,
        settings: Settings,
        figures: Mapping[str, Any] | None,
    ) -> None:
        """``figures`` are those of the attempt before, if there was one."""
        self._claim, self._claims, self._held, self._child, self._metrics = claim, claims, held, child, metrics
        self._patience_s = settings.shutdown_s
        self._step = 0
        self._figures = figures
        self._recorded_at = 0.0
        self._longest_silence_s, self._silent_s, self._is_listening = settings.training_silence_s, 0.0, True
        self.failure: Failure | None = None
        self.is_stopping = self.is_frozen = False

    async def accompany(self, stopping: asyncio.Event) -> int:
        """Until the process has ended.

        Returns:
            Its exit code.

        Raises:
            ClaimLost: The job belongs to somebody else, or has ended.
        """
        watching = asyncio.create_task(self._watch(stopping))
        ending = asyncio.create_task(self._listen())
        try:
            await asyncio.wait((watching, ending), return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                self._child.kill()
                watching.result()
            return await ending
        finally:
            for task in (watching, ending):
                task.cancel()
            await asyncio.gather(watching, ending, return_exceptions=True)

    async def _watch(self, stopping: asyncio.Event) -> None:
        """Ends where the process is to be killed: cancelled, frozen, too slow to stop, or raising ClaimLost."""
        asked_at = float("inf")
        while time.monotonic() - asked_at < self._patience_s:
            await asyncio.sleep(_POLL_S)
            if self._is_silent():
                self.is_frozen = True
                return
            job = await self._held.look()
            if job is None:
                continue
            if job.wish is Wish.CANCEL:
                break
            if (job.wish is Wish.PAUSE or stopping.is_set()) and not self.is_stopping:
                self.is_stopping, asked_at = True, time.monotonic()
                self._child.stop()
        self.is_stopping = True

    def _is_silent(self) -> bool:
        """Counted in looks, not by a clock: where this worker was frozen itself, it has not listened."""
        self._silent_s += _POLL_S if self._is_listening else 0.0
        return self._silent_s > self._longest_silence_s

    async def _listen(self) -> int:
        """To the end; gives the exit code."""
        async for line in self._child.lines():
            self._silent_s, self._is_listening = 0.0, False
            with contextlib.suppress(ClaimLost):  # whoever watches finds out, too
                await asyncio.to_thread(self._hear, line)
            self._is_listening = True
        return await self._child.wait()

    def _hear(self, line: Line) -> None:
        try:
            match line.kind:
                case "started":
                    self._on_started(line.values["step"])
                case "note":
                    self._claims.report(self._claim, f"About the data: {line.values['text']}")
                case "preparing":
                    self._on_preparing(line.values)
                case "progress":
                    self._on_progress(line.values)
                case "measuring":
                    self._on_measuring(line.values)
                case "failure":
                    values = dict(line.values)
                    is_final = values.pop("is_final")
                    self.failure = Failure(JobError(**values), is_final)
        except ClaimLost:
            raise
        except (AdaVAEError, OSError) as exc:
            _log.warning("progress_not_recorded", job=self._claim.job_id, reason=str(exc))

    def _on_started(self, step: int) -> None:
        self._step = step
        if step:
            self._claims.report(self._claim, f"Training goes on from step {step}")

    def _on_preparing(self, values: Mapping[str, Any]) -> None:
        """Into record and history, so that both move before the first step."""
        known = {name: own for name, own in (self._figures or _NONE_YET).items() if name not in _OF_PREPARATION}
        stage, total = values["stage"], values["total"]
        is_new = known.get("stage") != f"preparing: {stage}"
        if stage == "train":
            known = {**known, "step": values["done"], "total_steps": total}
            steps = {name: known[name] for name in ("step", "total_steps")}
            self._claims.report(self._claim, f"The training begins: step {values['done']} of {total}", steps)
        elif is_new:
            self._claims.report(self._claim, f"Getting ready: {stage}")
        about = {} if stage == "train" else {"prepared": values["done"], "to_prepare": total}
        self._figures = {**known, "stage": f"preparing: {stage}", "eta_s": None, **about}
        self._record(is_urgent=is_new)

    def _on_progress(self, figures: Mapping[str, Any]) -> None:
        step = figures["step"]
        self._metrics.set_progress(figures, num_steps=step - self._step)
        self._step, self._figures = step, figures
        self._claims.report_progress(self._claim, figures, is_event=True)

    def _on_measuring(self, values: Mapping[str, Any]) -> None:
        """Into the record; into the history once, when it begins."""
        if self._figures is None or not self._figures["stage"].startswith("measuring"):
            self._claims.report(self._claim, "The training is finished; the set is measured on the validation texts")
        known = self._figures or _NONE_YET
        self._figures = {**known, "stage": f"measuring: {values['stage']}", "eta_s": 0.0, **_share(values)}
        self._record()

    def _record(self, *, is_urgent: bool = False) -> None:
        """Where the attempt stands, as often as somebody reads it."""
        if self._figures is not None and (is_urgent or time.monotonic() - self._recorded_at >= _RECORD_EVERY_S):
            self._recorded_at = time.monotonic()
            self._claims.report_progress(self._claim, self._figures, is_event=False)


def _kept(claim: Claim, file_id: str, source: _Source) -> _Source:
    """A copy out of a cache under a second name, by which it stays."""
    own = claim.directory / "data" / file_id / source.path.name
    own.parent.mkdir(parents=True, exist_ok=True)
    link(source.path, own)
    return replace(source, path=own)


def _is_unwanted(job: Job | None, stopping: asyncio.Event) -> bool:
    return stopping.is_set() or (job is not None and job.wish is not None)


def _share(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"measured": values["done"], "to_measure": values["total"]}


def _outcome(job: Job) -> Outcome:
    if job.status is JobStatus.QUEUED:
        return Outcome.HANDED_BACK
    return Outcome(str(job.status))


def _unexplained(code: int) -> JobError:
    if code < 0:
        return killed(-code)
    what = "published nothing" if code == DONE else f"ended with exit code {code}"
    return JobError(code="internal_error", message=f"the training process {what}: the worker's log says more")
