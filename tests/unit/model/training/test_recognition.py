"""Whether reconstructions are about their own texts."""

import random

import pytest

from adavae.model.training.recognition import recognised

TALK = "food place staff great awful pizza room waiter never again love rude clean slow cold friendly cheap nice"
WORDS = TALK.split()
DRAW = random.Random(3)
TEXTS = [" ".join(DRAW.sample(WORDS, 5)) for _ in range(120)]


def test_texts_that_come_back_are_recognised() -> None:
    assert recognised(TEXTS, TEXTS) == 1.0


def test_one_sentence_for_everything_is_recognised_by_chance_exactly() -> None:
    assert recognised(["the food is a great."] * len(TEXTS), TEXTS) == pytest.approx(0.5, abs=1e-12)


def test_texts_about_nothing_are_recognised_by_chance() -> None:
    others = [" ".join(DRAW.sample(WORDS, 5)) for _ in TEXTS]
    assert recognised(others, TEXTS) == pytest.approx(0.5, abs=0.06)


def test_texts_that_share_a_word_are_recognised_more_often() -> None:
    shared = [" ".join([text.split()[0], *DRAW.sample(WORDS, 4)]) for text in TEXTS]
    share = recognised(shared, TEXTS)
    assert share is not None and 0.6 < share < 0.9


def test_languages_without_spaces_are_told_apart_too() -> None:
    texts = ["食物很好吃", "服务员很粗鲁", "房间又脏又小", "我们还会再来"]
    assert recognised(texts, texts) == 1.0
    assert recognised(texts[1:] + texts[:1], texts) == pytest.approx(0.0, abs=0.4)


@pytest.mark.parametrize("texts", [[], ["a"], ["a", "a", "a"], ["a", "  a "]])
def test_where_all_texts_are_the_same_there_is_nothing_to_recognise(texts: list[str]) -> None:
    assert recognised(texts, texts) is None


def test_nothing_is_divided_by_nothing() -> None:
    assert recognised(["", ""], ["a b c", "d e f"]) == 0.5
