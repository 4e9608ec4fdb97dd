"""Token ids in one piece of memory: as a list of lists is, and a fraction of its size."""

import pytest

from adavae.model.training.token_rows import TokenRows

ROWS = [[5, 6, 7], [], [8], [70_000, 9]]


def test_rows_come_back_as_they_went_in() -> None:
    rows = TokenRows(ROWS)
    assert (list(rows), len(rows), list(rows.lengths)) == (ROWS, 4, [3, 0, 1, 2])
    assert (rows[0], rows[-1], rows[1:3]) == (ROWS[0], ROWS[-1], ROWS[1:3])


def test_there_is_no_row_beyond_the_last() -> None:
    with pytest.raises(IndexError):
        TokenRows(ROWS)[4]


def test_a_token_takes_four_bytes() -> None:
    """Python's own integers took eight times as much."""
    rows = TokenRows([list(range(70_000, 71_000))] * 100)
    assert rows.num_bytes == 4 * 100_000 + 8 * 100
