"""From the bytes of a record to the record, checked as strictly as if they came from a client."""

import json
import re
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from adavae.model.errors import ConfigError, DatasetError
from adavae.model.storage.adapter_name import check_name
from adavae.service.jobs.records.job import Job, StoredFile
from adavae.service.jobs.records.volume_file import NotReadable

MAX_RECORD_BYTES = 4 * 1024**2
MAX_ATTEMPTS = 100_000

Record = TypeVar("Record")
_WHOLE_NUMBERS = 2**63  # what replies can hold
_VERSION = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_JOB, _FILE = TypeAdapter(Job), TypeAdapter(StoredFile)


def decoded(adapter: TypeAdapter[Record], content: bytes) -> Record:
    """The record in the bytes; raises NotReadable where they hold no such record.

    Pydantic refuses deep nesting and half surrogate pairs as well.
    """
    try:
        record = adapter.validate_json(content)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(place) for place in first["loc"])[:60]
        raise NotReadable(f"{where}: {first['msg']}"[:200].lstrip(": ")) from exc
    except DatasetError as exc:
        raise NotReadable(str(exc)[:200]) from exc
    if has_large_number(adapter.dump_python(record)):
        raise NotReadable("holds a number of more than 64 bits")
    return record


def decoded_job(content: bytes, job_id: str) -> Job:
    """A job's record; raises NotReadable where it is damaged, another's, or names a set that cannot exist."""
    job = decoded(_JOB, content)
    if job.id != job_id:
        raise NotReadable("is the record of another job")
    if not 0 <= job.attempt <= MAX_ATTEMPTS:
        raise NotReadable(f"attempt: must be 0 to {MAX_ATTEMPTS:,}")
    if job.publishing is not None and not _VERSION.fullmatch(job.publishing):
        raise NotReadable("publishing: is not a version")
    try:
        check_name(job.adapter_name)
    except ConfigError as exc:
        raise NotReadable("adapter_name: is not a name of a set") from exc
    return job


def decoded_file(content: bytes, file_id: str) -> StoredFile:
    """A stored file's record; raises NotReadable where it is damaged or another's."""
    stored = decoded(_FILE, content)
    if stored.id != file_id:
        raise NotReadable("is the record of another file")
    return stored


def decoded_object(content: bytes) -> dict[str, Any]:
    """Any JSON object; raises NotReadable where it is none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise NotReadable("is not JSON") from exc
    if not isinstance(value, dict):
        raise NotReadable("is not a JSON object")
    return value


def has_large_number(value: object) -> bool:
    """Whether a whole number that no reply can hold is anywhere in a value of JSON's types."""
    pending = [value]
    while pending:
        inner = pending.pop()
        if isinstance(inner, int) and not -_WHOLE_NUMBERS <= inner < _WHOLE_NUMBERS:
            return True
        if isinstance(inner, dict):
            pending += inner.values()
        elif isinstance(inner, list):
            pending += inner
    return False
