"""Token ids of a dataset, and texts that cannot be used, named by their line."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from adavae.model.errors import DatasetError, SequenceTooLong
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.tokenized_texts import tokenize


class _Words:
    """A tokenizer with one token a word; "~" has none."""

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        return [[len(word) for word in text.split() if word != "~"] for text in texts]


def test_token_ids_are_those_of_the_tokenizer() -> None:
    tokens, num_cut = tokenize(Dataset.of(["a bb", "ccc"], None, "file"), _Words(), 2, truncate=False)
    assert (list(tokens), num_cut) == ([[1, 2], [3]], 0)


def test_a_text_that_is_too_long_is_named_by_the_line_of_its_file_even_after_a_split(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\n\nb b b\nc c\nd d d d\n")
    dataset = read_dataset(path).rows([2, 3, 1], "a.txt")
    with pytest.raises(SequenceTooLong, match=r"a.txt:5: has 4 tokens, the limit is 2 \(.*too long: 2; .*--truncate"):
        tokenize(dataset, _Words(), 2, truncate=False)
    tokens, num_cut = tokenize(dataset, _Words(), 2, truncate=True)
    assert (list(tokens), num_cut) == ([[1, 1], [1, 1], [1, 1]], 2)


def test_a_text_without_tokens_is_refused() -> None:
    with pytest.raises(DatasetError, match="file:2: has no tokens"):
        tokenize(Dataset.of(["a", "~"], None, "file"), _Words(), 2, truncate=True)
