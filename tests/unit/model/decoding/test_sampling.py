"""Choosing the next token: the rules of a decoding, and what is drawn how often."""

import itertools
import math
from typing import Any

import pytest
import torch

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.drawing import uniform
from adavae.model.decoding.sampling import next_tokens, penalised
from adavae.model.errors import ConfigError
from tests.table_decoder import slow_distribution

LOGITS = [2.0, 1.5, -0.5, 1.4999, 0.0, -3.0, 0.7, 0.69]
NUM_DRAWS = 20_000


def sample(**settings: Any) -> Decoding:
    return Decoding(strategy=Strategy.SAMPLE, **settings)


def has_token(texts: list[list[int]], vocab_size: int) -> torch.Tensor:
    mask = torch.zeros(len(texts), vocab_size, dtype=torch.bool)
    for row, text in enumerate(texts):
        mask[row, text] = True
    return mask


def chi_square(counts: list[int], probabilities: list[float]) -> float:
    """Pearson's statistic over the tokens that can occur at all."""
    total = sum(counts)
    pairs = [(count, total * p) for count, p in zip(counts, probabilities, strict=True) if p > 0]
    return sum((count - expected) ** 2 / expected for count, expected in pairs)


def bound(num_outcomes: int) -> float:
    """Above what a fair chi-square of that many outcomes lies once in some 30 000 times (Wilson-Hilferty)."""
    degrees = max(num_outcomes - 1, 1)
    return degrees * (1 - 2 / (9 * degrees) + 4 * math.sqrt(2 / (9 * degrees))) ** 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0.009),
        ("temperature", -1.0),
        ("temperature", 10.5),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_k", 2.5),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_p", float("nan")),
        ("repetition_penalty", 0.9),
        ("repetition_penalty", float("inf")),
        ("max_tokens", 0),
        ("max_tokens", 3.5),
        ("num_beams", 0),
        ("num_beams", 17),
        ("seed", -1),
        ("seed", 2**63),
        ("strategy", "beam"),
    ],
)
def test_settings_outside_their_rule_are_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{field} is ") as raised:
        Decoding(**{field: value})
    assert raised.value.field == field


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
@pytest.mark.parametrize("temperature", [0.01, 10.0])
def test_settings_at_the_ends_of_their_rule_draw_a_token(seed: int, temperature: float) -> None:
    decoding = sample(seed=seed, temperature=temperature, top_k=1_000_000, top_p=0.01)
    assert 0 <= int(next_tokens(torch.tensor([LOGITS]), [decoding], None, 0)) < len(LOGITS)


@pytest.mark.parametrize("strategy", [Strategy.GREEDY, Strategy.SAMPLE])
def test_temperature_zero_is_greedy(strategy: Strategy) -> None:
    at_zero = Decoding(strategy=strategy, temperature=0, top_k=3, top_p=0.5, max_tokens=7, seed=3)
    assert at_zero == Decoding(max_tokens=7, seed=3)
    assert Decoding.of(temperature=0.0, top_p=0.9) == Decoding()


def test_beams_have_no_temperature() -> None:
    with pytest.raises(ConfigError, match="temperature is 0"):
        Decoding(strategy=Strategy.BEAM, temperature=0)


def test_greedy_takes_the_likeliest_token_whatever_else_is_set() -> None:
    decoding = Decoding(temperature=10.0, top_k=3, top_p=0.2, seed=5)
    logits = torch.tensor([LOGITS, LOGITS[::-1]])
    assert next_tokens(logits, [decoding, decoding], None, 0).tolist() == [0, 7]


@pytest.mark.parametrize(
    "decoding",
    [
        sample(),
        sample(temperature=0.5),
        sample(temperature=3.0),
        sample(top_k=3),
        sample(top_p=0.8),
        sample(top_p=0.3),
        sample(top_k=5, top_p=0.9, temperature=1.7),
        sample(repetition_penalty=2.0),
        sample(repetition_penalty=1.3, top_k=6, top_p=0.95, temperature=0.8),
    ],
    ids=str,
)
def test_tokens_are_drawn_as_often_as_their_probability_says(decoding: Decoding) -> None:
    text = [0, 2, 6]
    probabilities = slow_distribution(LOGITS, text, decoding)
    decodings = [
        sample(
            temperature=decoding.temperature,
            top_k=decoding.top_k,
            top_p=decoding.top_p,
            repetition_penalty=decoding.repetition_penalty,
            seed=seed,
        )
        for seed in range(NUM_DRAWS)
    ]
    seen = has_token([text], len(LOGITS)).expand(NUM_DRAWS, -1)
    drawn = next_tokens(torch.tensor([LOGITS]).expand(NUM_DRAWS, -1), decodings, seen, step=3)
    counts = torch.bincount(drawn, minlength=len(LOGITS)).tolist()
    possible = [p > 0 for p in probabilities]
    assert not any(count for count, is_possible in zip(counts, possible, strict=True) if not is_possible)
    assert chi_square(counts, probabilities) < bound(sum(possible))


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_one_seed_draws_fairly_and_independently_from_step_to_step(seed: int) -> None:
    tenths = [int(10 * uniform(seed, step)) for step in range(NUM_DRAWS)]
    pairs = [0] * 100
    for first, second in itertools.pairwise(tenths):
        pairs[10 * first + second] += 1
    assert chi_square([tenths.count(tenth) for tenth in range(10)], [0.1] * 10) < bound(10)
    assert chi_square(pairs, [0.01] * 100) < bound(100)


def test_neighbouring_seeds_draw_independently() -> None:
    pairs = [0] * 100
    for seed in range(NUM_DRAWS):
        pairs[10 * int(10 * uniform(seed, 0)) + int(10 * uniform(seed + 1, 0))] += 1
    assert chi_square(pairs, [0.01] * 100) < bound(100)


def test_the_numbers_behind_a_seed_never_change() -> None:
    """Saved results name their seed; another generator would break every one of them."""
    assert [uniform(0, 0), uniform(0, 1), uniform(7, 3)] == pytest.approx(
        [0.6524484863740322, 0.03401170130434639, 0.42056992093657886], abs=1e-15
    )


def test_one_token_left_by_top_k_is_the_greedy_one() -> None:
    logits = torch.randn(50, 30, generator=torch.Generator().manual_seed(1))
    drawn = next_tokens(logits, [sample(top_k=1, seed=seed) for seed in range(50)], None, 0)
    assert torch.equal(drawn, logits.argmax(-1))


def test_the_smallest_nucleus_keeps_the_likeliest_token() -> None:
    logits = torch.zeros(1, 1000)
    logits[0, 17] = 1e-3
    drawn = {int(next_tokens(logits, [sample(top_p=0.01, top_k=1, seed=seed)], None, 0)) for seed in range(20)}
    assert drawn == {17}


def test_impossible_tokens_are_never_drawn() -> None:
    logits = torch.full((200, 40), -torch.inf)
    logits[:, [3, 30]] = 0.0
    drawn = next_tokens(logits, [sample(seed=seed) for seed in range(200)], None, 0)
    assert set(drawn.tolist()) == {3, 30}


def test_repetition_penalty_makes_seen_tokens_less_likely_whatever_their_sign() -> None:
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    result = penalised(logits, [Decoding(repetition_penalty=4.0)], has_token([[0, 1]], 4))
    assert result.tolist() == [[0.5, -8.0, 2.0, -2.0]]


def test_a_row_without_penalty_is_unchanged_beside_one_with() -> None:
    logits = torch.randn(2, 20, generator=torch.Generator().manual_seed(2))
    result = penalised(logits, [Decoding(), Decoding(repetition_penalty=2.0)], has_token([[1, 2], [3]], 20))
    assert torch.equal(result[0], logits[0])
    assert not torch.equal(result[1], logits[1])


def test_logits_are_left_as_they_were() -> None:
    logits = torch.randn(2, 20, generator=torch.Generator().manual_seed(3))
    before = logits.clone()
    next_tokens(logits, [sample(repetition_penalty=2.0), Decoding()], has_token([[1], [2]], 20), 0)
    assert torch.equal(logits, before)


def test_half_precision_logits_are_drawn_from_in_full_precision() -> None:
    logits = torch.randn(20, 50, generator=torch.Generator().manual_seed(4)).half()
    decodings = [sample(seed=seed, top_p=0.9) for seed in range(20)]
    assert torch.equal(next_tokens(logits, decodings, None, 2), next_tokens(logits.float(), decodings, None, 2))
