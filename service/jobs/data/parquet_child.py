"""``python -m adavae.service.jobs.data.parquet_child``: a stranger's parquet file as JSON lines, in a bounded process.

What a parquet file says of its own size may be wrong, and its pages are decompressed by a library that believes them.
So this process has hard limits of memory, time and output, knows no secrets, and whatever it dies of is an answer.
"""

import json
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY_BYTES = 2 * 1024**3
"""Address space; the library alone takes a quarter of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What is to be done; the program's argument, as JSON.

    Attributes:
        source: The parquet file.
        destination: A ``.jsonl`` file, an object a row: ``text``, a pair joined, and ``label``.
        name: What the file is called in messages.
        columns: Fields of ``Columns``.
        max_bytes: Of the destination.
        max_line_bytes: Of one text.
        max_rows: Rows.
        max_seconds: Of processor time.
    """

    source: str
    destination: str
    name: str
    columns: dict[str, str | None]
    max_bytes: int
    max_line_bytes: int
    max_rows: int
    max_seconds: int


def convert(wanted: Conversion) -> dict[str, Any]:
    """Writes the destination; gives the notes on what was not read. Raises DatasetError."""
    from adavae.model.errors import DatasetError
    from adavae.model.training.readers.bounds import Bounds
    from adavae.model.training.readers.columns import Columns
    from adavae.model.training.readers.parquet_rows import parquet_rows
    from adavae.model.training.readers.row import Skipped

    bounds = Bounds(
        max_bytes=wanted.max_bytes,
        max_line_bytes=wanted.max_line_bytes,
        max_lines=wanted.max_rows,
        bytes_setting="ADAVAE_MAX_UPLOAD_BYTES",
        line_setting="ADAVAE_MAX_LINE_BYTES",
    )
    skipped, num_bytes = Skipped(), 0
    with Path(wanted.destination).open("x", encoding="utf-8") as file:
        for row in parquet_rows(Path(wanted.source), Columns(**wanted.columns), bounds, skipped):
            line = json.dumps({"text": row.text, "label": row.label}) + "\n"
            num_bytes += len(line)
            if num_bytes > wanted.max_bytes:
                raise DatasetError(f"{wanted.source}: {bounds.too_large()}")
            file.write(line)
    return {"notes": skipped.notes()}


def _limit(wanted: Conversion) -> None:
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, wanted.max_seconds),
        (resource.RLIMIT_FSIZE, wanted.max_bytes + 1024**2),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))


def main() -> None:
    wanted = Conversion(**json.loads(sys.argv[1]))
    _limit(wanted)
    from adavae.model.errors import DatasetError

    try:
        answer = convert(wanted)
    except DatasetError as exc:
        answer = {"error": str(exc).replace(wanted.source, wanted.name)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
