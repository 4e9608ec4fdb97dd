"""What holds of the measures whatever they are given."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adavae.model.parts.posterior import Posterior
from adavae.model.training.measures import (
    accuracy,
    active_units,
    bleu4,
    importance_weighted_nll,
    macro_f1,
    mutual_information,
    mutual_information_ceiling,
    perplexity,
)
from adavae.model.training.transfer import word_overlap

_LABELS = ["a", "b", "c"]
_PAIRS = st.lists(st.tuples(st.sampled_from(_LABELS), st.sampled_from(_LABELS)), min_size=1, max_size=30)
_WORDS = st.lists(st.sampled_from(["the", "The", "food", "food,", "was", "bad", "."]), max_size=10).map(" ".join)


@st.composite
def posteriors(draw: st.DrawFn) -> Posterior:
    """A few posteriors of a few dimensions, from nearly the same to far apart."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (draw(st.integers(2, 24)), draw(st.integers(1, 6)))
    spread = draw(st.sampled_from([0.01, 0.3, 1.0, 10.0]))
    mu = spread * torch.randn(shape, generator=generator)
    return Posterior(mu, draw(st.floats(-8, 2)) + torch.randn(shape, generator=generator))


def log_terms(seed: int, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    log_px, log_pz, log_qz = (5 * torch.randn(shape, generator=generator) for _ in range(3))
    return log_px, log_pz, log_qz


@settings(max_examples=60, deadline=None)
@given(posterior=posteriors())
def test_kl_to_prior_is_never_negative(posterior: Posterior) -> None:
    assert float(posterior.kl_to_prior().min()) >= -1e-5


@settings(max_examples=60, deadline=None)
@given(posterior=posteriors(), seed=st.integers(0, 1000), chunk=st.integers(1, 30))
def test_mutual_information_lies_between_zero_and_its_ceiling(posterior: Posterior, seed: int, chunk: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    estimate = mutual_information(posterior.mu, posterior.logvar, generator, chunk=chunk)
    assert 0.0 <= estimate <= mutual_information_ceiling(len(posterior.mu)) + 1e-9


@settings(max_examples=60, deadline=None)
@given(posterior=posteriors(), data=st.data())
def test_active_units_do_not_depend_on_the_order_or_the_place_of_the_means(
    posterior: Posterior, data: st.DataObject
) -> None:
    mu = posterior.mu
    order = data.draw(st.permutations(range(len(mu))))
    assert 0 <= active_units(mu) <= mu.shape[1]
    assert active_units(mu[order]) == active_units(mu)
    assert active_units(mu.double() + 3.0) == active_units(mu.double())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), num_samples=st.integers(1, 12), num_texts=st.integers(1, 5))
def test_importance_weighted_bound_lies_between_the_best_sample_and_the_elbo(
    seed: int, num_samples: int, num_texts: int
) -> None:
    """By Jensen's inequality it is never looser than the mean of the single-sample bounds."""
    log_px, log_pz, log_qz = log_terms(seed, (num_samples, num_texts))
    single = -(log_px + log_pz - log_qz)
    nll = importance_weighted_nll(log_px, log_pz, log_qz)
    assert nll.shape == (num_texts,)
    assert bool((nll <= single.mean(0) + 1e-4).all())
    assert bool((nll >= single.min(0).values - 1e-4).all())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), data=st.data())
def test_importance_weighted_bound_of_a_text_ignores_its_neighbours_and_the_order_of_samples(
    seed: int, data: st.DataObject
) -> None:
    log_px, log_pz, log_qz = log_terms(seed, (6, 4))
    order = data.draw(st.permutations(range(6)))
    row = data.draw(st.integers(0, 3))
    alone = importance_weighted_nll(*(term[order][:, row : row + 1] for term in (log_px, log_pz, log_qz)))
    torch.testing.assert_close(alone[0], importance_weighted_nll(log_px, log_pz, log_qz)[row])


@settings(max_examples=60, deadline=None)
@given(num_words=st.lists(st.integers(1, 60), min_size=1, max_size=20), per_word=st.floats(0.01, 8.0))
def test_perplexity_of_texts_of_any_length_is_that_of_their_words(num_words: list[int], per_word: float) -> None:
    words = torch.tensor(num_words)
    assert perplexity(words.double() * per_word, words) == pytest.approx(math.exp(per_word), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(pairs=_PAIRS, data=st.data())
def test_accuracy_and_macro_f1_are_shares_that_ignore_the_order(
    pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    predicted, gold = [guess for guess, _ in pairs], [other for _, other in pairs]
    mixed = data.draw(st.permutations(pairs))
    swapped, swapped_gold = [guess for guess, _ in mixed], [other for _, other in mixed]
    assert 0.0 <= macro_f1(predicted, gold, _LABELS) <= 1.0
    assert macro_f1(swapped, swapped_gold, _LABELS) == macro_f1(predicted, gold, _LABELS)
    assert macro_f1(gold, predicted, _LABELS) == macro_f1(predicted, gold, _LABELS), "F1 is symmetric"
    assert accuracy(swapped, swapped_gold) == accuracy(predicted, gold)
    assert accuracy(gold, gold) == 1.0
    assert macro_f1(gold, gold, sorted(set(gold))) == 1.0


@settings(max_examples=40, deadline=None)
@given(pairs=st.lists(st.tuples(_WORDS, _WORDS), min_size=1, max_size=6))
def test_bleu_lies_between_0_and_100(pairs: list[tuple[str, str]]) -> None:
    assert 0.0 <= bleu4([written for written, _ in pairs], [other for _, other in pairs]) <= 100.0


@settings(max_examples=100, deadline=None)
@given(source=_WORDS, output=_WORDS)
def test_word_overlap_is_a_share_and_grows_with_the_output(source: str, output: str) -> None:
    assert 0.0 <= word_overlap(source, output) <= 1.0
    assert word_overlap(source, f"{output} {source}") == word_overlap(source, source)
    assert word_overlap(source, output) <= word_overlap(source, f"{output} food")
