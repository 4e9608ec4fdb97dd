"""What readers give: one row of a file, and what they passed over on the way."""

from dataclasses import dataclass, field

from adavae.model.cleaning import clean
from adavae.model.errors import ConfigError, DatasetError
from adavae.model.pairs import joined
from adavae.model.training.readers.columns import Found


@dataclass(frozen=True, slots=True)
class Row:
    """One text.

    Attributes:
        line: Where it begins in the file, from 1; in a parquet file the number of the row.
        text: Cleaned; empty where the file has nothing. A pair of texts is joined to one.
        label: Cleaned; None where it has none.
    """

    line: int
    text: str
    label: str | None


def text_of_row(text: str, pair: str | None, place: str) -> str:
    """A row's text, cleaned, its second half joined to it; ``pair`` is None where texts stand alone.

    Raises:
        DatasetError: Half of the pair is empty, or holds what stands between the halves.
    """
    if pair is None:
        return clean(text)
    if not (clean(text) and clean(pair)):
        raise DatasetError(f"{place}: one text of the pair is empty: fill it, or remove the row")
    try:
        return joined(text, pair)
    except ConfigError as exc:
        raise DatasetError(f"{place}: {exc}") from exc


def check_storable(row: Row, place: str) -> None:
    """Raises DatasetError for what JSON's escapes can express and UTF-8 cannot: half a surrogate pair; and for NUL."""
    try:
        is_storable = b"\0" not in f"{row.text}{row.label or ''}".encode()
    except UnicodeEncodeError:
        is_storable = False
    if not is_storable:
        raise DatasetError(f"{place}: holds a NUL character or half a surrogate pair: remove the escape")


@dataclass(slots=True)
class Skipped:
    """What a file has beside its rows, and what of it was not read; filled while rows are taken.

    Attributes:
        blank_lines: Lines without anything on them.
        first_blank_line: The first of these, 0 if there is none.
        columns: Names of columns or fields that hold neither text nor label, in the order they came.
        names: Names of all columns or fields, in the order they came.
        read: Which of them are read; None in plain text, which has none.
    """

    blank_lines: int = 0
    first_blank_line: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    read: Found | None = None

    def blank(self, line: int) -> None:
        """Counts one blank line."""
        self.blank_lines += 1
        self.first_blank_line = self.first_blank_line or line

    def notes(self) -> tuple[str, ...]:
        """In plain words what a user should know of it."""
        if not self.columns:
            return ()
        return (f"columns that are not read: {_shown(list(self.columns))}",)


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(name[:40]) for name in names[:5]) + more
