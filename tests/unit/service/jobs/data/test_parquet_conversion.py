"""Parquet of strangers becomes JSON lines within bounds, or is refused; nothing it holds harms the service."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from adavae.model.errors import DatasetError
from adavae.service.jobs.data import parquet_conversion
from adavae.service.jobs.data.check_pool import CheckTime
from adavae.service.jobs.data.parquet_child import Conversion
from adavae.service.jobs.data.parquet_conversion import converted

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
MIB = 1024**2


def conversion(path: Path, **fields: Any) -> Conversion:
    columns = {"text": None, "label": None, "pair": None}
    usual = {"columns": columns, "max_bytes": 4 * MIB, "max_line_bytes": MIB, "max_rows": 10_000, "max_seconds": 60}
    return Conversion(
        source=str(path), destination=str(path.with_name("rows.jsonl")), name="mine.parquet", **(usual | fields)
    )


def written(directory: Path, columns: dict[str, Any], **options: Any) -> Path:
    path = directory / "content.parquet"
    parquet.write_table(arrow.table(columns), path, **options)
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    lines = path.with_name("rows.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_texts_pairs_and_labels_are_kept_and_other_columns_are_told(tmp_path: Path) -> None:
    path = written(
        tmp_path, {"id": [1, 2], "body": [" a\u00a0b ", 'c "d"\ne'], "other": ["x", "y"], "stars": [1, None]}
    )
    notes = converted(conversion(path, columns={"text": "body", "label": "stars", "pair": "other"}), CheckTime(60))
    assert notes == ("columns that are not read: 'id'",)
    assert rows(path) == [{"text": "a b \u241e x", "label": "1"}, {"text": 'c "d"\ne \u241e y', "label": None}]


def test_letters_beyond_ascii_take_no_more_room_than_they_have(tmp_path: Path) -> None:
    """Each was six bytes of an escape, so that a third of the text reached the limits."""
    texts = ["яблоко " * 100 + str(number) for number in range(100)]
    size = sum(len(text.encode()) + len('{"text": "", "label": null}\n') for text in texts)
    path = written(tmp_path, {"text": texts})
    assert converted(conversion(path, max_bytes=2 * size), CheckTime(60)) == ()
    assert [row["text"] for row in rows(path)] == texts
    assert path.with_name("rows.jsonl").stat().st_size == size


def unpacks_to_much(directory: Path) -> Path:
    return written(directory, {"text": ["y" * 1000] * 20_000}, compression="zstd", use_dictionary=False)


def repeats_one_long_text(directory: Path) -> Path:
    """Two megabytes on the disk, eight gigabytes for a thousand rows."""
    column = arrow.DictionaryArray.from_arrays(arrow.array([0] * 5000, arrow.int32()), ["x" * 8 * MIB])
    return written(directory, {"text": column})


def has_too_many_rows(directory: Path) -> Path:
    return written(directory, {"text": ["a"] * 10_001})


def has_a_long_text(directory: Path) -> Path:
    return written(directory, {"text": ["a" * (MIB + 1), "b"]})


def has_no_texts(directory: Path) -> Path:
    return written(directory, {"text": [1, 2]})


def has_no_such_column(directory: Path) -> Path:
    return written(directory, {"body": ["a", "b"]})


def is_garbage(directory: Path) -> Path:
    (directory / "content.parquet").write_bytes(b"PAR1" + b"\xff" * 500 + b"\xf4\x01\x00\x00PAR1")
    return directory / "content.parquet"


def is_damaged_inside(directory: Path) -> Path:
    path = written(directory, {"text": ["a text", "another"] * 500})
    content = bytearray(path.read_bytes())
    content[10:60] = b"\xa5" * 50
    path.write_bytes(content)
    return path


HOSTILE = {
    unpacks_to_much: r"more than 4,194,304 bytes \(ADAVAE_MAX_UPLOAD_BYTES\)",
    repeats_one_long_text: "mine.parquet",
    has_too_many_rows: "more than 10,000 lines",
    has_a_long_text: r"mine.parquet:1: is longer than 1,048,576 bytes \(ADAVAE_MAX_LINE_BYTES\)",
    has_no_texts: "'text' is '1', must be a string",
    has_no_such_column: "no column with texts",
    is_garbage: "cannot be read as parquet",
    is_damaged_inside: "cannot be read as parquet",
}


@pytest.mark.parametrize(("make", "said"), HOSTILE.items(), ids=[make.__name__ for make in HOSTILE])
def test_what_is_out_of_bounds_or_broken_is_refused(tmp_path: Path, make: Any, said: str) -> None:
    path = make(tmp_path)
    with pytest.raises(DatasetError, match=said) as caught:
        converted(conversion(path), CheckTime(60))
    assert str(tmp_path) not in str(caught.value)


def test_a_process_that_dies_is_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, {"text": ["a", "b"]})
    monkeypatch.setattr(parquet_conversion, "COMMAND", (sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"))
    with pytest.raises(DatasetError, match=r"within 2,048 MiB of memory and 60 s: write it with smaller row groups"):
        converted(conversion(path), CheckTime(60))


def test_nobody_waits_for_longer_than_a_check_may_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, {"text": ["a", "b"]})
    monkeypatch.setattr(parquet_conversion, "COMMAND", (sys.executable, "-c", "import signal; signal.pause()"))
    with pytest.raises(DatasetError, match=r"could not be checked within 0\.1 s"):
        converted(conversion(path), CheckTime(0.1))


def test_the_process_knows_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAVAE_API_KEYS", "s3cret")
    tell = "import json, os; print(json.dumps({'notes': sorted(os.environ)}))"
    monkeypatch.setattr(parquet_conversion, "COMMAND", (sys.executable, "-c", tell))
    names = converted(conversion(tmp_path / "content.parquet"), CheckTime(60))
    assert "ARROW_DEFAULT_MEMORY_POOL" in names
    assert "ADAVAE_API_KEYS" not in names
