"""Texts that are the same but for a few words are found, as comparing each with each would."""

import random

import pytest

from adavae.model.training.near_texts import LIKE, NearTexts, parts

TEXT = "the food was really very good and we will surely come back"


def near_by_comparing_each(key: str, keys: list[str]) -> list[int]:
    """The slow twin."""
    text = parts(key)
    likeness = [len(text & parts(other)) / len(text | parts(other)) for other in keys]
    return [place for place, value in enumerate(likeness) if value >= LIKE]


def test_near_texts_are_those_that_comparing_each_with_each_finds() -> None:
    draw = random.Random(0)
    words = [f"w{number}" for number in range(15)]
    keys = [" ".join(draw.choices(words, k=draw.randrange(1, 20))) for _ in range(150)]
    changed = [key.replace("w3", "w4", 1) for key in keys] + [f"{key} more" for key in keys]
    index = NearTexts(keys)
    found = [index.near(key) for key in changed]
    assert found == [near_by_comparing_each(key, keys) for key in changed]
    assert sum(map(len, found)) > 150


@pytest.mark.parametrize(
    ("other", "is_near"),
    [
        (TEXT, True),
        (TEXT.replace("food", "meal"), True),
        (f"well {TEXT}", True),
        (TEXT.replace("the food", "a meal"), True),
        (TEXT.replace("food was", "meal is"), False),
        (TEXT.replace("food", "meal").replace("surely", "never"), False),
        (" ".join(reversed(TEXT.split())), False),
        (" ".join(TEXT.split()[:6]), False),
    ],
)
def test_a_word_or_two_may_differ(other: str, is_near: bool) -> None:
    assert NearTexts(["something else", TEXT]).near(other) == [1] * is_near


def test_what_is_passed_over_is_not_found() -> None:
    index = NearTexts([TEXT, TEXT])
    assert index.near(TEXT) == [0, 1]
    assert index.near(TEXT, {0}) == [1]


def test_work_has_a_bound_and_says_so() -> None:
    index = NearTexts([TEXT] * 100, max_work=1000)
    assert 0 < len(index.near(TEXT)) < 100
    assert index.is_exhausted
    assert index.near(TEXT) == []


def test_of_a_long_text_the_beginning_counts() -> None:
    assert len(parts(" ".join(map(str, range(10_000))))) < 300
    assert NearTexts([]).near(TEXT) == []
