"""What worker and training process say to each other: an order and commands down, one JSON object a line up."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

STOP = b"stop\n"
"""Command: finish the step, keep a checkpoint, end with ``STOPPED``."""

DONE, FAILED, STOPPED, SUPERSEDED, ORPHANED = 0, 1, 75, 76, 77
"""Exit codes: set published; said why not; stopped when asked to; another attempt has the job; the worker is gone."""

SETTINGS = (
    *("weights", "backbone", "data", "device", "dtype", "default_adapter", "training_processes"),
    *("store_cache", "store_cache_bytes", "store_timeout_s"),
)
"""What the process needs of the settings; keys and the queue's address are not among it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The first line on the process's standard input.

    Attributes:
        settings: Those of ``SETTINGS``, and ``threads``.
        training_file: Where the content of the job's training file is.
        training_columns: Fields of ``Columns`` for that file.
        niceness: Added to the process's own: 0 to 19.
        alive_every_s: How often it is to give a sign of life.
        uses_store: Whether it needs an object store, and so the variables that lead there.
    """

    job_id: str
    attempt: int
    worker: str
    settings: Mapping[str, Any]
    training_file: str
    validation_file: str | None
    training_columns: Mapping[str, str | None]
    validation_columns: Mapping[str, str | None]
    niceness: int
    alive_every_s: float
    uses_store: bool = False

    def to_line(self) -> bytes:
        return (json.dumps(asdict(self)) + "\n").encode()

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the process.

    Attributes:
        kind: ``alive``, ``note`` (a text on the data), ``started`` (the step it goes on from), ``preparing`` (stage,
            done, total or 0; at last ``train`` with the steps), ``progress`` (the figures), ``measuring`` (stage, done,
            total), ``failure`` (code, message, param, is_final).
        values: What goes with it.
    """

    kind: str
    values: Mapping[str, Any]

    def encode(self) -> bytes:
        return (json.dumps({"kind": self.kind, **self.values}) + "\n").encode()

    @classmethod
    def decode(cls, line: bytes) -> Self | None:
        """None for what is no line of ours."""
        try:
            values = json.loads(line)
            return cls(values.pop("kind"), values)
        except (ValueError, TypeError, AttributeError, KeyError):
            return None
