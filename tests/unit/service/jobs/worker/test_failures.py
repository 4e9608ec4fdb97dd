"""What the errors of a training process mean to the job's owner."""

import errno

import pytest

from adavae.model.errors import (
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
)
from adavae.service.errors import ServiceError
from adavae.service.jobs.worker.failures import failure_of, failure_to_start, killed
from adavae.service.objects.errors import StoreError


@pytest.mark.parametrize(
    ("error", "code", "is_final"),
    [
        (DatasetError("line 7"), "invalid_training_file", True),
        (SequenceTooLong("too long"), "invalid_training_file", True),
        (ConfigError("beta", -1, "must be at least 0"), "invalid_hyperparameters", True),
        (ConfigError("num_processes", 4, "must be at most the number of GPUs, 2"), "worker_misconfigured", False),
        (TrainingDiverged("NaN"), "training_diverged", True),
        (LatentShapeError("z holds NaN"), "training_diverged", True),
        (LogitsNotFinite((3,)), "training_diverged", True),
        (CheckpointMismatch("other"), "checkpoint_mismatch", True),
        (BackboneNotFound("gone"), "backbone_unavailable", False),
        (TrainingProcessLost("process 1 was ended by signal 9"), "training_process_lost", False),
        (StorageFull("full"), "storage_full", False),
        (OSError(errno.ENOSPC, "No space left on device"), "storage_full", False),
        (OSError(errno.EFBIG, "File too large"), "storage_full", False),
        (MemoryError(), "out_of_memory", False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory", False),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "out_of_memory", False),
        (OSError(errno.EIO, "Input/output error"), "internal_error", False),
        (AdaVAEError("unknown"), "internal_error", False),
    ],
)
def test_each_error_has_a_code_and_is_final_or_not(error: Exception, code: str, is_final: bool) -> None:
    failure = failure_of(error, {})
    assert (failure.error.code, failure.is_final) == (code, is_final)


@pytest.mark.parametrize(
    ("error", "code", "is_final"),
    [
        (StorageFull("full"), "storage_full", False),
        (StoreError("throttled", "s3://our-bucket/secret", "<Body>"), "storage_throttled", False),
        (ServiceError(404, "file_not_found", "there is no file"), "file_not_found", True),
        (ServiceError(503, "storage_full", "the disk is full", retry_after_s=30), "storage_full", False),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable", "/secret"), "cannot_start", False),
        (AdaVAEError("/secret"), "cannot_start", False),
    ],
)
def test_what_keeps_a_process_from_starting_is_final_or_not_and_shows_no_place(
    error: Exception, code: str, is_final: bool
) -> None:
    failure = failure_to_start(error, {})
    assert (failure.error.code, failure.is_final) == (code, is_final)
    assert not any(hidden in failure.error.message for hidden in ("secret", "bucket", "Body"))


def test_places_on_the_server_are_not_shown() -> None:
    error = DatasetError("/data/files/file-1/content.tsv:3: is empty; see /data/jobs/x")
    shown = failure_of(error, {"/data/files/file-1/content.tsv": "training_file", "/data/": ""}).error.message
    assert shown == "training_file:3: is empty; see jobs/x"


def test_what_a_lost_process_complained_of_is_not_shown() -> None:
    error = TrainingProcessLost("process 1 ended with exit code 1", "ValueError: somebody's text")
    assert failure_of(error, {}).error.message == "process 1 ended with exit code 1"
    assert str(error) == "process 1 ended with exit code 1 (ValueError: somebody's text)"


def test_what_nobody_foresaw_is_reported_without_its_message() -> None:
    message = failure_of(KeyError("somebody's text"), {}).error.message
    assert "somebody" not in message
    assert "KeyError" in message


def test_a_killed_process_has_probably_run_out_of_memory() -> None:
    assert killed(9).code == "out_of_memory"
    assert "signal 11" in killed(11).message
