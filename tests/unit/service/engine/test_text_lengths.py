"""What a text is expected to take: at most what it may, at least what it must, else what others of its set took."""

import random
from dataclasses import replace

import pytest

from adavae.model.decoding.decoding import Decoding
from adavae.service.engine.text_lengths import TextLengths

FREE = Decoding(max_tokens=48)


def learned(*num_tokens: int, slot: int = 0) -> TextLengths:
    lengths = TextLengths()
    for num in num_tokens:
        lengths.learn(slot, num)
    return lengths


def test_a_slot_of_which_nothing_is_known_takes_what_it_may() -> None:
    assert TextLengths().expected(0, FREE) == 48
    assert learned(3, 3, 3, slot=1).expected(0, FREE) == 48


def test_texts_of_one_length_are_expected_to_have_it() -> None:
    assert learned(*[12] * 5).expected(0, FREE) == 12


@pytest.mark.parametrize(
    ("decoding", "expected"), [(replace(FREE, max_tokens=8), 8), (replace(FREE, min_tokens=20), 20)]
)
def test_what_a_request_allows_and_demands_counts(decoding: Decoding, expected: float) -> None:
    assert learned(*[12] * 5).expected(0, decoding) == expected


def test_the_mean_follows_a_slot_that_holds_another_set() -> None:
    draw = random.Random(0)
    lengths = learned(*(draw.randint(8, 16) for _ in range(200)))
    assert 10 < lengths.expected(0, FREE) < 14
    for _ in range(100):
        lengths.learn(0, draw.randint(28, 36))
    assert 30 < lengths.expected(0, FREE) < 34
