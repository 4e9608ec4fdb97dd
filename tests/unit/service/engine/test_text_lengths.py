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
        lengths.learn(slot, num, is_whole=True)
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


def test_the_mean_follows_what_texts_take() -> None:
    draw = random.Random(0)
    lengths = learned(*(draw.randint(8, 16) for _ in range(200)))
    assert 10 < lengths.expected(0, FREE) < 14
    for _ in range(100):
        lengths.learn(0, draw.randint(28, 36), is_whole=True)
    assert 30 < lengths.expected(0, FREE) < 34


def test_a_text_that_was_cut_says_what_it_would_have_had_at_least() -> None:
    """Whoever asked for single tokens made everybody's long requests short ones."""
    lengths = learned(*[12] * 5)
    for _ in range(1000):
        lengths.learn(0, 1, is_whole=False)
    assert lengths.expected(0, FREE) == 12
    for _ in range(1000):
        lengths.learn(0, 40, is_whole=False)
    assert 39 < lengths.expected(0, FREE) <= 40
    nothing = TextLengths()
    nothing.learn(0, 3, is_whole=False)
    assert nothing.expected(0, FREE) == 48


def test_what_was_known_of_a_slot_goes_with_its_set() -> None:
    lengths = learned(*[12] * 5)
    lengths.forget(0)
    lengths.forget(1)
    assert lengths.expected(0, FREE) == 48
