"""Splits without leaks: every row once, labels in proportion, no text on both sides."""

import itertools
from collections import Counter

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.corpus import Dataset
from adavae.model.training.splitting import must_refuse, no_text_to_spare, split_validation


def _labelled(num_rows: int) -> Dataset:
    """Ten texts twice each in every hundred rows, one row in five labelled "rare"."""
    texts = [f"Text  {row % 100 - row % 100 % 2 if row % 100 < 20 else row}" for row in range(num_rows)]
    return Dataset.of(texts, ["rare" if row % 5 == 0 else "usual" for row in range(num_rows)], "file")


def test_a_split_has_every_row_once_and_no_text_on_both_sides() -> None:
    dataset = _labelled(1000)
    train, validation = split_validation(dataset, 0.1, seed=3)
    assert Counter(train.texts + validation.texts) == Counter(dataset.texts)
    assert not set(train.texts) & set(validation.texts)
    assert len(validation.texts) == pytest.approx(100, abs=20)


def test_texts_that_differ_in_case_and_space_alone_stay_together() -> None:
    dataset = Dataset.of(["One place", "one  PLACE", "two"] * 5, None, "file")
    for seed in range(20):
        train, validation = split_validation(dataset, 0.5, seed)
        sides = [{text.lower().split()[0] for text in side.texts} for side in (train, validation)]
        assert sorted(sides, key=sorted) == [{"one"}, {"two"}]


def test_a_text_that_occurs_again_and_again_is_not_what_is_validated_on() -> None:
    """Regression: 1,500 times "ok" were most of the validation texts in one split of 25, and left training."""
    texts = ["ok"] * 1500 + [f"text {row}" for row in range(3500)]
    for seed in range(200):
        assert "ok" not in split_validation(Dataset.of(texts, None, "file"), seed=seed)[1].texts
    only = Dataset.of(["ok"] * 20 + ["no"] * 20 + ["once"], ["a", "a", "b", "b"] * 10 + ["c"], "file")
    assert set(split_validation(only)[1].texts) < {"ok", "no"}  # where there is nothing else


@pytest.mark.parametrize("seed", range(10))
def test_a_split_holds_each_label_in_proportion(seed: int) -> None:
    dataset = Dataset.of([f"text {row}" for row in range(100)], ["a"] * 90 + ["b"] * 10, "file")
    _, validation = split_validation(dataset, 0.2, seed)
    assert Counter(validation.labels or ()) == {"a": 18, "b": 2}


def test_a_split_depends_on_its_seed_alone() -> None:
    dataset = _labelled(200)
    first, again, other = (split_validation(dataset, 0.2, seed)[1].digest for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_two_texts_are_split_into_one_and_one() -> None:
    train, validation = split_validation(Dataset.of(["a", "b"], None, "file"), 0.01, seed=0)
    assert sorted(train.texts + validation.texts) == ["a", "b"]
    assert len(train.texts) == 1


@pytest.mark.parametrize(
    ("num_texts", "held"), [(2, 1), (10, 2), (30, 6), (100, 20), (300, 60), (1000, 100), (3000, 150), (50_000, 2000)]
)
def test_of_few_texts_a_larger_share_is_held_back(num_texts: int, held: int) -> None:
    """A twentieth of 100 texts left five to judge a head by."""
    dataset = Dataset.of([f"text {row}" for row in range(num_texts)], None, "file")
    assert len(split_validation(dataset)[1].texts) == held


def test_copies_of_one_text_cannot_be_split() -> None:
    with pytest.raises(DatasetError, match="copies of one"):
        split_validation(Dataset.of(["a", " A"], None, "file"), 0.5, seed=0)


@pytest.mark.parametrize("seed", range(10))
def test_a_labels_last_rows_stay_in_training(seed: int) -> None:
    """The one text of a label was held back, and the training refused a validation file that nobody had given."""
    labels = ["neg"] * 30 + ["other"] + ["pos"] * 30
    dataset = Dataset.of([f"text {row}" for row in range(61)], labels, "file")
    train, validation = split_validation(dataset, None, seed)
    assert train.label_names == ("neg", "other", "pos")
    assert len(validation.texts) >= 10


@pytest.mark.parametrize("rare", range(3))
def test_every_label_keeps_a_row_wherever_it_is_sorted(rare: int) -> None:
    for seed in range(5):
        labels = [str(row) for row in range(rare)] + ["usual"] * 2
        dataset = Dataset.of([f"text {row}" for row in range(len(labels))], labels, "file")
        train, validation = split_validation(dataset, 0.9, seed)
        assert set(train.label_names) == set(labels)
        assert validation.label_names == ("usual",)


@pytest.mark.parametrize("num_rows", [2, 3, 4])
def test_counts_tell_what_the_split_refuses(num_rows: int) -> None:
    """Of every dataset of so few rows; only texts with several labels may be left to the split itself."""
    num_foretold = 0
    for texts in itertools.product("abc", repeat=num_rows):
        if len(set(texts)) < 2:
            continue
        for labels in itertools.product("xyz", repeat=num_rows):
            dataset = Dataset.of(list(texts), list(labels), "file")
            num_labels_of = Counter(text for text, _ in set(zip(texts, labels, strict=True)))
            conflicting = [text for text, num_labels in num_labels_of.items() if num_labels > 1]
            foretold = must_refuse(Counter(labels).values(), len(num_labels_of), len(conflicting))
            num_foretold += foretold
            try:
                split_validation(dataset)
            except DatasetError as exc:
                assert foretold or conflicting
                assert str(exc) == no_text_to_spare("file")
            else:
                assert not foretold
    assert num_foretold
    assert not must_refuse([], 2, 0)


def test_labels_of_one_text_each_cannot_be_split() -> None:
    with pytest.raises(DatasetError, match="file: no label has a text to spare for validation: add texts"):
        split_validation(Dataset.of(["a", "b", "c"], ["x", "y", "z"], "file"))
