"""From a record to its bytes: none is written that ``decoding`` would not read again."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import structlog

from adavae.service.errors import InvalidRequest
from adavae.service.jobs.records.decoding import MAX_RECORD_BYTES, decoded_file, decoded_job
from adavae.service.jobs.records.job import Job, StoredFile
from adavae.service.jobs.records.job_errors import JobDamaged
from adavae.service.jobs.records.volume_file import NotReadable

MAX_NEW_JOB_BYTES = MAX_RECORD_BYTES // 2  # the rest is for what comes to it while it runs
_LONGEST_ERROR = 2000
_log = structlog.get_logger("adavae.jobs")


class RecordTooLarge(InvalidRequest):
    """A record of so many bytes would never be read again."""

    def __init__(self, what: str, record: Mapping[str, Any], num_bytes: int, limit: int) -> None:
        sizes = {name: len(_json(value)) for name, value in record.items()}
        largest = max(sizes, key=sizes.__getitem__)
        super().__init__(
            f"the record of this {what} has {num_bytes:,} bytes, the limit is {limit:,}, and {sizes[largest]:,} of "
            f"them are its {largest}: make that shorter, as with fewer or shorter labels",
            code="record_too_large",
        )


def encoded_new_job(job: Job) -> bytes:
    """The record of a job that is about to be made; raises InvalidRequest where it is too large or odd to be kept."""
    record = job.to_dict()
    content = _json(record)
    if len(content) > MAX_NEW_JOB_BYTES:
        raise RecordTooLarge("job", record, len(content), MAX_NEW_JOB_BYTES)
    try:
        decoded_job(content, job.id)
    except NotReadable as exc:
        raise InvalidRequest(f"the job cannot be kept ({exc}): ask for it without that") from exc
    return content


def encoded_job(job: Job) -> tuple[Job, bytes]:
    """A job that is there, as it can be kept: without what is too large or odd of that which has come to it.

    Raises:
        JobDamaged: It could not be read again, whatever is left out.
    """
    try:
        return job, _checked(job)
    except NotReadable as exc:
        _log.warning("job_shortened", job=job.id, reason=str(exc))
    *others, last = _ever_shorter(job)
    for kept in others:
        with suppress(NotReadable):
            return kept, _checked(kept)
    try:
        return last, _checked(last)
    except NotReadable as exc:
        raise JobDamaged(job.id, str(exc)) from exc


def encoded_file(stored: StoredFile) -> bytes:
    """The record of a file that is about to be stored; raises InvalidRequest as ``encoded_new_job`` does."""
    record = asdict(stored)
    content = _json(record)
    if len(content) > MAX_RECORD_BYTES:
        raise RecordTooLarge("file", record, len(content), MAX_RECORD_BYTES)
    try:
        decoded_file(content, stored.id)
    except NotReadable as exc:
        raise InvalidRequest(f"the file cannot be kept ({exc}): send it without that", param="file") from exc
    return content


def _checked(job: Job) -> bytes:
    content = _json(job.to_dict())
    if len(content) > MAX_RECORD_BYTES:
        raise NotReadable(f"more than {MAX_RECORD_BYTES:,} bytes")
    decoded_job(content, job.id)
    return content


def _ever_shorter(job: Job) -> Iterator[Job]:
    if job.error is not None:
        job = replace(job, error=replace(job.error, message=job.error.message[:_LONGEST_ERROR]))
    yield replace(job, progress=None)
    yield replace(job, progress=None, metrics=None)
    yield replace(job, progress=None, metrics=None, report={})


def _json(value: object) -> bytes:
    return (json.dumps(value) + "\n").encode()
