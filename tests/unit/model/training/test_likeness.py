"""What only looks alike is told."""

import pytest

from adavae.model.training.corpus import Dataset
from adavae.model.training.likeness import label_warnings, overlap_notes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Good", "good"),
        ("1", "1.0"),
        ("good\u200b", "good"),
        ("a  b", "a b"),
        ("\uff41", "a"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_labels_that_look_alike_are_told(one: str, other: str) -> None:
    (warning,) = label_warnings({one: 3, other: 40, "bad": 7})
    assert f"{one!r} (3), {other!r} (40)" in warning
    assert "bad" not in warning


def test_labels_that_differ_are_not_told() -> None:
    assert list(label_warnings({"1": 1, "10": 1, "1.5": 1, "good": 1, "goods": 1, "-1": 1})) == []


def test_validation_texts_that_nearly_stand_in_the_training_texts_are_counted() -> None:
    training = Dataset.of(["The food was great!", "caf\u00e9", "!!!"], None, "train.txt")
    validation = Dataset.of(["something else", "the food, was GREAT", "cafe", "???"], None, "held.txt", [1, 2, 4, 5])
    (note,) = overlap_notes(training, validation)
    assert "2 of the 4 validation texts" in note
    assert "the first on line 2" in note
    assert overlap_notes(training, validation.rows([0, 3], "held.txt")) == ()
