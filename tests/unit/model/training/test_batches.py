"""Batches that resume exactly, of equal size and similar lengths."""

import pytest

from adavae.model.training.batches import Batches


@pytest.mark.parametrize(("num_rows", "batch_size"), [(1, 4), (8, 4), (9, 4), (1000, 4), (3, 1)])
def test_an_epoch_has_every_row_once_in_batches_of_equal_size(num_rows: int, batch_size: int) -> None:
    batches = Batches([1 + row % 7 for row in range(num_rows)], batch_size=batch_size, seed=0)
    for epoch in range(2):
        taken = [batches.rows_at(epoch * batches.batches_per_epoch + step) for step in range(batches.batches_per_epoch)]
        assert sorted(row for batch in taken for row in batch) == list(range(num_rows))
        assert max(map(len, taken)) <= batch_size
        assert min(map(len, taken)) >= min(num_rows, (batch_size + 1) // 2)


def test_the_batch_of_a_step_does_not_depend_on_the_steps_before() -> None:
    lengths = [1 + row % 7 for row in range(50)]
    unbroken = [Batches(lengths, batch_size=4, seed=5)] * 40
    assert [batches.rows_at(step) for step, batches in enumerate(unbroken)] == [
        Batches(lengths, batch_size=4, seed=5).rows_at(step) for step in range(40)
    ]


def test_epochs_and_seeds_have_different_orders() -> None:
    batches, other = (Batches([1] * 40, batch_size=4, seed=seed) for seed in (0, 1))
    assert [batches.rows_at(step) for step in range(10)] != [batches.rows_at(step) for step in range(10, 20)]
    assert [batches.rows_at(step) for step in range(10)] != [other.rows_at(step) for step in range(10)]


def test_rows_of_a_batch_are_of_similar_length() -> None:
    lengths = [1 + row * 37 % 100 for row in range(400)]
    batches = Batches(lengths, batch_size=8, seed=0)
    spreads = [
        max(lengths[row] for row in rows) - min(lengths[row] for row in rows)
        for rows in map(batches.rows_at, range(50))
    ]
    assert max(spreads) <= 5
