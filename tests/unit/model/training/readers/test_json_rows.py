"""JSON of every shape, and how it is refused."""

import tracemalloc
from pathlib import Path

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import MIB, Bounds
from adavae.model.training.readers.columns import GUESSED
from adavae.model.training.readers.json_rows import json_line_rows, json_rows
from adavae.model.training.readers.row import Row, Skipped


def _rows(directory: Path, content: str, **bounds: int) -> list[Row]:
    path = directory / "a.json"
    path.write_text(content, encoding="utf-8")
    return list(json_rows(path, GUESSED, Bounds(**bounds), Skipped()))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('[{"text": "a"},\n{"text": "b",}]', ":2: is not JSON"),
        ('[{"text": "a"},\n["b"]]', ":2: must be an object"),
        ('[{"text": "a"}\n', ":2: is not JSON .']' expected, 'the end' found"),
        ('[{"text": "a"}] x', ":1: something stands behind the end"),
        ("[" * 100_000, ":1: must be an object"),
        ('[{"a":' * 100_000, ":1: is not JSON .nested too deeply"),
        ('[{"text": "a", "more": ' + "[" * 100_000, ":1: is not JSON .nested too deeply"),
        ('[{"text": 7}]', ':1: must be an object with a string "text"'),
        ('[{"text": "a"}, {"text": null}]', ':1: must be an object with a string "text"'),
        ('[{"words": "a"}]', ":1: there is no column with texts.*'words'"),
        ('[{"text": "a", "text_pair": "b"}, {"text": "a"}]', ':1: some entries have a "text_pair" and some do not'),
        ('[{"text": "a"}, {"text": "a", "text_pair": "b"}]', ':1: some entries have a "text_pair" and some do not'),
        ('[{"text": "a", "text_pair": 3}]', ':1: must have a string "text_pair"'),
        ('{"text": {"0": "a", "1": "b"}, "label": {"0": 1}}', ":1: the columns differ in length"),
        (
            '{"text": {"0": "a", "1": "b"},\n"label": {"1": "y", "0": "x"}}',  # which had the other's label
            ":2: the columns name their rows differently: 'label' has '1' where the first has '0'",
        ),
        ('{"text": {"0": "a"', ":1: is not JSON"),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(DatasetError, match=r"a\.json" + told):
        _rows(tmp_path, content)


def test_an_entry_and_their_number_are_bounded(tmp_path: Path) -> None:
    entry = '{"text": "some words"}'
    assert len(_rows(tmp_path, f"[{entry},{entry}]", max_line_bytes=len(entry), max_lines=2)) == 2
    for bounds, told in (
        ({"max_line_bytes": len(entry) - 1}, "an entry is longer than 21 bytes"),
        ({"max_lines": 1}, "more than 1 lines"),
    ):
        with pytest.raises(DatasetError, match=told):
            _rows(tmp_path, f"[{entry},{entry}]", **bounds)


def test_an_entry_that_never_ends_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"text": "' + "a" * 8 * MIB)
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match=r"a\.json:1: an entry is longer than 1,000 bytes"):
            list(json_rows(path, GUESSED, Bounds(max_line_bytes=1000), Skipped()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB


def test_entries_lie_across_the_pieces_that_are_read(tmp_path: Path) -> None:
    texts = [f"{number}" + "w" * (number % 977) for number in range(2000)]
    rows = _rows(
        tmp_path, "[" + ",\n".join(f'{{"text": "{text}", "n": {number}}}' for number, text in enumerate(texts)) + "]"
    )
    assert [row.text for row in rows] == texts
    assert [row.line for row in rows] == list(range(1, 2001))


def test_a_label_that_only_later_objects_have_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b", "label": 1, "id": 3}\n')
    skipped = Skipped()
    assert [row.label for row in json_line_rows(path, GUESSED, Bounds(), skipped)] == [None, "1"]
    assert list(skipped.columns) == ["id"]
