"""A file's first rows, and the columns they come from: what a user looks at before all of it is read.

Where no column has a usual name, those are shown that look like texts and labels; training takes them when they are
named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.columns import Columns, Found, NoTextColumn
from adavae.model.training.readers.lines import num_bytes
from adavae.model.training.readers.reading import rows_of
from adavae.model.training.readers.row import Row, Skipped, check_storable

_LOOKED_AT = 100  # rows, where columns are told by what is in them
_CANDIDATES = 30  # columns that are looked at
_NAMES = 200
_NAME_CHARACTERS = 200
_MOST_LABELS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What is shown of a file.

    Attributes:
        names: Names of its columns or fields, in the order they came; at most 200, and none that is very long.
        read: Those that are read; None in plain text, which has none.
        is_by_content: Whether they were chosen by what is in them, because none has a usual name.
        rows: The first rows that have a text.
        empty_texts: Rows between them that have none.
        has_more: Whether more rows follow.
        notes: What a user should know of how the file is read, in plain words.
    """

    names: tuple[str, ...]
    read: Found | None
    is_by_content: bool
    rows: tuple[Row, ...]
    empty_texts: int
    has_more: bool
    notes: tuple[str, ...]


def preview_of(path: Path, columns: Columns, *, max_rows: int, max_bytes: int, bounds: Bounds) -> Preview:
    """Reads no further than it must.

    Args:
        path: The file; its ending says how it is read.
        columns: Which columns hold text, pair and label; guessed where they are not named.
        max_rows: How many rows are shown.
        max_bytes: Of their texts and labels together.
        bounds: How much is read at all.

    Raises:
        DatasetError: What was read of it cannot be used.
    """
    try:
        return _preview(path, columns, max_rows, max_bytes, bounds)
    except NoTextColumn as exc:
        chosen = None if columns.text is not None else _by_content(path, columns, exc.names, bounds)
        if chosen is None:
            raise
    preview = _preview(path, chosen, max_rows, max_bytes, bounds)
    note = f"no column is named as texts usually are: {chosen.text!r} is read, which has the longest; name another"
    return replace(preview, is_by_content=True, notes=(note, *preview.notes))


def _preview(path: Path, columns: Columns, max_rows: int, max_bytes: int, bounds: Bounds) -> Preview:
    skipped, rows, room, empty_texts, has_more = Skipped(), list[Row](), max_bytes, 0, False
    for row in rows_of(path, skipped, columns, bounds):
        if not row.text:
            empty_texts += 1
            continue
        check_storable(row, f"{path}:{row.line}")
        room -= num_bytes(row.text) + num_bytes(row.label or "")
        if len(rows) == max_rows or room < 0:
            has_more = True
            break
        rows.append(row)
    if not rows and not has_more:
        raise DatasetError(f"{path}: holds no text: add some")
    notes = [*skipped.notes()]
    if empty_texts:
        notes.append(f"rows without a text, which are left out: {empty_texts:,}; training wants them removed")
    if has_more and room < 0:
        notes.append(f"more than {max_bytes:,} bytes of text are not shown at once: the first {len(rows):,} rows are")
    names = [name for name in skipped.names if _can_be_named(name)]
    return Preview(
        names=tuple(names[:_NAMES]),
        read=skipped.read,
        is_by_content=False,
        rows=tuple(rows),
        empty_texts=empty_texts,
        has_more=has_more,
        notes=tuple(notes),
    )


def _can_be_named(name: str) -> bool:
    return 1 <= len(name) <= _NAME_CHARACTERS and name.isprintable()


def _by_content(path: Path, columns: Columns, names: Sequence[str], bounds: Bounds) -> Columns | None:
    """The column with the longest texts, and one of few values as labels; None where no names are in the first line.

    A first line that is as long as the others is no header but a row.
    """
    taken = (columns.label, columns.pair)
    candidates = [each for each in names if _can_be_named(each) and names.count(each) == 1 and each not in taken]
    lengths = {
        name: median(len(row.text) for row in rows)
        for name in candidates[:_CANDIDATES]
        if (rows := _first_rows(path, replace(columns, text=name), bounds))
    }
    text = max(lengths, key=lambda name: lengths[name], default=None)
    if text is None or lengths[text] <= 1.5 * max(map(len, names)):
        return None
    chosen = replace(columns, text=text)
    if chosen.label_of(names, str(path)) is not None:  # named, or by a usual name
        return chosen
    labels = (name for name in candidates[:_CANDIDATES] if name != text and _is_label(path, chosen, name, bounds))
    return replace(chosen, label=next(labels, None))


def _is_label(path: Path, columns: Columns, name: str, bounds: Bounds) -> bool:
    """Whether the column has few values, more than one, and one in every row."""
    rows = _first_rows(path, replace(columns, label=name), bounds)
    values = {row.label for row in rows}
    return None not in values and 2 <= len(values) <= max(2, min(_MOST_LABELS, len(rows) // 5))


def _first_rows(path: Path, columns: Columns, bounds: Bounds) -> list[Row]:
    """A few; none where the column holds anything else than texts."""
    bounds.ask()
    try:
        return list(islice(rows_of(path, Skipped(), columns, bounds), _LOOKED_AT))
    except DatasetError:
        return []
