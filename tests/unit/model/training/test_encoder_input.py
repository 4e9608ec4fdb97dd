"""What the encoder reads while training: deletions that close up, forms in the place of texts."""

import torch

from adavae.model.adavae import pad
from adavae.model.training.encoder_input import with_deletions, with_forms
from adavae.model.training.noise import uniform

ROWS = [[5, 6, 7, 8, 9, 10], [11], [12, 13, 14]]


def _drawn(num_rows: int, *columns: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [uniform(num_rows, num, generator) for num in columns]


def _read(token_ids: torch.Tensor, mask: torch.Tensor) -> list[list[int]]:
    assert all(row.tolist() == sorted(row.tolist(), reverse=True) for row in mask)  # padding on the right alone
    return [ids[is_token].tolist() for ids, is_token in zip(token_ids, mask, strict=True)]


def test_deletions_keep_the_order_and_at_least_one_token() -> None:
    token_ids, mask = pad(ROWS, 0)
    seen = [_read(*with_deletions(token_ids, mask, 0.9, *_drawn(3, 1, 6, seed=seed))) for seed in range(50)]
    for rows in seen:
        for row, whole in zip(rows, ROWS, strict=True):
            assert row and row == [token for token in whole if token in row]
    lengths = {len(rows[0]) for rows in seen}
    assert 6 in lengths and min(lengths) < 4


def test_tokens_are_deleted_at_half_the_largest_rate_on_average() -> None:
    token_ids, mask = pad([list(range(1, 101))] * 400, 0)
    kept = with_deletions(token_ids, mask, 0.4, *_drawn(400, 1, 100))[1].sum(1) / 100
    assert abs(float(kept.mean()) - 0.8) < 0.02
    assert float(kept.min()) < 0.65 and float(kept.max()) > 0.95  # each row at a rate of its own


def test_forms_stand_in_for_their_share_of_the_rows_whatever_their_lengths() -> None:
    token_ids, mask = pad([[1, 2]] * 300, 0)
    form_ids, form_mask = pad([[3, 4, 5]] * 300, 0)
    rows = _read(*with_forms(token_ids, mask, form_ids, form_mask, 0.3, *_drawn(300, 1)))
    assert {tuple(row) for row in rows} == {(1, 2), (3, 4, 5)}
    assert 60 < rows.count([3, 4, 5]) < 120
    longer = _read(*with_forms(form_ids, form_mask, token_ids, mask, 1.0, *_drawn(300, 1)))
    assert longer == [[1, 2]] * 300
