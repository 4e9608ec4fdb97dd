"""Token ids of a dataset, and texts that cannot be used, named by their line."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from adavae.model.errors import DatasetError, SequenceTooLong
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.tokenized_texts import TokenizedTexts, tokenize, width_of


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


def test_texts_of_many_lengths_are_padded_to_few_widths_within_the_context() -> None:
    widths = [width_of(length, 300) for length in range(1, 300)]
    assert all(length < width <= max(8, 1.25 * (length + 1)) for length, width in enumerate(widths, start=1))
    assert len(set(widths)) < 30 and max(widths) == 300
    assert width_of(17, None) == 17


def test_padding_leaves_room_for_end_of_text_where_the_context_is_given() -> None:
    texts = TokenizedTexts([[1] * 9, [2] * 7], None, "digest")
    assert texts.batch([0, 1], 0, torch.device("cpu")).token_ids.shape == (2, 9)
    batch = texts.batch([0, 1], 0, torch.device("cpu"), 32)
    assert batch.token_ids.shape == (2, 10)
    inputs, targets, is_target = batch.decoder_sides(0)
    assert inputs[0].tolist() == [0, *[1] * 9] and targets[0].tolist() == [*[1] * 9, 0]
    assert is_target.sum(1).tolist() == [10, 8]
