"""A parquet file that was uploaded becomes JSON lines, which everything behind reads, or shows its first rows.

``parquet_child`` does both.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from math import ceil
from typing import Any

from adavae.model.errors import DatasetError
from adavae.model.training.readers.columns import Found
from adavae.model.training.readers.preview import Preview
from adavae.model.training.readers.row import Row
from adavae.service.jobs.data.check_pool import CheckTime
from adavae.service.jobs.data.parquet_child import MEMORY_BYTES, Conversion, Excerpt, Task

COMMAND = (sys.executable, "-P", "-m", "adavae.service.jobs.data.parquet_child")
_ENVIRONMENT = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
_ASK_EVERY_S = 0.1


def reads_parquet() -> bool:
    """Whether the library for it is installed here."""
    return importlib.util.find_spec("pyarrow") is not None


def converted(wanted: Conversion, check_time: CheckTime) -> tuple[str, ...]:
    """Carries it out, in a process of its own; gives notes for the user.

    Raises:
        DatasetError: It is no parquet file of texts, is out of bounds, or takes too much memory or time.
    """
    return tuple(_answer(wanted, check_time)["notes"])


def previewed(wanted: Excerpt, check_time: CheckTime) -> Preview:
    """The first rows, read in a process of its own; raises as ``converted`` does."""
    answer = _answer(wanted, check_time)
    return Preview(
        names=tuple(answer["names"]),
        read=Found(**answer["read"]),
        is_by_content=answer["is_by_content"],
        rows=tuple(Row(**row) for row in answer["rows"]),
        empty_texts=answer["empty_texts"],
        has_more=answer["has_more"],
        notes=tuple(answer["notes"]),
    )


def _answer(wanted: Task, check_time: CheckTime) -> dict[str, Any]:
    """What the process says; raises DatasetError."""
    with _process(wanted) as process:
        while True:
            check_time.ask(wanted.name)
            try:
                said, _ = process.communicate(timeout=_ASK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
            break
    if process.returncode != 0:
        raise DatasetError(
            f"{wanted.name}: cannot be read as parquet within {ceil(MEMORY_BYTES / 1024**2):,} MiB of memory and "
            f"{wanted.max_seconds} s: write it with smaller row groups, or send .jsonl"
        )
    answer: dict[str, Any] = json.loads(said)
    if "error" in answer:
        raise DatasetError(answer["error"])
    return answer


@contextmanager
def _process(wanted: Task) -> Iterator["subprocess.Popen[bytes]"]:
    """Killed where it still runs in the end; of the service's environment it gets nothing."""
    process = subprocess.Popen(
        [*COMMAND, json.dumps([type(wanted).__name__, asdict(wanted)])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
