"""Micro-batches: every row once, none too large but a text that is too large by itself."""

import pytest

from adavae.model.training.micro_batches import micro_batches


@pytest.mark.parametrize("max_tokens", [64, 200, 5000])
def test_every_row_stands_in_one_micro_batch_of_bounded_size(max_tokens: int) -> None:
    lengths = [1 + row * 37 % 60 for row in range(100)]
    groups = micro_batches(range(0, 100, 2), lengths, max_tokens)
    assert sorted(row for group in groups for row in group) == list(range(0, 100, 2))
    for group in groups:
        assert len(group) * (1 + max(lengths[row] for row in group)) <= max_tokens or len(group) == 1


def test_long_texts_count_more_than_their_tokens() -> None:
    num_short, num_long = (max(map(len, micro_batches(range(512), [n] * 512, 4096))) for n in (31, 511))
    assert num_short == 120
    assert num_long == 4


def test_a_text_longer_than_the_bound_stands_alone() -> None:
    assert micro_batches([0, 1, 2], [5, 900, 900], 64) == [[0], [1], [2]]
