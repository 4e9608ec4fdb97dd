"""Datasets: every kind of file, every fault with its place."""

import hashlib
import json
import lzma
from pathlib import Path

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.readers.bounds import Bounds

TSV = "label\ttext\ngood\tnice place.\nbad\tawful place.\n"


def _written(directory: Path, name: str, content: str | bytes) -> Path:
    path = directory / name
    encoded = content.encode() if isinstance(content, str) else content
    path.write_bytes(lzma.compress(encoded) if name.endswith(".xz") else encoded)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", TSV),
        ("a.tsv.xz", TSV),
        ("a.tsv", TSV.replace("\n", "\r\n")),
        ("a.tsv", "\ufeff" + TSV),
        ("a.tsv", TSV.rstrip("\n")),
        ("a.tsv", "text\tlabel\nnice place.\tgood\nawful place.\tbad\n"),
        ("a.jsonl", '{"text": "nice place.", "label": "good"}\n{"label": "bad", "text": " awful place. "}\n'),
        ("a.jsonl.xz", '{"text": "nice place.", "label": "good"}\n\n{"label": "bad", "text": "awful place."}\n'),
    ],
)
def test_every_kind_of_file_gives_the_same_dataset(tmp_path: Path, name: str, content: str) -> None:
    dataset = read_dataset(_written(tmp_path, name, content), require_labels=True)
    assert (dataset.texts, dataset.labels) == (("nice place.", "awful place."), ("good", "bad"))
    assert dataset.digest == Dataset.of(["nice place.", "awful place."], ["good", "bad"], "elsewhere").digest
    assert (dataset.source, dataset.label_names) == (name, ("bad", "good"))


@pytest.mark.parametrize("name", ["a.txt", "a.txt.xz"])
def test_text_files_have_a_text_a_line_and_may_have_blank_lines(tmp_path: Path, name: str) -> None:
    dataset = read_dataset(_written(tmp_path, name, " one \n\n  \ntwo\u2028half\x0b\n"))
    assert (dataset.texts, dataset.labels, dataset.lines) == (("one", "two\u2028half"), None, (1, 4))


def test_texts_keep_quotes_and_may_be_very_long(tmp_path: Path) -> None:
    """The csv module refused cells of more than 131,072 characters with an error of its own."""
    long = "x" * 200_000
    dataset = read_dataset(_written(tmp_path, "a.tsv", f'label\ttext\na\t"quoted\nb\t{long}\n'))
    assert dataset.texts == ('"quoted', long)


@pytest.mark.parametrize(
    ("texts", "labels"), [(["a\u2603", 'b"'], None), (["a", "b"], ["x", "y"]), ([], []), (["a"], ["x"])]
)
def test_the_digest_is_that_of_the_whole_as_json(texts: list[str], labels: list[str] | None) -> None:
    whole = json.dumps([texts, labels], ensure_ascii=False).encode()
    assert Dataset.of(texts, labels, "file").digest == hashlib.sha256(whole).hexdigest()


def test_the_digest_depends_on_texts_labels_and_order_alone() -> None:
    digests = {
        Dataset.of(texts, labels, "file").digest
        for texts, labels in [
            (["a", "b"], None),
            (["b", "a"], None),
            (["ab", ""], None),
            (["a", "b"], ["x", "y"]),
            (["a", "b"], ["y", "x"]),
            (["a", "x", "b", "y"], None),
        ]
    }
    assert len(digests) == 6
    assert Dataset.of(["a"], None, "one", [1]).digest == Dataset.of(["a"], None, "two", [9]).digest


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "", r"a.tsv: is empty"),
        ("a.txt", "\n \n", r"a.txt: is empty"),
        ("a.tsv", "label\ttext\n", r"a.tsv: is empty: give at least 2 texts"),
        ("a.txt", "one\n", r"a.txt: has 1 texts, at least 2"),
        ("a.tsv", "good\tno header\nbad\tat all\n", r"a.tsv:1: there is no column with texts.*'good', 'no header'"),
        ("a.tsv", "label\ttext\ttext\na\tb\tc\n", r"a.tsv:1: has the column 'text' 2 times"),
        ("a.tsv", "label\ttext\ttext_pair\na\tb\tc\na\tb\t \n", r"a.tsv:3: one text of the pair is empty"),
        ("a.tsv", "label\ttext\ttext_pair\na\tb\tc\na\tb\t\u241e\n", r"a.tsv:3: .*stands between the texts of a pair"),
        ("a.tsv", TSV + "bad\n", r"a.tsv:4: has 1 columns, the header 2"),
        ("a.tsv", TSV + "bad\ta\tb\n", r"a.tsv:4: has 3 columns, the header 2"),
        ("a.tsv", TSV + "bad\t \n", r"a.tsv:4: the text is empty"),
        ("a.tsv", TSV + " \ttext\n", r"a.tsv:4: some texts have a label and some do not"),
        ("a.tsv", TSV + "b" * 101 + "\ttext\n", r"a.tsv:4: the label has 101 characters"),
        ("a.tsv", TSV.encode() + b"bad\tcaf\xe9\n", r"a.tsv:4: is not UTF-8 \(byte 0xe9\)"),
        ("a.tsv", b"\xef\xbb\xbf" + TSV.encode() + b"bad\tcaf\xe9\n", r"a.tsv:4: is not UTF-8 \(byte 0xe9\)"),
        ("a.tsv", TSV.encode("utf-16-le"), r"a.tsv:1: holds a NUL"),
        ("a.txt", "one\ntw\0o\n", r"a.txt:2: holds a NUL"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', r"a.jsonl:2: is not JSON"),
        ("a.jsonl", '{"text": "a"}\n' + "[" * 100_000 + "\n", r"a.jsonl:2: is not JSON"),
        ("a.jsonl", '{"text": "a"}\n' + "1" * 10_000 + "\n", r"a.jsonl:2: is not JSON"),
        ("a.jsonl", '{"text": "a"}\n["text"]\n', r"a.jsonl:2: must be an object"),
        ("a.jsonl", '{"text": "a"}\n{"label": "b"}\n', r"a.jsonl:2: must be an object with a string .text"),
        ("a.jsonl", '{"text": "a", "label": [1]}\n', r"a.jsonl:1: 'label' is '\[1\]', a label must be a string"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b"}\n', r"a.jsonl:2: some texts have a label"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b", "label": "x"}\n', r"a.jsonl:2: some texts have a label"),
        ("a.jsonl", '{"text": "a"}\n{"text": "\\ud800"}\n', r"a.jsonl:2: .*surrogate"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b\\u0000"}\n', r"a.jsonl:2: holds a NUL"),
        ("a.docx", TSV, r"a.docx: the ending must be one of .csv, .tsv"),
        ("a.parquet.gz", TSV, r"a.parquet.gz: the ending must be one of .csv, .tsv"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_dataset(_written(tmp_path, name, content))


def test_a_directory_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").mkdir()
    with pytest.raises(DatasetError, match="is a directory"):
        read_dataset(tmp_path / "a.tsv")
    with pytest.raises(DatasetError, match="no such file"):
        read_dataset(tmp_path / "b.tsv")


@pytest.mark.parametrize("content", [b"not compressed\n" * 9, lzma.compress(b"line\n" * 9)[:-20]])
def test_a_broken_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.txt.xz"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"a.txt.xz: (is not compressed with|cannot be decompressed.* with) xz"):
        read_dataset(path)


def test_a_small_archive_of_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = _written(tmp_path, "a.txt.xz", "line\n" * 10_000)
    assert path.stat().st_size < 1000
    with pytest.raises(DatasetError, match="more than 1,000 bytes"):
        read_dataset(path, bounds=Bounds(max_bytes=1000))


def test_labels_are_demanded_only_where_they_are_needed(tmp_path: Path) -> None:
    without, one = _written(tmp_path, "a.txt", "a\nb\n"), _written(tmp_path, "a.tsv", "label\ttext\nx\ta\nx\tb\n")
    assert read_dataset(without).labels is None
    assert read_dataset(one).labels == ("x", "x")
    with pytest.raises(DatasetError, match=r"a.txt: has no labels"):
        read_dataset(without, require_labels=True)
    with pytest.raises(DatasetError, match=r"a.tsv: every text has the label 'x'"):
        read_dataset(one, require_labels=True)


def test_more_than_a_thousand_labels_are_refused(tmp_path: Path) -> None:
    rows = [f"label {number}\ttext\n" for number in range(1001)]
    assert len(read_dataset(_written(tmp_path, "a.tsv", "label\ttext\n" + "".join(rows[:1000]))).label_names) == 1000
    with pytest.raises(DatasetError, match="1001 different labels"):
        read_dataset(_written(tmp_path, "a.tsv", "label\ttext\n" + "".join(rows)))


def test_a_limit_draws_rows_by_the_seed(tmp_path: Path) -> None:
    """The first rows of a file that is sorted by label have one label."""
    rows = "".join(f"{label}\t{label} {row}\n" for label in "ab" for row in range(50))
    path = _written(tmp_path, "a.tsv", "label\ttext\n" + rows)
    first, again, other = (read_dataset(path, limit=20, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.texts != other.texts
    assert first.label_names == ("a", "b")
    assert [first.line_of(row) for row in range(20)] == sorted(first.lines or ())
    whole = read_dataset(path)
    assert [whole.texts[line - 2] for line in first.lines or ()] == list(first.texts)
    assert read_dataset(path, limit=1000).texts == whole.texts
    assert (first.rows_there, whole.rows_there) == (len(whole.texts), len(whole.texts))
