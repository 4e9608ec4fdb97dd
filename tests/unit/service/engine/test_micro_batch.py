"""Cutting rows into micro-batches, and finding the poisonous one among them."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from adavae.service.engine.micro_batch import cut, run_bisecting


@given(st.lists(st.integers(1, 300), max_size=80), st.integers(1, 1000))
def test_every_row_is_in_one_micro_batch_that_fits_the_budget(lengths: list[int], max_tokens: int) -> None:
    batches = cut(lengths, max_tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = max(lengths[row] for row in batch) * len(batch)
        assert len(batch) == 1 or padded <= max_tokens
        assert padded - sum(lengths[row] for row in batch) <= 0.25 * padded


def test_rows_of_one_length_go_together() -> None:
    assert cut([7, 7, 7, 7], 28) == [[0, 1, 2, 3]]
    assert cut([7, 7, 7, 7], 27) == [[0, 1, 2], [3]]


def test_only_the_poisonous_rows_fail_and_their_neighbours_run() -> None:
    poison = {3, 11}
    sizes: list[int] = []

    def run(rows: Sequence[int]) -> list[int]:
        sizes.append(len(rows))
        if poison & set(rows):
            raise ValueError(f"{rows}")
        return [10 * row for row in rows]

    results = run_bisecting(list(range(16)), run)
    assert [row for row, result in enumerate(results) if isinstance(result, ValueError)] == [3, 11]
    assert [result for row, result in enumerate(results) if row not in poison] == [
        10 * row for row in range(16) if row not in poison
    ]
    assert max(sizes) == 16
    assert len(sizes) <= 1 + 2 * 2 * 4  # two poisonous rows, four halvings each
