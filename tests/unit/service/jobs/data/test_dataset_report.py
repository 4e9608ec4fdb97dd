"""What is refused of data, and what is reported, before it is accepted."""

import lzma
import tracemalloc
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adavae.model.errors import DatasetError
from adavae.service.jobs.data import dataset_report
from adavae.service.jobs.data.check_pool import CheckTime
from adavae.service.jobs.data.dataset_report import DatasetReport, report_on
from tests.tiny_text import as_tsv, reviews

MIB = 1024**2


def count_words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def reported(path: Path, content: bytes | str, **fields: Any) -> DatasetReport:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    usual = {"count_tokens": count_words, "max_tokens": 20, "max_bytes": 64 * MIB, "max_line_bytes": MIB}
    return report_on(path, **(usual | {"check_time": CheckTime(600)} | fields))


def test_good_data_is_counted_and_not_warned_of(tmp_path: Path) -> None:
    data = reviews(300)
    assert data.labels is not None
    report = reported(tmp_path / "a.tsv", as_tsv(data), max_tokens=60)
    counts = sorted(count_words(data.texts))
    assert report.rows == 300
    assert report.labels == {label: data.labels.count(label) for label in ("no", "yes")}
    assert (report.exact_duplicates, report.normalised_duplicates, report.conflicting_texts) == (0, 0, 0)
    assert report.tokens.measured_rows == 300
    assert (report.tokens.median, report.tokens.p90, report.tokens.p99) == (counts[150], counts[270], counts[297])
    assert report.tokens.longest == counts[-1]
    assert (report.blank_lines, report.rows_over_max_tokens, report.warnings) == (0, 0, ())


def test_what_is_found_can_be_written_as_json(tmp_path: Path) -> None:
    shown = reported(tmp_path / "a.txt", "a\nb\n").to_dict()
    assert shown["tokens"] == {"measured_rows": 2, "median": 1, "p90": 1, "p99": 1, "longest": 1}
    assert shown["labels"] == {}
    assert isinstance(shown["warnings"], list)


def test_copies_are_counted_exactly_and_without_case_and_spacing(tmp_path: Path) -> None:
    report = reported(tmp_path / "a.txt", "good\ngood\nGood\ngood   food\ngood food\nbad\n")
    assert (report.exact_duplicates, report.normalised_duplicates) == (1, 3)
    assert any("repeat an earlier one: 1;" in warning for warning in report.warnings)
    assert any("case or spacing only: 2" in warning for warning in report.warnings)


def test_one_text_with_two_labels_is_reported(tmp_path: Path) -> None:
    report = reported(tmp_path / "a.tsv", "label\ttext\nyes\tgood\nno\tGOOD\nyes\tfine\nyes\tfine\n")
    assert report.conflicting_texts == 1
    assert any("different labels: 1;" in warning for warning in report.warnings)


def test_labels_that_hardly_occur_are_named(tmp_path: Path) -> None:
    rows = [f"common\tgood {number}" for number in range(200)] + ["rare\tbad", "odd\tworse", "odd\tworst"]
    report = reported(tmp_path / "a.tsv", "label\ttext\n" + "\n".join(rows))
    assert report.warnings == (
        "labels with fewer than 5 texts: 2, as 'odd' (2), 'rare' (1); a head hardly learns these",
    )


def test_one_label_is_enough_to_validate_on(tmp_path: Path) -> None:
    report = reported(tmp_path / "a.tsv", "label\ttext\nx\ta\nx\tb\n")
    assert report.labels == {"x": 2}
    assert any("every text has the label 'x': enough to validate on" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\na\n\n  \nb\n"),
        ("a.tsv", "\nlabel\ttext\n\nx\ta\n\t\ny\tb\n"),
        ("a.jsonl", '\n{"text": "a"}\n\n\n{"text": "b"}\n'),
    ],
)
def test_blank_lines_are_counted(tmp_path: Path, name: str, content: str) -> None:
    report = reported(tmp_path / name, content)
    assert report.blank_lines == 3
    assert any("blank lines that were passed over: 3" in warning for warning in report.warnings)


def test_rows_longer_than_the_context_are_counted_and_reported(tmp_path: Path) -> None:
    lengths = [3, 20, 21, 5, 400]
    report = reported(tmp_path / "a.txt", "\n".join(" ".join(["w"] * length) for length in lengths))
    assert report.rows_over_max_tokens == 2
    assert report.tokens.longest == 400
    assert any("2 of 5, the longest has 400; training uses their beginning" in told for told in report.warnings)


def test_every_long_row_is_counted_also_where_only_some_rows_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_report, "_MEASURED_ROWS", 10)
    long_rows = {7, 55, 99}
    rows = [" ".join([f"w{row}"] * (30 if row in long_rows else 3)) for row in range(100)]
    report = reported(tmp_path / "a.txt", "\n".join(rows))
    assert report.rows_over_max_tokens == 3
    assert report.tokens.measured_rows < 20


def test_texts_are_counted_a_few_at_a_time(tmp_path: Path) -> None:
    sizes = []

    def count(texts: Sequence[str]) -> list[int]:
        sizes.append((len(texts), sum(map(len, texts))))
        return count_words(texts)

    many = reported(tmp_path / "a.txt", "\n".join(f"text {number}" for number in range(2500)), count_tokens=count)
    assert [rows for rows, _ in sizes] == [1000, 1000, 500]
    sizes.clear()
    large = reported(
        tmp_path / "b.txt", "\n".join(f"{number} " * 100_000 for number in range(1, 20)), count_tokens=count
    )
    assert max(characters for _, characters in sizes) < 1_200_000  # one text at a time
    assert (many.rows, large.rows) == (2500, 19)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b"\n \n\n", "is empty"),
        ("a.txt", b"only one\n", "has 1 texts, at least 2"),
        ("a.txt", b"same\nSame\n same \n", "all 3 texts are copies of one"),
        ("a.txt", "a\nb\n".encode("utf-16-le"), ":1: holds a NUL character"),
        ("a.txt", b"fine\nna\xefve\n", ":2: is not UTF-8 (byte 0xef)"),
        ("a.jsonl", bytes(range(256)), ":3: is not UTF-8 (byte 0x80)"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "b"\n', ":2: is not JSON"),
        ("a.jsonl", b'{"text": "a"}\n\n{"text": 5}\n', ':3: must be an object with a string "text"'),
        ("a.jsonl", b'{"text": "a"}\n{"text": "  "}\n', ":2: the text is empty"),
        ("a.jsonl", b'{"text": "a", "label": "x"}\n{"text": "b"}\n', ":2: some texts have a label"),
        ("a.jsonl", b'{"text": "a"}\n' + b"[" * 100_000 + b"\n", ":2: is not JSON"),
        ("a.tsv", b"text\tlabel\na\tx\nb\n", ":3: has 1 columns, the header 2"),
        ("a.txt.xz", b"plain text\nmore\n", "is not compressed with xz"),
        ("a.txt.xz", b"", "is not compressed with xz"),
        ("a.txt.xz", lzma.compress(b"a\nb\n" * 99)[:-8], "cannot be decompressed"),
        ("a.txt.xz", lzma.compress(b"a\nb\n" * 99)[:40] + b"garbage!" * 9, "cannot be decompressed"),
        ("a.txt", lzma.compress(b"a\nb\n"), "is compressed with xz and not named .xz"),
        ("a.jsonl", b"\x1f\x8b\x08\0rest", "is compressed with gzip and not named .gz"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    with pytest.raises(DatasetError) as refused:
        reported(tmp_path / name, content)
    assert str(refused.value).startswith(str(tmp_path / name))
    assert told in str(refused.value)


def test_a_zip_bomb_is_called_what_it_is(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.jsonl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("texts.jsonl", bytes(10 * MIB))
    with pytest.raises(DatasetError, match="is a zip archive: unpack it"):
        reported(tmp_path / "bomb.jsonl", (tmp_path / "bomb.jsonl").read_bytes())


def packed(line: bytes, num_bytes: int) -> bytes:
    """Compressed lines; nothing large is made on the way."""
    compressor = lzma.LZMACompressor(preset=0)
    block = line * (MIB // len(line))
    return b"".join([*(compressor.compress(block) for _ in range(num_bytes // len(block))), compressor.flush()])


@pytest.mark.parametrize("line", [b"two\n", b"two words\n", b"w" * 1000 + b"\n"])
def test_a_bomb_is_given_up_at_the_limit_and_never_held(tmp_path: Path, line: bytes) -> None:
    bomb = packed(line, 32 * MIB)
    assert len(bomb) < 300_000
    tracemalloc.start()
    try:
        with pytest.raises(
            DatasetError, match=r"holds more than 1,048,576 bytes \(ADAVAE_MAX_UPLOAD_BYTES\): split it"
        ):
            reported(tmp_path / "bomb.txt.xz", bomb, max_bytes=MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * MIB


def test_many_streams_in_one_file_are_bounded_together(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds more than"):
        reported(tmp_path / "a.txt.xz", packed(b"some words\n", MIB) * 10, max_bytes=3 * MIB)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a\n" * 11, "has more than 10 lines"),
        (b"ok\n" + b"a" * 51, r":2: is longer than 50 bytes \(ADAVAE_MAX_LINE_BYTES\): one text is one line, break it"),
    ],
)
def test_lines_are_bounded_before_anything_is_made_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, told: str
) -> None:
    monkeypatch.setattr(dataset_report, "MAX_LINES", 10)
    with pytest.raises(DatasetError, match=told):
        reported(tmp_path / "a.txt", content, max_line_bytes=50)


def test_lines_and_bytes_at_the_bounds_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_report, "MAX_LINES", 2)
    content = b"a" * 49 + b"\n" + b"b" * 50
    assert reported(tmp_path / "a.txt", content, max_bytes=100, max_line_bytes=50).rows == 2


def test_compressed_data_is_read(tmp_path: Path) -> None:
    report = reported(
        tmp_path / "a.jsonl.xz", lzma.compress(b'{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}')
    )
    assert report.labels == {"x": 1, "y": 1}


def test_columns_that_are_not_read_and_labels_that_look_alike_are_reported(tmp_path: Path) -> None:
    rows = "".join(f"{row},text {row},{'Good' if row % 2 else 'good'}\n" for row in range(200))
    report = reported(tmp_path / "a.csv", "id,text,label\n" + rows)
    assert report.labels == {"Good": 100, "good": 100}
    assert len(report.warnings) == 2
    assert report.warnings[0].startswith("columns that are not read: 'id'")
    assert "look alike and count as different ones: 'Good' (100), 'good' (100)" in report.warnings[1]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", 'text\n"' + "never closed\n" * 100, ":2: the row is longer than 100 bytes (ADAVAE_MAX_LINE_BYTES)"),
        (
            "a.json",
            '[{"text": "' + "never closed " * 100,
            ":1: an entry is longer than 100 bytes (ADAVAE_MAX_LINE_BYTES)",
        ),
        ("a.json", '[{"text": "a"}' + ', {"text": "b"}' * 11, "has more than 10 lines"),
        ("a.json", "[" + " " * 2000, "holds more than 2,000 bytes (ADAVAE_MAX_UPLOAD_BYTES)"),
    ],
)
def test_bounds_hold_for_what_may_be_one_long_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, told: str
) -> None:
    monkeypatch.setattr(dataset_report, "MAX_LINES", 200 if name == "a.csv" else 10)
    with pytest.raises(DatasetError) as refused:
        reported(tmp_path / name, content, max_bytes=2000, max_line_bytes=100)
    assert told in str(refused.value)


def test_the_time_of_a_check_holds_for_json_of_one_line(tmp_path: Path) -> None:
    content = "[" + ",".join('{"text": "some words"}' for _ in range(20_000)) + "]"
    for allowed in range(10):
        now = iter(range(100))
        with pytest.raises(DatasetError, match=r"not be checked within .* s"):
            reported(tmp_path / "a.json", content, check_time=CheckTime(allowed - 0.5, lambda now=now: next(now)))  # type: ignore[misc]


def test_a_text_without_tokens_is_refused_by_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.txt:3: has no tokens"):
        reported(
            tmp_path / "a.txt", "a\n\nb\n", count_tokens=lambda texts: [len(text) - (text == "b") for text in texts]
        )


def test_a_check_ends_when_its_time_is_up(tmp_path: Path) -> None:
    """Between any two of its pieces: while lines are read, and while tokens are counted."""
    content = "\n".join(f"text {number}" for number in range(5000))
    for allowed in range(12):
        now = iter(range(100))
        with pytest.raises(DatasetError, match=r"not be checked within .* s \(ADAVAE_CHECK_TIMEOUT_S\): split it into"):
            reported(tmp_path / "a.txt", content, check_time=CheckTime(allowed - 0.5, lambda now=now: next(now)))  # type: ignore[misc]
