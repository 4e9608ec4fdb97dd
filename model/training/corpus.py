"""Datasets: read (by ``readers``) and checked completely before training starts.

Faults are reported as ``file:line: what is wrong, and what to do``.
"""

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adavae.model.errors import DatasetError
from adavae.model.training.progress import OnDone, ignore_done
from adavae.model.training.readers.bounds import ORDINARY, Bounds
from adavae.model.training.readers.columns import GUESSED, Columns
from adavae.model.training.readers.reading import rows_of
from adavae.model.training.readers.row import Row, Skipped, check_storable

MAX_LABELS = 1000
_TOLD_EVERY = 10_000  # rows
MAX_LABEL_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Dataset:
    """Texts, and their labels where they have any.

    Attributes:
        texts: Never empty, none of them blank.
        labels: One per text, or None.
        digest: sha256 over texts and labels in order.
        source: The file's name, without its directory.
        lines: Line of each text in the file; None where they are 1, 2, 3 ...
        notes: What a user should know of how the file was read.
        blank_lines: Lines that were passed over.
        drawn_from: Rows that these were drawn from; None where all were taken.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    digest: str
    source: str
    lines: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    blank_lines: int = 0
    drawn_from: int | None = None

    @classmethod
    def of(
        cls, texts: Sequence[str], labels: Sequence[str] | None, source: str, lines: Sequence[int] | None = None
    ) -> "Dataset":
        own_lines = None if lines is None else tuple(lines)
        own_labels = None if labels is None else tuple(labels)
        return cls(tuple(texts), own_labels, _digest(texts, own_labels), source, own_lines)

    def rows(self, chosen: Sequence[int], source: str) -> "Dataset":
        """The dataset made of some rows of this one."""
        labels = None if self.labels is None else [self.labels[row] for row in chosen]
        return Dataset.of([self.texts[row] for row in chosen], labels, source, [self.line_of(row) for row in chosen])

    def line_of(self, row: int) -> int:
        """Where a row stands in the file, from 1."""
        return row + 1 if self.lines is None else self.lines[row]

    @property
    def rows_there(self) -> int:
        """Rows of the file, those that were not drawn too."""
        return len(self.texts) if self.drawn_from is None else self.drawn_from

    @property
    def label_names(self) -> tuple[str, ...]:
        """Every label once, sorted; empty without labels."""
        return tuple(sorted(set(self.labels))) if self.labels is not None else ()


def _digest(texts: Sequence[str], labels: Sequence[str] | None) -> str:
    """sha256 of ``[texts, labels]`` as JSON, built text by text, so it is never in memory as a whole."""
    digest = hashlib.sha256()
    for number, column in enumerate((texts, labels)):
        digest.update(b", " if number else b"[")
        if column is None:
            digest.update(b"null")
            continue
        for place, text in enumerate(column):
            digest.update(((", " if place else "[") + json.dumps(text, ensure_ascii=False)).encode())
        digest.update(b"]" if column else b"[]")
    digest.update(b"]")
    return digest.hexdigest()


def read_dataset(
    path: Path,
    *,
    require_labels: bool = False,
    least_labels: int = 2,
    limit: int | None = None,
    seed: int = 0,
    columns: Columns = GUESSED,
    bounds: Bounds = ORDINARY,
    on_done: OnDone = ignore_done,
) -> Dataset:
    """Reads a data file of any kind that ``readers.reading`` names.

    Args:
        path: The file.
        require_labels: Refuse texts without labels, or with fewer than ``least_labels`` different ones.
        least_labels: A head learns from 2 and more; to judge it one is enough.
        limit: Use only this many rows, drawn at random because files are often sorted.
        seed: Seed of that draw.
        columns: Which columns hold text and label; guessed by their names if left out.
        bounds: How much is read at all.
        on_done: Told how many rows are read, of 0: nobody knows yet how many there are.

    Raises:
        DatasetError: The file or a line of it cannot be used; only blank lines are skipped.
    """
    skipped = Skipped()
    rows = list(_counted(rows_of(path, skipped, columns, bounds), on_done))
    num_there = len(rows)
    if limit is not None:
        rows = [rows[place] for place in drawn_rows(len(rows), limit, seed)]
    if not rows:
        raise DatasetError(f"{path}: is empty: give at least 2 texts")
    _check_rows(path, rows, least_labels if require_labels else 0)
    labels = [row.label or "" for row in rows] if rows[0].label is not None else None
    lines = [row.line for row in rows]
    dataset = Dataset.of([row.text for row in rows], labels, path.name, lines)
    drawn_from = None if num_there == len(rows) else num_there
    return replace(dataset, notes=skipped.notes(), blank_lines=skipped.blank_lines, drawn_from=drawn_from)


def _counted(rows: Iterable[Row], on_done: OnDone) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if number % _TOLD_EVERY == 0:
            on_done(number, 0)
        yield row


def drawn_rows(num_rows: int, limit: int, seed: int) -> list[int]:
    """``limit`` of ``num_rows`` places at random, ascending; all of them if there are not more."""
    if num_rows <= limit:
        return list(range(num_rows))
    return sorted(random.Random(seed).sample(range(num_rows), limit))


def _check_rows(path: Path, rows: list[Row], least_labels: int) -> None:
    if len(rows) < 2:
        raise DatasetError(f"{path}: has {len(rows)} texts, at least 2 are needed: add some")
    has_labels = rows[0].label is not None
    for row in rows:
        if not row.text:
            raise DatasetError(f"{path}:{row.line}: the text is empty: remove the line")
        check_storable(row, f"{path}:{row.line}")
        if (row.label is not None) is not has_labels:
            raise DatasetError(f"{path}:{row.line}: some texts have a label and some do not: label all or none")
        if row.label is not None and not 1 <= len(row.label) <= MAX_LABEL_CHARACTERS:
            raise DatasetError(
                f"{path}:{row.line}: the label has {len(row.label)} characters, must have 1 to {MAX_LABEL_CHARACTERS}"
            )
    if least_labels and not has_labels:
        raise DatasetError(
            f"{path}: has no labels, and labels are needed here: add a column label, or name it with --label-column"
        )
    names = {row.label for row in rows}
    if len(names) < least_labels:
        raise DatasetError(
            f"{path}: every text has the label {rows[0].label!r}, a head needs at least 2: add texts of another label, "
            "or train without one (--preset generation)"
        )
    if len(names) > MAX_LABELS:
        raise DatasetError(f"{path}: has {len(names)} different labels, at most {MAX_LABELS} are allowed")
