"""Datasets: read and checked completely before training starts.

Faults are reported as ``file:line: what is wrong, and what to do``.
"""

import hashlib
import io
import json
import lzma
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adavae.model.errors import DatasetError

MAX_BYTES = 1024**3  # decompressed
MAX_LABELS = 1000
MAX_LABEL_CHARACTERS = 100
_BOUNDARY_MARKS = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


@dataclass(frozen=True, slots=True)
class Dataset:
    """Texts, and their labels where they have any.

    Attributes:
        texts: Never empty, none of them blank.
        labels: One per text, or None.
        digest: sha256 over texts and labels in order.
        source: The file's name, without its directory.
        lines: Line of each text in the file; None where they are 1, 2, 3 ...
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    digest: str
    source: str
    lines: tuple[int, ...] | None = None

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


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    text: str
    label: str | None


def read_dataset(path: Path, *, require_labels: bool = False, limit: int | None = None, seed: int = 0) -> Dataset:
    """Reads ``.tsv`` (columns label and text), ``.jsonl`` ({text, label?}) or ``.txt`` (one text a line), also ``.xz``.

    Args:
        path: The file.
        require_labels: Refuse texts without labels, or with only one.
        limit: Use only this many rows, drawn at random because files are often sorted.
        seed: Seed of that draw.

    Raises:
        DatasetError: The file or a line of it cannot be used; only blank lines are skipped.
    """
    suffix = Path(path.name.removesuffix(".xz")).suffix
    parse = _PARSERS.get(suffix)
    if parse is None:
        raise DatasetError(f"{path}: the ending must be one of {', '.join(_PARSERS)} (also with .xz)")
    rows = list(parse(path, _read_text(path)))
    if limit is not None:
        rows = [rows[place] for place in drawn_rows(len(rows), limit, seed)]
    _check_rows(path, rows, require_labels)
    labels = [row.label or "" for row in rows] if rows[0].label is not None else None
    return Dataset.of([row.text for row in rows], labels, path.name, [row.line for row in rows])


def drawn_rows(num_rows: int, limit: int, seed: int) -> list[int]:
    """``limit`` of ``num_rows`` places at random, ascending; all of them if there are not more."""
    if num_rows <= limit:
        return list(range(num_rows))
    return sorted(random.Random(seed).sample(range(num_rows), limit))


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise DatasetError(f"{path}: is a directory, name a file")
        with lzma.open(path, format=lzma.FORMAT_XZ) if path.suffix == ".xz" else path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as exc:
        raise DatasetError(f"{path}: there is no such file: check the path") from exc
    except (OSError, lzma.LZMAError, EOFError) as exc:
        raise DatasetError(f"{path}: cannot be read ({exc}): check its permissions, or compress it again") from exc
    if len(content) > MAX_BYTES:
        raise DatasetError(f"{path}: holds more than {MAX_BYTES:,} bytes, split it")
    for mark, name in _BOUNDARY_MARKS:
        if content.startswith(mark):
            raise DatasetError(f"{path}: is {name}, must be UTF-8: convert it first")
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        line = content[: exc.start].count(b"\n") + 1
        raise DatasetError(f"{path}:{line}: is not UTF-8 (byte 0x{content[exc.start]:02x}): convert the file") from exc
    if not text.strip():
        raise DatasetError(f"{path}: is empty: give at least 2 texts")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DatasetError(f"{path}:{line}: holds a NUL character: save it as plain UTF-8 (UTF-16 looks like this)")
    return text


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines without the blank ones."""
    for number, line in enumerate(io.StringIO(text), start=1):
        if line.strip():
            yield number, line.removesuffix("\n").removesuffix("\r")


def _parse_txt(path: Path, text: str) -> Iterator[_Row]:
    del path
    for number, line in _lines(text):
        yield _Row(number, line.strip(), None)


def _parse_tsv(path: Path, text: str) -> Iterator[_Row]:
    lines = _lines(text)
    header_line, header = next(lines, (1, ""))
    columns = [column.strip() for column in header.split("\t")]
    if columns.count("text") != 1 or columns.count("label") != 1:
        raise DatasetError(
            f"{path}:{header_line}: the header must name the tab-separated columns label and text once each, it reads "
            f"{header[:80]!r}: add it; texts without labels go into a .txt file"
        )
    if unknown := sorted(set(columns) - {"text", "label"}):
        raise DatasetError(
            f"{path}:{header_line}: has the columns {unknown}, only label and text are read: remove them, or join what "
            "belongs to one text into its column text"
        )
    text_column, label_column = columns.index("text"), columns.index("label")
    for number, line in lines:
        cells = line.split("\t")
        if len(cells) != len(columns):
            raise DatasetError(
                f"{path}:{number}: has {len(cells)} columns, the header {len(columns)}: add what is missing, or "
                "replace tabs inside a text"
            )
        yield _Row(number, cells[text_column].strip(), cells[label_column].strip())


def _parse_jsonl(path: Path, text: str) -> Iterator[_Row]:
    for number, line in _lines(text):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise DatasetError(f"{path}:{number}: is not JSON ({exc}): mend the line") from exc
        if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
            raise DatasetError(f'{path}:{number}: must be an object with a string "text": mend the line')
        if unknown := set(entry) - {"text", "label"}:
            raise DatasetError(f"{path}:{number}: has unknown fields {sorted(unknown)}: only text and label are read")
        label = entry.get("label")
        if label is not None and not isinstance(label, str):
            raise DatasetError(f'{path}:{number}: "label" is {label!r}, must be a string: put it in quotes')
        yield _Row(number, entry["text"].strip(), None if label is None else label.strip())


_PARSERS: dict[str, Callable[[Path, str], Iterator[_Row]]] = {
    ".tsv": _parse_tsv,
    ".jsonl": _parse_jsonl,
    ".txt": _parse_txt,
}


def _check_rows(path: Path, rows: list[_Row], require_labels: bool) -> None:
    if len(rows) < 2:
        raise DatasetError(f"{path}: has {len(rows)} texts, at least 2 are needed: add some")
    has_labels = rows[0].label is not None
    for row in rows:
        if not row.text:
            raise DatasetError(f"{path}:{row.line}: the text is empty: remove the line")
        if not (_is_storable(row.text) and _is_storable(row.label or "")):
            raise DatasetError(f"{path}:{row.line}: holds a NUL character or half a surrogate pair: remove the escape")
        if (row.label is not None) is not has_labels:
            raise DatasetError(f"{path}:{row.line}: some texts have a label and some do not: label all or none")
        if row.label is not None and not 1 <= len(row.label) <= MAX_LABEL_CHARACTERS:
            raise DatasetError(
                f"{path}:{row.line}: the label has {len(row.label)} characters, must have 1 to {MAX_LABEL_CHARACTERS}"
            )
    if require_labels and not has_labels:
        raise DatasetError(f"{path}: has no labels, and labels are needed here: give a .tsv with label and text")
    names = {row.label for row in rows}
    if require_labels and len(names) == 1:
        raise DatasetError(
            f"{path}: every text has the label {rows[0].label!r}, a head needs at least 2: add texts of another label, "
            "or give a .txt without labels"
        )
    if len(names) > MAX_LABELS:
        raise DatasetError(f"{path}: has {len(names)} different labels, at most {MAX_LABELS} are allowed")


def _is_storable(text: str) -> bool:
    """False for lone surrogates, which JSON's escapes can express but UTF-8 cannot."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
