"""The figures that a worker leaves beside a job's record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from adavae.service.jobs.records.job import STRICT

MAX_PROGRESS_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Progress:
    """What a worker last said of its attempt; ``estimated_finish`` in seconds since 1970, None while unknown."""

    figures: Mapping[str, Any]
    estimated_finish: int | None

    __pydantic_config__ = STRICT


PROGRESS_FILE = TypeAdapter(Progress)
