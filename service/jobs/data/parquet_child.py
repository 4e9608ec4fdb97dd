"""``python -m adavae.service.jobs.data.parquet_child``: a stranger's parquet file, read in a bounded process.

What a parquet file says of its own size may be wrong, and its pages are decompressed by a library that believes them.
So this process has hard limits of memory, time and output, knows no secrets, and whatever it dies of is an answer.
"""

import json
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adavae.model.training.readers.bounds import Bounds

MEMORY_BYTES = 2 * 1024**3
"""Address space; the library alone takes a quarter of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A whole file as JSON lines; the program's argument, as JSON.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """A file's first rows as the answer; the program's argument, as JSON.

    Attributes:
        source: The parquet file.
        name: What the file is called in messages.
        columns: Fields of ``Columns``.
        max_shown_rows: Rows of the answer.
        max_shown_bytes: Of their texts and labels.
        max_bytes: Of the file, decompressed.
        max_line_bytes: Of one text.
        max_rows: Rows of the file.
        max_seconds: Of processor time.
    """

    source: str
    name: str
    columns: dict[str, str | None]
    max_shown_rows: int
    max_shown_bytes: int
    max_bytes: int
    max_line_bytes: int
    max_rows: int
    max_seconds: int


Task = Conversion | Excerpt


def convert(wanted: Conversion) -> dict[str, Any]:
    """Writes the destination; gives the notes on what was not read. Raises DatasetError."""
    from adavae.model.errors import DatasetError
    from adavae.model.training.readers.columns import Columns
    from adavae.model.training.readers.parquet_rows import parquet_rows
    from adavae.model.training.readers.row import Skipped

    bounds = _bounds(wanted)
    skipped, num_bytes = Skipped(), 0
    with Path(wanted.destination).open("xb") as file:
        for row in parquet_rows(Path(wanted.source), Columns(**wanted.columns), bounds, skipped):
            line = json.dumps({"text": row.text, "label": row.label}, ensure_ascii=False).encode() + b"\n"
            num_bytes += len(line)
            if num_bytes > wanted.max_bytes:
                raise DatasetError(f"{wanted.source}: {bounds.too_large()}")
            file.write(line)
    return {"notes": skipped.notes()}


def excerpt(wanted: Excerpt) -> dict[str, Any]:
    """Fields of ``Preview``, as JSON types. Raises DatasetError."""
    from adavae.model.training.readers.columns import Columns
    from adavae.model.training.readers.preview import preview_of

    preview = preview_of(
        Path(wanted.source),
        Columns(**wanted.columns),
        max_rows=wanted.max_shown_rows,
        max_bytes=wanted.max_shown_bytes,
        bounds=_bounds(wanted),
    )
    return asdict(preview)


def _bounds(wanted: Task) -> "Bounds":
    from adavae.model.training.readers.bounds import Bounds

    return Bounds(
        max_bytes=wanted.max_bytes,
        max_line_bytes=wanted.max_line_bytes,
        max_lines=wanted.max_rows,
        bytes_setting="ADAVAE_MAX_UPLOAD_BYTES",
        line_setting="ADAVAE_MAX_LINE_BYTES",
    )


def _limit(wanted: Task) -> None:
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, wanted.max_seconds),
        (resource.RLIMIT_FSIZE, wanted.max_bytes + 1024**2),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))


def main() -> None:
    kind, fields = json.loads(sys.argv[1])
    wanted: Task = Excerpt(**fields) if kind == "Excerpt" else Conversion(**fields)
    _limit(wanted)
    from adavae.model.errors import DatasetError

    try:
        answer = excerpt(wanted) if isinstance(wanted, Excerpt) else convert(wanted)
    except DatasetError as exc:
        answer = {"error": str(exc).replace(wanted.source, wanted.name)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
