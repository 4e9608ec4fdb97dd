"""The one measure against closed forms: a decoder that ignores z, and a posterior with known divergence."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adavae.model.parts.posterior import Posterior
from adavae.model.training.corpus import Dataset
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.corpus import Corpus, TestTexts
from adavae.model.training.reproduction.measuring import Draws, measured, posteriors
from adavae.model.training.reproduction.systems.sentence_model import SentenceModel
from tests.tiny_text import tiny_tokenizer
from tests.unit.model.training.reproduction.tiny_reproduction import CPU, SCALE, write_folder

TEXTS = Dataset.of(["the food was great .", "the staff was rude and my room was awful ."], None, "two")


class Uniform(SentenceModel):
    """Every token is as likely as every other, whatever z is; the posterior is N(shift, 1) in two dimensions."""

    def __init__(self, shift: float | None) -> None:
        super().__init__()
        self.shift, self.eos_token_id = shift, 0

    def posterior(self, batch: TextBatch) -> Posterior | None:
        if self.shift is None:
            return None
        return Posterior(torch.full((len(batch), 2), self.shift), torch.zeros(len(batch), 2))

    def hidden_states(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        del z
        return torch.zeros(len(batch), batch.token_ids.shape[1] + 1, 4)

    @property
    def output(self) -> Tensor:
        return torch.randn(300, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shift", [None, 0.0, 1.5])
def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(shift: float | None) -> None:
    texts = TestTexts.of(TEXTS, tiny_tokenizer(), 100)
    figures, _ = measured(Uniform(shift), texts, texts, texts, Draws(4000 if shift else 1, 2), CPU)
    assert figures.ppl_token == pytest.approx(300.0, rel=1e-2 if shift else 1e-5)
    words, tokens = int(texts.num_words.sum()), int(texts.num_tokens.sum())
    assert figures.ppl_word == pytest.approx(300.0 ** (tokens / words), rel=0.05 if shift else 1e-4)
    kl = 0.0 if shift is None else 2 * 0.5 * shift**2
    assert figures.neg_elbo == pytest.approx(math.log(300) * tokens / 2 + kl, rel=1e-5)
    assert figures.reconstruction == pytest.approx(math.log(300) * tokens / 2, rel=1e-5)
    assert figures.kl == (None if shift is None else pytest.approx(kl))
    if shift is not None:
        assert figures.mi == pytest.approx(0.0, abs=1e-6)  # all texts have one posterior
        assert figures.au == 0


def test_the_words_of_a_cut_text_are_those_that_were_read() -> None:
    whole, cut = (TestTexts.of(TEXTS, tiny_tokenizer(), most) for most in (100, 4))
    assert whole.num_cut == 0 and whole.num_words.tolist() == [6, 11]
    assert cut.num_cut == 2
    assert cut.num_tokens.tolist() == [5, 5]
    assert all(few < many for few, many in zip(cut.num_words.tolist(), whole.num_words.tolist(), strict=True))


class ByLength(Uniform):
    """A text costs one nat a token, times the number of calls so far."""

    calls = 0

    def nll(self, batch: TextBatch, z: Tensor | None) -> Tensor:
        del z
        self.calls += 1
        return self.calls * batch.attention_mask.sum(1).float()


def test_only_texts_that_are_cut_are_measured_again() -> None:
    whole, cut = (TestTexts.of(TEXTS, tiny_tokenizer(), most) for most in (100, 8))
    lengths = [len(row) for row in whole.token_ids]
    assert lengths[0] <= 8 < lengths[1]
    figures, figures_cut = measured(ByLength(None), whole, cut, whole, Draws(1, 2), CPU)
    assert figures.neg_elbo == sum(lengths) / 2
    assert figures_cut.neg_elbo == (lengths[0] + 2 * 8) / 2
    assert figures_cut.num_cut == 1 and figures.num_cut == 0


def test_the_perplexity_is_that_of_its_texts_which_are_spread_over_all() -> None:
    texts = TestTexts.of(TEXTS, tiny_tokenizer(), 100)
    figures, _ = measured(ByLength(None), texts, texts, texts, Draws(1, 1), CPU)
    first = len(texts.token_ids[0])
    assert figures.ppl_token == pytest.approx(math.exp(first / (first + 1)))
    assert (figures.num_texts, figures.num_ppl_texts) == (2, 1)


class Apart(Uniform):
    """Each text has a posterior of its own, so far from all others that z names the text."""

    def posterior(self, batch: TextBatch) -> Posterior:
        mu = 100.0 * batch.token_ids[:, :2].float()
        return Posterior(mu, torch.zeros_like(mu))


def test_information_and_units_are_those_of_more_texts() -> None:
    few = TestTexts.of(TEXTS, tiny_tokenizer(), 100)
    more = TestTexts.of(Dataset.of([f"{a}{b} ." for a in "abcd" for b in "efgh"], None, "more"), tiny_tokenizer(), 9)
    figures, figures_cut = measured(Apart(1.0), few, few, more, Draws(1, 1), CPU)
    assert figures.mi == pytest.approx(math.log(16)) and figures.num_mi_texts == 16
    assert figures.au == 2 and figures.num_texts == 2
    assert figures_cut.mi is None and figures_cut.au is None and figures_cut.num_mi_texts is None


def test_posteriors_come_in_the_order_of_the_texts() -> None:
    texts = TestTexts([[5, 6, 7, 8], [9, 3], [4, 4, 4]], torch.ones(3), torch.ones(3), 0)
    assert posteriors(Apart(1.0), texts, CPU).mu.tolist() == [[500.0, 600.0], [900.0, 300.0], [400.0, 400.0]]


def test_every_system_reads_the_same_batches(tmp_path: Path) -> None:
    corpus = Corpus.read(write_folder(tmp_path), tiny_tokenizer(), SCALE, 0)
    one, other = (corpus.batches(SCALE, 0, CPU) for _ in range(2))
    for _ in range(8):
        assert torch.equal(next(one).token_ids, next(other).token_ids)
