"""What is shown of a file: its beginning, and what looks like texts and labels where no column has a usual name."""

from pathlib import Path
from typing import Any

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.readers.bounds import ORDINARY
from adavae.model.training.readers.columns import GUESSED, Columns, Found
from adavae.model.training.readers.preview import Preview, preview_of

COMMENTS = ("the food was great", "never again, so rude", "a clean room and kind staff")


def shown(path: Path, content: str, columns: Columns = GUESSED, **limits: Any) -> Preview:
    path.write_text(content, encoding="utf-8")
    return preview_of(path, columns, **({"max_rows": 10, "max_bytes": 1000} | limits), bounds=ORDINARY)


def table(header: str, *cells: str) -> str:
    rows = [f"{comment};{cell}" for comment, cell in zip(COMMENTS * 4, cells, strict=False)]
    return "\n".join([header, *rows]) + "\n"


def test_plain_text_has_no_columns(tmp_path: Path) -> None:
    preview = shown(tmp_path / "a.txt", "one\n\ntwo\n")
    assert (preview.names, preview.read, [row.line for row in preview.rows]) == ((), None, [1, 3])


def test_the_longest_texts_are_the_texts_and_few_values_the_labels(tmp_path: Path) -> None:
    preview = shown(tmp_path / "a.csv", table("said;stars", *"151515151515"))
    assert (preview.read, preview.is_by_content) == (Found("said", "stars", None), True)
    assert preview.rows[1].text == COMMENTS[1]


@pytest.mark.parametrize("cells", ["abcdefghijkl", "aaaaaaaaaaaa", ["a", "b", "", *"abababab"]])
def test_a_column_of_many_values_or_one_or_with_gaps_is_no_label(tmp_path: Path, cells: Any) -> None:
    preview = shown(tmp_path / "a.csv", table("said;other", *cells))
    assert preview.read == Found("said", None, None)


def test_objects_have_columns_too(tmp_path: Path) -> None:
    lines = "".join(f'{{"id": {place}, "said": "{text}"}}\n' for place, text in enumerate(COMMENTS))
    preview = shown(tmp_path / "a.jsonl", lines)
    assert (preview.names, preview.read) == (("id", "said"), Found("said", None, None))


def test_a_column_that_was_named_is_never_replaced(tmp_path: Path) -> None:
    content = table("said;stars", *"151515")
    with pytest.raises(DatasetError, match="there is no column named 'sad'; there are 'said', 'stars'"):
        shown(tmp_path / "a.csv", content, Columns("sad"))
    assert shown(tmp_path / "a.csv", content, Columns(label="stars")).read == Found("said", "stars", None)


@pytest.mark.parametrize(
    ("limits", "num", "has_more"),
    [({}, 3, False), ({"max_rows": 3}, 3, False), ({"max_rows": 2}, 2, True), ({"max_bytes": 11}, 2, True)],
)
def test_no_more_is_shown_than_the_limits_say(tmp_path: Path, limits: dict[str, int], num: int, has_more: bool) -> None:
    preview = shown(tmp_path / "a.txt", "first\nsecond\nthird\n", **limits)
    assert (len(preview.rows), preview.has_more) == (num, has_more)


def test_names_that_nobody_could_type_are_not_listed(tmp_path: Path) -> None:
    wide = ",".join(f"c{number}" for number in range(300))
    preview = shown(tmp_path / "a.csv", f"text,{'x' * 300},\x1b[2J,,{wide}\none,b,c,d,{wide}\n", max_bytes=10**6)
    assert preview.names[:2] == ("text", "c0")
    assert len(preview.names) == 200
