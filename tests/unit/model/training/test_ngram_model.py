"""The n-gram model: its probabilities are some, and texts are cut into words as documented."""

import math

import numpy as np
import pytest

from adavae.model.errors import ConfigError, DatasetError
from adavae.model.training.ngram_model import NgramModel, words_of

TEXTS = ["the food was good .", "the food was bad", "a b c a b", "good food , the a", "the food is here", "the end ."]
NEVER_READ = "zzz"


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("history", ["", "the", "the food", "a b c a", "zzz food", "the zzz", "food the food the"])
def test_probabilities_after_any_history_sum_to_one(order: int, history: str) -> None:
    fitted = NgramModel.fit(TEXTS, order=order)
    place = len(words_of(history))
    after = [row[place] for row in fitted.word_nats([f"{history} {word}" for word in (*fitted.vocabulary, NEVER_READ)])]
    end = fitted.word_nats([history])[0][-1]
    assert np.exp(-np.array([*after, end])).sum() == pytest.approx(1.0, abs=1e-12)


def test_without_anything_to_learn_from_a_word_is_as_good_as_any() -> None:
    """One text of no words: the end mark and the unknown word are all there is."""
    fitted = NgramModel.fit([""], order=1)
    (nats,) = fitted.word_nats([""])
    assert math.exp(-nats[0]) == pytest.approx(0.5 + 0.5 / 2)  # D1 = 0.5 of one count goes to two words alike


def test_a_word_that_never_followed_is_never_impossible() -> None:
    """By n-grams seen once to four times, those seen twice would give nothing away: 2 - 3 * 2/3 * 1 = 0."""
    fitted = NgramModel.fit([*"abcd", *"ee", *"fff", *"gggg"], order=2)
    (nats,) = fitted.word_nats([f"e {NEVER_READ}"])
    assert np.isfinite(nats).all()
    assert fitted.perplexity(["e e e"]) < 1000


def test_what_was_read_is_likelier_than_what_was_not() -> None:
    fitted = NgramModel.fit(TEXTS * 5)
    good, turned, strange = (
        row.sum() for row in fitted.word_nats(["the food was good .", "was the . good food", "zzz"])
    )
    assert good < turned
    assert strange > 2


def test_a_text_has_one_figure_a_word_and_one_for_its_end() -> None:
    fitted = NgramModel.fit(TEXTS)
    assert [len(row) for row in fitted.word_nats(["", "the", "it's nice."])] == [1, 2, 5]
    assert fitted.word_nats([]) == []


def test_a_text_is_read_alike_beside_any_others() -> None:
    fitted = NgramModel.fit(TEXTS)
    alone = fitted.word_nats(["food was"])[0]
    beside = fitted.word_nats(["the", "food was", "", "bad bad bad bad"])[1]
    assert alone.tolist() == beside.tolist()


def test_perplexity_is_of_all_words_together() -> None:
    fitted = NgramModel.fit(TEXTS)
    rows = fitted.word_nats(["the food", "a b c d e f g"])
    assert fitted.perplexity(["the food", "a b c d e f g"]) == pytest.approx(math.exp(np.concatenate(rows).mean()))


def test_a_vocabulary_that_is_given_holds() -> None:
    fitted = NgramModel.fit(TEXTS, vocabulary=["the", "food", "tablecloth"])
    assert fitted.vocabulary == ("food", "tablecloth", "the")
    assert fitted.num_unknown("The tablecloth was bad.") == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't, really!", ["i", "do", "n't", ",", "really", "!"]),
        ("i do n't , really !", ["i", "do", "n't", ",", "really", "!"]),
        ("It\N{RIGHT SINGLE QUOTATION MARK}s Joe's.", ["it", "'s", "joe", "'s", "."]),
        ("it 's joe 's .", ["it", "'s", "joe", "'s", "."]),
        ("$5-10...", ["$", "5", "-", "10", ".", ".", "."]),
        (" \t ", []),
        ("\N{LATIN CAPITAL LETTER E WITH ACUTE}t\N{LATIN SMALL LETTER E WITH ACUTE}", ["\xe9t\xe9"]),
    ],
)
def test_words_do_not_depend_on_spaces_or_case(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize("order", [0, 7])
def test_an_order_out_of_range_is_refused(order: int) -> None:
    with pytest.raises(ConfigError, match="order"):
        NgramModel.fit(TEXTS, order=order)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least one"):
        NgramModel.fit([])
