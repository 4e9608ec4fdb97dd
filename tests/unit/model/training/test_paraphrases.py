"""Texts that say the same in other words: who finds whom, and pairs that are none."""

import re

import pytest

from adavae.model.errors import DatasetError
from adavae.model.pairs import joined
from adavae.model.training.corpus import Dataset
from adavae.model.training.paraphrases import Paraphrases, measure_paraphrases
from tests.scripted_operations import ScriptedOperations

PLACES = {"cold": 0.0, "icy": 1.0, "wet": 10.0, "damp": 12.0, "dry": 40.0, "arid": 13.0}
LIKE = (("cold", "icy"), ("wet", "damp"), ("dry", "arid"))


def dataset(*pairs: tuple[str, str], labels: tuple[str, ...] | None = None) -> Dataset:
    return Dataset.of([joined(first, second) for first, second in pairs], labels, "pairs.tsv")


def placed() -> ScriptedOperations:
    return ScriptedOperations(place=lambda text: [PLACES[text], 0.0])


def test_a_paraphrase_finds_its_pair_among_all_second_texts() -> None:
    """Of 1, 12 and 13 the nearest of 0 is 1 and of 10 is 12; 40 has its pair as the nearest too."""
    found = measure_paraphrases(placed(), Paraphrases.of(dataset(*LIKE)))
    assert found is not None
    assert (found.num_pairs, found.found.num_texts, found.found.nearest) == (3, 3, 1.0)
    assert found.told_apart is None


def test_pairs_that_are_none_are_searched_but_not_asked_for() -> None:
    pairs = Paraphrases.of(dataset(("cold", "icy"), ("cold", "dry"), labels=("1", "0")))
    found = measure_paraphrases(placed(), pairs)
    assert found is not None
    assert (found.num_pairs, found.found.num_texts, found.told_apart) == (1, 2, 1.0)
    turned = measure_paraphrases(placed(), Paraphrases.of(dataset(("cold", "icy"), ("cold", "dry"), labels=("0", "1"))))
    assert turned is not None
    assert (turned.found.reciprocal_rank, turned.told_apart) == (0.5, 0.0)


def test_the_area_is_that_of_every_two_pairs_compared() -> None:
    """On a line, relative to the mean, cosines are 1 or -1, so that ties count as a half."""
    pairs = (("cold", "icy"), ("cold", "dry"), ("wet", "damp"), ("icy", "dry"), ("dry", "cold"))
    labels = ("1", "1", "1", "0", "0")
    found = measure_paraphrases(placed(), Paraphrases.of(dataset(*pairs, labels=labels)))
    texts = [first for first, _ in pairs] + list(dict.fromkeys(second for _, second in pairs))
    mean = sum(PLACES[text] for text in texts) / len(texts)
    cosine = [1.0 if (PLACES[first] > mean) == (PLACES[second] > mean) else -1.0 for first, second in pairs]
    beats = [(a > b) + 0.5 * (a == b) for a in cosine[:3] for b in cosine[3:]]
    assert found is not None
    assert found.told_apart == pytest.approx(sum(beats) / len(beats))


def test_second_texts_that_are_all_one_are_not_measured() -> None:
    assert measure_paraphrases(placed(), Paraphrases.of(dataset(("cold", "icy"), ("wet", "icy")))) is None


@pytest.mark.parametrize("labels", [("true", "False"), ("1", "0"), None])
def test_labels_say_which_pairs_are_paraphrases(labels: tuple[str, ...] | None) -> None:
    pairs = Paraphrases.of(dataset(("cold", "icy"), ("cold", "dry"), labels=labels))
    assert list(pairs.same) == [True, labels is None]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Dataset.of(["alone", "and alone"], None, "texts.txt"), "column text_pair"),
        (dataset(("cold", "icy"), ("wet", "damp"), labels=("1", "maybe")), "pairs.tsv:2: .*must be 1 .*'maybe'"),
        (dataset(("cold", "icy"), ("wet", "damp"), labels=("0", "0")), "no pair has the label 1"),
    ],
)
def test_what_is_no_set_of_paraphrases_is_refused(given: Dataset, message: str) -> None:
    with pytest.raises(DatasetError, match=re.compile(message)):
        Paraphrases.of(given)
