"""Every kind of file, packed in every way, gives the same rows; files as pandas and datasets write them."""

import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.corpus import read_dataset
from adavae.model.training.readers.columns import Columns
from adavae.model.training.readers.reading import rows_of
from adavae.model.training.readers.row import Skipped
from tests.pipe import piped

HARD = (
    'the waiter said "no"',
    '"quoted" at its start',
    "two\nlines, a comma",
    "a tab\tinside",
    "caf\u00e9 \u2603",
    '"',
)
LABELS = ("1", "0", "1", "0", "1", "0")


def _table(separator: str, *, quoting: int = csv.QUOTE_MINIMAL, ending: str = "\n") -> str:
    """As ``DataFrame.to_csv`` writes it, its unnamed index in front."""
    written = io.StringIO()
    table = csv.writer(written, delimiter=separator, lineterminator=ending, quoting=quoting)  # type: ignore[arg-type]
    table.writerow(["", "text", "label"])
    table.writerows([number, text, label] for number, (text, label) in enumerate(zip(HARD, LABELS, strict=True)))
    return written.getvalue()


def _records() -> list[dict[str, object]]:
    return [{"text": text, "label": int(label)} for text, label in zip(HARD, LABELS, strict=True)]


def _by_columns() -> str:
    """As ``DataFrame.to_json`` writes it if nothing else is asked for."""
    columns = {name: {str(row): entry[name] for row, entry in enumerate(_records())} for name in ("text", "label")}
    return json.dumps(columns)


CONTENTS = {
    "commas.csv": _table(","),
    "quoted.csv": _table(",", quoting=csv.QUOTE_ALL, ending="\r\n"),
    "semicolons.csv": _table(";"),
    "tabs.csv": _table("\t"),
    "a.tsv": _table("\t"),
    "quoted.tsv": _table("\t", quoting=csv.QUOTE_ALL, ending="\r\n"),
    "a.jsonl": "".join(f"{json.dumps(entry)}\n" for entry in _records()),
    "plain.jsonl": "".join(f"{json.dumps(entry, ensure_ascii=False)}\r\n" for entry in _records()),
    "array.json": json.dumps(_records()),
    "indented.json": json.dumps(_records(), indent=2),
    "lines.json": "".join(f"{json.dumps(entry)}\n" for entry in _records()),
    "columns.json": _by_columns(),
}


def _zstd(content: bytes) -> bytes:
    zstd = pytest.importorskip("backports.zstd")
    packed: bytes = zstd.compress(content)
    return packed


PACKINGS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": _zstd}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_bytes(CONTENTS[name].encode(encoding))
    dataset = read_dataset(path)
    assert (dataset.texts, dataset.labels) == (HARD, LABELS)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", ["commas.csv", "a.tsv", "a.jsonl", "array.json"])
def test_packed_files_are_read_as_they_are(tmp_path: Path, name: str, packing: str) -> None:
    path = tmp_path / f"{name}{packing}".upper()
    path.write_bytes(PACKINGS[packing](CONTENTS[name].encode()))
    assert read_dataset(path).texts == HARD


@pytest.mark.parametrize("name", [*CONTENTS, "commas.csv.gz", "commas.csv.xz", "commas.csv.zst"])
def test_a_pipe_is_read_from_its_first_byte_on(tmp_path: Path, name: str) -> None:
    """A look at the first bytes used to take them, and what came with them, off the pipe."""
    packing = next((each for each in PACKINGS if each and name.endswith(each)), "")
    content = PACKINGS[packing](CONTENTS[name.removesuffix(packing)].encode())
    with piped(tmp_path / name, content) as path:
        assert read_dataset(path).texts == HARD


def test_a_long_pipe_loses_nothing(tmp_path: Path) -> None:
    texts = tuple(f"text number {number}" for number in range(20_000))
    with piped(tmp_path / "a.txt", "\n".join(texts).encode()) as path:
        assert read_dataset(path).texts == texts


def test_parquet_is_not_read_from_a_pipe(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with piped(tmp_path / "a.parquet", b"PAR1") as path, pytest.raises(DatasetError, match="is a pipe"):
        read_dataset(path)


@pytest.mark.parametrize("content", [b"", b"a", b"two\n"])
def test_a_file_of_a_few_bytes_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert [row.text for row in rows_of(path, Skipped())] == content.decode().split()


@pytest.mark.parametrize("packing", [".gz", ".xz", ".zst"])
def test_a_packed_file_may_be_of_several_parts(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"a.txt{packing}"
    path.write_bytes(PACKINGS[packing](b"one\ntw") + PACKINGS[packing](b"o\n"))
    assert read_dataset(path).texts == ("one", "two")


def test_a_parquet_file_gives_the_same_rows(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"id": range(6), "text": HARD, "label": list(map(int, LABELS))}), path)
    dataset = read_dataset(path)
    assert (dataset.texts, dataset.labels) == (HARD, LABELS)
    assert "'id'" in dataset.notes[0]
    parquet.write_table(arrow.table({"text": HARD, "text_pair": HARD}), path)
    assert read_dataset(path).texts == tuple(f"{text} \u241e {text}" for text in HARD)


def test_what_is_no_parquet_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DatasetError, match=r"a\.parquet: cannot be read as parquet"):
        read_dataset(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1, 0], ("1", "0")),
        ([True, False], ("True", "False")),
        ([1.0, 2.5], ("1.0", "2.5")),
        ([" a ", "b"], ("a", "b")),
        ([None, None], None),
        (["", None], None),
    ],
)
def test_labels_are_numbers_booleans_or_nothing_as_well(
    tmp_path: Path, values: list[object], labels: tuple[str, ...] | None
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"text {value}", "label": value}) + "\n" for value in values))
    assert read_dataset(path).labels == labels


def test_line_ends_of_every_kind_stand_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,label\rone,x\r\n"two\r\nlines",y\n\nthree,x\r')
    dataset = read_dataset(path)
    assert dataset.texts == ("one", "two\nlines", "three")
    assert dataset.lines == (2, 3, 6)
    assert dataset.blank_lines == 1


def test_columns_are_found_by_usual_names_or_as_they_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Review,note,Sentiment\ngood,n,1\nbad,n,0\n")
    guessed, told = read_dataset(path), read_dataset(path, columns=Columns("note", "Review"))
    assert (guessed.texts, guessed.labels) == (("good", "bad"), ("1", "0"))
    assert (told.texts, told.labels) == (("n", "n"), ("good", "bad"))
    assert guessed.notes == ("columns that are not read: 'note'",)
    for columns, missing in ((Columns("body"), "'body'"), (Columns(None, "stars"), "'stars'")):
        with pytest.raises(DatasetError, match=rf"a\.csv:1: there is no column named {missing}; there are 'Review'"):
            read_dataset(path, columns=columns)


def test_plain_text_has_no_columns_to_choose(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\nb\n")
    with pytest.raises(DatasetError, match="plain text has no columns"):
        read_dataset(path, columns=Columns("text"))


def test_rows_come_while_the_file_is_read(tmp_path: Path) -> None:
    """A fault far behind does not keep the first rows back."""
    for name, start in (
        ("a.jsonl", '{"text": "row"}\n' * 9000),
        ("a.json", '[{"text": "row"}' + ',{"text": "row"}' * 9000),
    ):
        path = tmp_path / name
        path.write_bytes(start.encode() + b"\xff")
        rows = rows_of(path, Skipped())
        assert next(rows).text == "row"
        with pytest.raises(DatasetError, match="is not UTF-8"):
            list(rows)
