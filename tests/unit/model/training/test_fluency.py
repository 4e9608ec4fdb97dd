"""Fluency beside real texts of like length: real texts are as fluent as real texts, broken ones are not."""

import random

import numpy as np
import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.fluency import FluencyJudge
from tests.tiny_text import reviews

LEARNED, REAL = reviews(2000, seed=1).texts, reviews(1000, seed=2).texts


@pytest.fixture(scope="module")
def judge() -> FluencyJudge:
    return FluencyJudge.fit(LEARNED, REAL)


def shuffled(text: str) -> str:
    words = text.split()
    random.Random(text).shuffle(words)
    return " ".join(words)


def test_real_texts_are_as_fluent_as_real_texts(judge: FluencyJudge) -> None:
    fluency = judge.measure(REAL)
    assert fluency.ratio == pytest.approx(1.0, abs=0.01)
    assert fluency.worse_by_nats == pytest.approx(0.05, abs=0.01)
    assert fluency.worse_by_slor == pytest.approx(0.05, abs=0.01)
    assert fluency.unknown == fluency.real_unknown
    assert fluency.perplexity == pytest.approx(judge.language_model.perplexity(REAL))


def test_shuffled_texts_are_worse_in_every_way(judge: FluencyJudge) -> None:
    real, broken = judge.measure(REAL[:300]), judge.measure([shuffled(text) for text in REAL[:300]])
    assert broken.ratio > 1.5
    assert broken.slor < real.slor - 0.5
    assert broken.worse_by_nats > 0.8
    assert broken.worse_by_slor > 0.8
    assert broken.perplexity > real.perplexity
    assert broken.real_nats == real.real_nats


def test_common_words_have_fewer_nats_and_no_more_slor_than_rare_ones() -> None:
    """A text of common words in no order passed for English by nats alone."""
    draw = random.Random(0)
    words, weights = [f"w{rank}" for rank in range(1, 21)], [1 / rank for rank in range(1, 21)]
    learned = [" ".join(draw.choices(words, weights, k=8)) for _ in range(3000)]  # no order to be learned
    common, rare = (" ".join(draw.choices(some, k=8)) for some in (words[:3], words[-6:]))
    judged = FluencyJudge.fit(learned, learned, order=2).judge([common, rare])
    assert judged.nats[1] - judged.nats[0] > 1.0
    assert abs(judged.slor[1] - judged.slor[0]) < 0.1


def test_words_nobody_reads_are_counted(judge: FluencyJudge) -> None:
    fluency = judge.measure(["the adapore was adapore .", "the food was good ."])
    assert fluency.unknown == 0.5


def test_a_text_stands_beside_real_texts_of_its_own_length(judge: FluencyJudge) -> None:
    """Short texts have more nats a word: beside texts of any length all of them would count as bad."""
    lengths = judge.judge(REAL).lengths
    for bound in (np.quantile(lengths, 0.1), np.quantile(lengths, 0.9)):
        few = [text for text, length in zip(REAL, lengths, strict=True) if length == round(bound)]
        assert judge.measure(few).ratio == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("texts", [[""], ["word"], ["the food " * 200]])
def test_texts_of_lengths_that_nobody_writes_are_judged_too(judge: FluencyJudge, texts: list[str]) -> None:
    fluency = judge.measure(texts)
    assert np.isfinite([fluency.nats, fluency.ratio, fluency.slor, fluency.perplexity]).all()


def test_a_few_real_texts_are_all_compared_with(judge: FluencyJudge) -> None:
    few = FluencyJudge.fit(LEARNED, REAL[:3]).measure(REAL[:3])
    assert few.real_nats == pytest.approx(float(np.median(judge.judge(REAL[:3]).nats)))


def test_nothing_to_compare_with_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least one"):
        FluencyJudge.fit(LEARNED, [])
