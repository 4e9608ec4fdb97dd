"""What holds for every operation: a row's answer is its own, seeds give the same, ends are ends."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import integers, lists, sampled_from

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.latent.steering import Draw, Steering
from adavae.model.text_model import TextModel
from tests.tiny_prior import tiny_text_model_with_priors
from tests.tiny_text import reviews

SHORT = Decoding(max_tokens=6)
SAMPLED = Decoding(strategy=Strategy.SAMPLE, max_tokens=6, seed=5)
TEXTS = reviews(12, seed=3, has_labels=False).texts


@functools.cache
def text_model() -> TextModel:
    return tiny_text_model_with_priors()


@settings(max_examples=12, deadline=None)
@given(
    rows=lists(integers(0, 7), min_size=1, max_size=5),
    candidates=integers(2, 5),
    decoding=sampled_from([SHORT, SAMPLED]),
)
def test_a_row_with_candidates_is_answered_as_it_would_be_alone(
    rows: list[int], candidates: int, decoding: Decoding
) -> None:
    z = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))[rows]
    steering = Steering(candidates=candidates, refine=0.3)
    together = text_model().decode(z, "plain", decoding, steering)
    for place, answer in enumerate(together):
        assert answer.text == text_model().decode(z[place : place + 1], "plain", decoding, steering)[0].text


def test_each_of_many_analogies_is_answered_as_it_would_be_alone() -> None:
    steering = Steering(candidates=3, refine=0.2)
    each = SAMPLED.for_rows(2)
    together = text_model().analogy(TEXTS[:2], TEXTS[2:5], TEXTS[5:9], "prefixed", each, 1.0, steering)
    alone = [
        row.text
        for text in TEXTS[5:9]
        for row in text_model().analogy(TEXTS[:2], TEXTS[2:5], text, "prefixed", each, 1.0, steering)
    ]
    assert [row.text for row in together] == alone
    assert len(alone) == 8


def test_lists_of_one_are_what_their_text_is() -> None:
    a, b, c = TEXTS[:3]
    listed = text_model().analogy([a], [b], [c], "plain", SHORT)
    assert [row.text for row in listed] == [row.text for row in text_model().analogy(a, b, c, "plain", SHORT)]


@pytest.mark.parametrize("name", ["plain", "prefixed", "pooled"])
def test_a_walks_ends_are_the_encodings_of_its_texts_exactly(name: str) -> None:
    steering = Steering(refine=0.6, truncation=0.8, candidates=3)
    way = text_model().interpolate(TEXTS[0], TEXTS[1], 7, name, SHORT, steering=steering)
    ends = text_model().encode(TEXTS[:2], name).mu
    assert torch.equal(torch.from_numpy(way[0].decoded.z), ends[0])
    assert torch.equal(torch.from_numpy(way[-1].decoded.z), ends[1])
    assert all(0.0 <= (step.decoded.typicality or 0.0) <= 1.0 for step in way)


def test_the_same_seed_gives_the_same_and_another_seed_another() -> None:
    steering, draw = Steering(candidates=2, truncation=0.9), Draw(label="yes", guidance=1.5)

    def drawn(seed: int) -> list[str]:
        decoding = Decoding(strategy=Strategy.SAMPLE, max_tokens=6, seed=seed)
        return [row.text for row in text_model().sample(6, "prefixed", decoding, draw, steering)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@settings(max_examples=8, deadline=None)
@given(num=integers(1, 6), seed=integers(0, 5))
def test_variations_differ_from_their_text_and_from_each_other(num: int, seed: int) -> None:
    decoding = Decoding(strategy=Strategy.SAMPLE, max_tokens=6, seed=seed)
    found = text_model().variations(TEXTS[:3], "plain", decoding, num)
    assert [row.text for row in found[1]] == [
        row.text for row in text_model().variations(TEXTS[1:2], "plain", decoding, num)[0]
    ]
    for text, near in zip(TEXTS, found, strict=False):
        read = ["".join(row.text.split()).casefold() for row in near]
        assert len(set(read)) == len(read) <= num
        assert "".join(text.split()).casefold() not in read
        assert read
