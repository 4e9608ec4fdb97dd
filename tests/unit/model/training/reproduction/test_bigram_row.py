"""The bigram: a distribution over the vocabulary, equal to its formula, learned from what the other rows read."""

from pathlib import Path

import pytest
import torch

from adavae.model.training.reproduction.bigram_row import Bigram, BigramRow
from tests.unit.model.training.reproduction.test_labelled import given

END, V = 0, 7
TEXTS = [[1, 2, 3], [1, 2], [1, 4, 1, 2], [5]]


def log_probability(history: int) -> torch.Tensor:
    """Of every token behind ``history``, (V,), by the formula itself."""
    pairs = [pair for row in TEXTS for pair in zip([END, *row], [*row, END], strict=True)]
    kinds = set(pairs)
    before = [sum(word == each for _, each in kinds) for word in range(V)]
    left = 0.75 * sum(count > 0 for count in before) / len(kinds)
    unigram = [max(count - 0.75, 0) / len(kinds) + left / V for count in before]
    total = sum(first == history for first, _ in pairs)
    if not total:
        return torch.tensor(unigram, dtype=torch.float64).log()
    num_kinds = sum(first == history for first, _ in kinds)
    found = [max(pairs.count((history, word)) - 0.75, 0) for word in range(V)]
    return torch.tensor(
        [(found[word] + 0.75 * num_kinds * unigram[word]) / total for word in range(V)], dtype=torch.float64
    ).log()


def test_the_tokens_behind_any_other_have_a_probability_of_one_together() -> None:
    sums = torch.stack([log_probability(history) for history in range(V)]).exp().sum(1)
    assert torch.allclose(sums, torch.ones(V, dtype=torch.float64))


@pytest.mark.parametrize("text", [[1, 2], [3, 6, 1], [5, 5, 5, 2], []])
def test_a_text_costs_what_the_formula_says(text: list[int]) -> None:
    bigram = Bigram(TEXTS, V, END)
    pairs = zip([END, *text], [*text, END], strict=True)
    nats = -sum(float(log_probability(history)[word]) for history, word in pairs)
    assert float(bigram.nats([[1, 2, 3], text])[1]) == pytest.approx(nats)


def test_it_is_better_than_guessing_and_is_measured_as_the_others_are(tmp_path: Path) -> None:
    cell = given(tmp_path)
    outcome = BigramRow().run(cell)
    figures = outcome.figures
    assert figures["ppl_token"] < cell.pretrained.backbone.config.vocab_size / 4
    assert figures["mi"] is None and figures["num_texts"] == cell.scale.test_texts
    assert outcome.trained_parameters > 0 and outcome.share_percent is None
