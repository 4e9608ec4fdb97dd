"""Drawing row by row with numpy against drawing side by side by a full sort, as it is done on a GPU."""

import pytest
import torch

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.drawing import draw, draw_side_by_side, uniform

NUM_ROWS, V = 64, 3000
FILTERS = [
    {},
    {"top_k": 1},
    {"top_k": 40},
    {"top_k": V},
    {"top_p": 0.01},
    {"top_p": 0.9},
    {"top_p": 0.99999},
    {"top_p": 0.9, "top_k": 300},
    {"top_p": 0.3, "top_k": 5},
]


def decoding(row: int, filters: dict[str, float]) -> Decoding:
    return Decoding(strategy=Strategy.SAMPLE, seed=row, **filters)  # type: ignore[arg-type]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("kind", ["peaked", "flat", "ties", "impossible"])
def test_both_ways_draw_the_same_tokens(kind: str, filters: dict[str, float]) -> None:
    logits = torch.randn(NUM_ROWS, V, generator=torch.Generator().manual_seed(1))
    if kind == "peaked":
        logits *= 6
    elif kind == "ties":
        logits = logits.round()
    elif kind == "impossible":
        logits[:, ::3] = -torch.inf
    probabilities = logits.softmax(-1)
    decodings, steps = [decoding(row, filters) for row in range(NUM_ROWS)], [row % 5 for row in range(NUM_ROWS)]
    numbers = [uniform(each.seed, step) for each, step in zip(decodings, steps, strict=True)]
    got = draw(probabilities, decodings, steps)
    assert torch.equal(got, draw_side_by_side(probabilities, decodings, numbers))
    assert bool((probabilities.gather(1, got.unsqueeze(1)) > 0).all())
    assert len(set(got.tolist())) > 1


@pytest.mark.parametrize("number", [0.0, 1.0 - 2**-53])
def test_the_ends_of_the_unit_interval_draw_possible_tokens(number: float, monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = torch.tensor([[0.0, 0.25, 0.0, 0.75 * (1 + 2**-23), 0.0]])
    monkeypatch.setattr("adavae.model.decoding.drawing.uniform", lambda *_: number)
    decodings = [decoding(0, {})]
    expected = 1 if number == 0.0 else 3
    assert draw(probabilities, decodings, [0]).tolist() == [expected]
    assert draw_side_by_side(probabilities, decodings, [number]).tolist() == [expected]


def test_rows_with_different_filters_do_not_touch_each_other() -> None:
    probabilities = torch.randn(len(FILTERS), V, generator=torch.Generator().manual_seed(2)).softmax(-1)
    decodings = [decoding(row, filters) for row, filters in enumerate(FILTERS)]
    together = draw(probabilities, decodings, [3] * len(FILTERS)).tolist()
    alone = [draw(probabilities[row : row + 1], [each], [3]).item() for row, each in enumerate(decodings)]
    assert together == alone
    numbers = [uniform(each.seed, 3) for each in decodings]
    assert together == draw_side_by_side(probabilities, decodings, numbers).tolist()
