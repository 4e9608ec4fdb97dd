"""Which quotes enclose a cell and which are characters."""

from pathlib import Path

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import Bounds
from adavae.model.training.readers.columns import GUESSED
from adavae.model.training.readers.delimited import csv_rows, tsv_rows
from adavae.model.training.readers.row import Row, Skipped


def _rows(directory: Path, name: str, content: str, **bounds: int) -> list[Row]:
    path = directory / name
    path.write_text(content, encoding="utf-8", newline="")
    read = tsv_rows if name.endswith(".tsv") else csv_rows
    return list(read(path, GUESSED, Bounds(**bounds), Skipped()))


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('"the waiter said ""no"""', 'the waiter said "no"'),
        ('he said "no', 'he said "no'),
        ('"no he said', '"no he said'),
        ('"no" he said', '"no" he said'),
        ('"no" he "said"', '"no" he "said"'),
        ('5" pipe', '5" pipe'),
        ('""', ""),
        ('""""', '"'),
        ('"a', '"a'),
        ('"a\tb"', "a\tb"),
        ('"two\nlines"', "two\nlines"),
        ('"two ""quoted""\n\nlines"', 'two "quoted"\n\nlines'),
    ],
)
def test_a_tsv_cell_is_unquoted_only_where_it_is_closed_properly(tmp_path: Path, cell: str, text: str) -> None:
    rows = _rows(tmp_path, "a.tsv", f"text\tlabel\n{cell}\tx\nnext\ty\n")
    assert [(row.text, row.label) for row in rows] == [(text, "x"), ("next", "y")]
    last = _rows(tmp_path, "a.tsv", f"label\ttext\nx\t{cell}\ny\tnext\n")
    assert [(row.text, row.label) for row in last] == [(text, "x"), ("next", "y")]


@pytest.mark.parametrize("again", ["text,label", '"text", label ', "\ufefftext,label"])
def test_a_header_in_the_middle_is_no_text(tmp_path: Path, again: str) -> None:
    """Files that were joined had a text "text" of a label "label"."""
    with pytest.raises(DatasetError, match=r"a\.csv:3: repeats the header.*remove the line"):
        _rows(tmp_path, "a.csv", f"text,label\ngood,1\n{again}\nbad,0\n")
    assert len(_rows(tmp_path, "a.csv", "text\ngood\ntext\n")) == 2  # of one column it may well be a text
    rows = _rows(tmp_path, "a.csv", "text,label\ntext,1\nText,label\n")
    assert [row.text for row in rows] == ["text", "Text"]


def test_lone_quotes_in_a_tsv_never_swallow_rows(tmp_path: Path) -> None:
    content = "label\ttext\n" + "".join(f'{number % 2}\t"row {number}\n' for number in range(50))
    rows = _rows(tmp_path, "a.tsv", content + '1\tthe "end"\n')
    assert [row.text for row in rows] == [*(f'"row {number}' for number in range(50)), 'the "end"']
    assert [row.line for row in rows] == list(range(2, 53))


def test_in_one_column_a_quoted_cell_of_several_lines_ends_with_a_line(tmp_path: Path) -> None:
    rows = _rows(tmp_path, "a.tsv", 'text\n"two\nlines"\n"lone\nhe said "no"\nend\n')
    assert [row.text for row in rows] == ["two\nlines", '"lone', 'he said "no"', "end"]


@pytest.mark.parametrize("content", ['text,label\nok,x\n"never closed,y\nmore,z\n', 'text\nok\n"never closed'])
def test_a_quoted_cell_that_never_ends_is_told_with_its_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(DatasetError, match=r"a\.csv:3: a quoted cell begins here and never ends"):
        _rows(tmp_path, "a.csv", content)


def test_a_quoted_cell_over_many_lines_is_bounded(tmp_path: Path) -> None:
    endless = 'text\n"' + 'more ""text""\n' * 1000
    with pytest.raises(DatasetError, match=r"a\.csv:2: the row is longer than 100 bytes"):
        _rows(tmp_path, "a.csv", endless, max_line_bytes=100)
    assert len(_rows(tmp_path, "a.tsv", endless + "end", max_line_bytes=100)) == 1001


def test_a_row_with_too_many_cells_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.csv:2: has 3 columns, the header 2: .* a cell with a comma"):
        _rows(tmp_path, "a.csv", "label,text\nx,one, two\n")


def test_an_empty_table_has_no_rows(tmp_path: Path) -> None:
    assert _rows(tmp_path, "a.csv", "\n") == []
