"""What went wrong in a training process: a code and a message for the job's owner, and whether trying again helps."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from adavae.model.errors import (
    AdapterSetMismatch,
    AdapterSetNotFound,
    AdaVAEError,
    BackboneNotFound,
    CheckpointMismatch,
    ConfigError,
    DatasetError,
    LatentShapeError,
    LogitsNotFinite,
    SequenceTooLong,
    StorageFull,
    TrainingDiverged,
    TrainingProcessLost,
    WeightsCorrupted,
)
from adavae.service.errors import DISK_FULL, ServiceError
from adavae.service.jobs.records.job import JobError
from adavae.service.jobs.worker.verdict import NotWorthPublishing
from adavae.service.objects.errors import StoreError
from adavae.service.settings import Settings

_OF_THE_SERVICE = "num_processes"
_UNKNOWN = "internal_error"
MISCONFIGURED = JobError(
    code="worker_misconfigured",
    message="the worker is set up for more processes or GPUs than it has (ADAVAE_TRAINING_PROCESSES): who runs the "
    "service finds it in the worker's log, and the job need not be changed",
)
"""No job's fault, and nothing that its owner could change."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ended.

    Attributes:
        is_final: The next attempt would end the same way.
    """

    error: JobError
    is_final: bool


_TABLE: Mapping[type[AdaVAEError], tuple[str, str | None, bool]] = {
    DatasetError: ("invalid_training_file", "training_file", True),
    SequenceTooLong: ("invalid_training_file", "training_file", True),
    ConfigError: ("invalid_hyperparameters", "hyperparameters", True),
    AdapterSetMismatch: ("adapter_mismatch", "hyperparameters", True),
    AdapterSetNotFound: ("adapter_not_found", "hyperparameters", True),
    TrainingDiverged: ("training_diverged", "hyperparameters.learning_rate", True),
    LogitsNotFinite: ("training_diverged", "hyperparameters.learning_rate", True),
    LatentShapeError: ("training_diverged", "hyperparameters.learning_rate", True),
    CheckpointMismatch: ("checkpoint_mismatch", None, True),
    BackboneNotFound: ("backbone_unavailable", "model", False),
    WeightsCorrupted: ("backbone_unavailable", "model", False),
    StorageFull: ("storage_full", None, False),
}


def failure_of(error: Exception, hidden: Mapping[str, str]) -> Failure:
    """What an exception means for the job.

    Args:
        error: Ended the attempt.
        hidden: What must not be shown, such as the server's directories, and what stands for it.
    """
    if isinstance(error, NotWorthPublishing):
        return Failure(error.error, is_final=True)
    if isinstance(error, ConfigError) and error.field == _OF_THE_SERVICE:
        return Failure(MISCONFIGURED, is_final=False)
    for kind, (code, param, is_final) in _TABLE.items():
        if isinstance(error, kind):
            return Failure(JobError(code=code, message=_without(str(error), hidden), param=param), is_final)
    if isinstance(error, TrainingProcessLost):
        return Failure(JobError(code="training_process_lost", message=error.message), is_final=False)
    if isinstance(error, StoreError):
        return failure_of(error.answer(), hidden)
    if isinstance(error, ServiceError):
        reason = JobError(code=error.code, message=_without(error.message, hidden))
        return Failure(reason, is_final=error.retry_after_s is None)
    if isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error):
        return Failure(out_of_memory("memory ran out"), is_final=False)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        message = f"the disk took no more ({error.strerror}): make room on the volume"
        return Failure(JobError(code="storage_full", message=message), is_final=False)
    message = f"the training process failed ({type(error).__name__}): the worker's log says where"
    return Failure(JobError(code=_UNKNOWN, message=message), is_final=False)


def failure_to_start(error: Exception, hidden: Mapping[str, str]) -> Failure:
    """As ``failure_of``, where there was no training process yet."""
    failure = failure_of(error, hidden)
    if failure.error.code != _UNKNOWN:
        return failure
    reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    message = f"the training process could not be started ({reason}): the worker's log says more"
    return Failure(JobError(code="cannot_start", message=message), failure.is_final)


def places_of(settings: Settings) -> dict[str, str]:
    """Directories of the server, which are not shown, and what stands for each in a message."""
    return {
        settings.backbone_source: "the backbone",
        f"{settings.directory}{os.sep}": "",
        f"{settings.weights}{os.sep}": "",
    }


def out_of_memory(what: str) -> JobError:
    message = f"{what}: choose a smaller batch_size, shorter texts, or a machine with more memory"
    return JobError(code="out_of_memory", message=message, param="hyperparameters.batch_size")


def killed(signal_number: int) -> JobError:
    """The process was ended by a signal that was not ours."""
    if signal_number == 9:
        return out_of_memory("the training process was killed (signal 9), as happens when memory runs out")
    message = f"the training process was ended by signal {signal_number}: the worker's log says more"
    return JobError(code="process_killed", message=message)


def frozen(silence_s: float) -> JobError:
    """The process was there and gave no sign of life."""
    message = (
        f"the training process gave no sign of life for {silence_s:g} s (ADAVAE_TRAINING_SILENCE_S), as when it is "
        "stopped or its machine swaps: the worker's log says more"
    )
    return JobError(code="process_frozen", message=message)


def _without(message: str, hidden: Mapping[str, str]) -> str:
    for text, replacement in hidden.items():
        message = message.replace(text, replacement)
    return message
