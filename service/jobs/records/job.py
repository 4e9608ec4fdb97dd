"""What a training job and a stored data file are: frozen records, as JSON on the volume; no input or output here."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pydantic import ConfigDict

from adavae.model.training.readers.columns import GUESSED, Columns

STRICT = ConfigDict(strict=True, extra="forbid")
"""How records are read: no value is turned into another type, and no field is passed over."""

JOB_ID = re.compile(r"ftjob-[0-9a-f]{24}")
FILE_ID = re.compile(r"file-[0-9a-f]{24}")


class JobStatus(StrEnum):
    """How far a job is; a finished job never changes again."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


class Wish(StrEnum):
    """What a user asked of a running job and its worker has not done yet."""

    CANCEL = "cancel"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed; ``param`` names the request's field it is about."""

    code: str
    message: str
    param: str | None = None

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A checked request for a training run.

    Attributes:
        training_file: Id of the stored texts.
        validation_file: Id of the texts held back, or None to split some off.
        backbone: As the request named it: ``bundled`` or what ``ADAVAE_BACKBONE`` holds.
        adapter_name: Name of the adapter set to make.
        hyperparameters: Fields of the wire form that the user gave; everything else is the preset's.
        seed: Of the run; None draws one.
        metadata: The user's own labels, given back as they are.
    """

    training_file: str
    validation_file: str | None = None
    backbone: str = "bundled"
    adapter_name: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training job as it stands on the volume; times are whole seconds since 1970.

    Attributes:
        id: ``ftjob-`` and 24 hexadecimal digits.
        hyperparameters: What was asked for, and beside it what the preset filled in.
        config: The run's ``TrainingConfig`` as JSON.
        backbone_digest: Of the backbone that the service had when the job was made.
        attempt: How many times a worker has taken the job up: the fencing token. Only the newest may publish.
        wish: What the user wants of a running job.
        report: What was found in the data before the job was accepted.
        progress: Newest figures: ``stage``, ``step``, ``total_steps`` (0 while unknown), ``eta_s`` (None likewise), and
            once a step is taken ``tokens_per_s`` and losses; None before the first.
        publishing: Version of the adapter set that is being put in place, or None; decides a crash at that moment.
        adapter: ``name@version`` of the set it made, or None.
        metrics: Of that set on the validation texts.
        owner: Name of the key that made the job; None where there were no keys.
        may_shadow: Whether its set may take the place of bundled ones, the default, and those of others.
    """

    id: str
    status: JobStatus
    created_at: int
    started_at: int | None = None
    finished_at: int | None = None
    training_file: str
    validation_file: str | None
    backbone: str
    backbone_digest: str
    adapter_name: str
    hyperparameters: Mapping[str, Any]
    config: Mapping[str, Any]
    seed: int
    metadata: Mapping[str, str]
    attempt: int = 0
    wish: Wish | None = None
    report: Mapping[str, Any]
    progress: Mapping[str, Any] | None = None
    estimated_finish: int | None = None
    trained_tokens: int | None = None
    publishing: str | None = None
    adapter: str | None = None
    metrics: Mapping[str, Any] | None = None
    error: JobError | None = None
    idempotency_key: str | None = None
    owner: str | None = None
    may_shadow: bool = True

    __pydantic_config__ = STRICT

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; ``decoding.decoded_job`` reads them again."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One line of a job's history.

    Attributes:
        id: ``ftevent-`` and the event's number in its job, nine digits, from 1: ids sort as events happened.
        data: For ``metrics`` the figures; for ``message`` empty or what the message is about.
    """

    id: str
    created_at: int
    level: Literal["info", "warn", "error"]
    type: Literal["message", "metrics"]
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredContent:
    """One file's bytes: how many, and their digest."""

    num_bytes: int
    sha256: str

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """Texts a user has sent.

    Attributes:
        id: ``file-`` and 24 hexadecimal digits.
        filename: Of the upload, without folders; decides how the content is read.
        num_bytes: Of the content.
        sha256: Of the content.
        num_rows: Texts in it.
        labels: How many rows carry each label; empty without labels.
        report: What was found: duplicates, lengths, warnings.
        columns: Those that were named at the upload; the others are guessed.
        lines: The JSON lines that a parquet file is read as; None where the content is read itself.
        owner: Name of the key that sent it; None where there were no keys.
        idempotency_key: What the upload came with, if anything.
    """

    id: str
    created_at: int
    filename: str
    purpose: str
    num_bytes: int
    sha256: str
    num_rows: int
    labels: Mapping[str, int]
    report: Mapping[str, Any]
    columns: Columns = GUESSED
    lines: StoredContent | None = None
    owner: str | None = None
    idempotency_key: str | None = None

    __pydantic_config__ = STRICT
