"""Pairs of texts: joined to one, read alike from every kind of file."""

from pathlib import Path

import pytest

from adavae.model.errors import ConfigError
from adavae.model.pairs import SEPARATOR, joined
from adavae.model.training.corpus import read_dataset
from adavae.model.training.readers.columns import Columns

PAIRS = ("it rains . \u241e it is wet .", "he sang . \u241e she slept .")


def test_both_texts_are_cleaned() -> None:
    assert joined(" it\u00a0rains . ", "it is wet .\n") == PAIRS[0]


@pytest.mark.parametrize(("first", "second"), [(SEPARATOR, "b"), ("a", f"b {SEPARATOR} c")])
def test_what_stands_between_them_stands_in_neither(first: str, second: str) -> None:
    with pytest.raises(ConfigError, match="stands between the texts of a pair"):
        joined(first, second)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "label\ttext\ttext_pair\nyes\tit rains .\tit is wet .\nno\the sang .\tshe slept .\n"),
        ("a.csv", "sentence1,sentence2,label\nit rains .,it is wet .,yes\nhe sang .,she slept .,no\n"),
        ("a.csv", "premise;hypothesis;label\nit rains .;it is wet .;yes\nhe sang .;she slept .;no\n"),
        ("a.jsonl", '{"premise": "it rains .", "hypothesis": "it is wet .", "label": "yes"}\n'
                    '{"premise": "he sang .", "hypothesis": "she slept .", "label": "no"}\n'),
        ("a.json", '{"text": {"0": "it rains .", "1": "he sang ."}, "text_pair": {"0": "it is wet .", '
                   '"1": "she slept ."}, "label": {"0": "yes", "1": "no"}}'),
    ],
)  # fmt: skip
def test_a_file_of_pairs_is_read(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    dataset = read_dataset(tmp_path / name)
    assert dataset.texts == PAIRS and dataset.labels == ("yes", "no") and not dataset.notes


def test_with_a_column_that_was_named_only_text_pair_is_a_second_text(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("sentence1\tsentence2\none\ttwo\nthree\tfour\n", encoding="utf-8")
    assert read_dataset(path, columns=Columns(text="sentence2")).texts == ("two", "four")


def test_a_first_text_is_only_one_beside_a_second(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("premise\tlabel\none\tyes\ntwo\tno\n", encoding="utf-8")
    with pytest.raises(Exception, match="no column with texts"):
        read_dataset(tmp_path / "a.tsv")
