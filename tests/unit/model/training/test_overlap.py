"""Validation texts that nearly stand among the training texts are told."""

from functools import partial

import pytest

from adavae.model.training import overlap
from adavae.model.training.corpus import Dataset
from adavae.model.training.near_texts import NearTexts
from adavae.model.training.overlap import find_overlap, overlap_notes

LONG = "the food was really very good and we will surely come back"


def texts(*given: str, lines: list[int] | None = None) -> Dataset:
    return Dataset.of(given, None, "texts.txt", lines)


def test_texts_that_are_equal_but_for_case_accents_and_punctuation_are_counted() -> None:
    training = texts("The food was great!", "caf\u00e9", "!!!")
    validation = texts("something else", "the food, was GREAT", "cafe", "???", lines=[1, 2, 4, 5])
    (note,) = overlap_notes(training, validation)
    assert "2 of the 4 validation texts" in note
    assert "the first on line 2 of its file (line 1 of the training texts)" in note
    assert overlap_notes(training, validation.rows([0, 3], "held.txt")) == ()


def test_texts_that_are_equal_but_for_a_word_are_counted_apart() -> None:
    training = texts("nothing of it", LONG, "the service was slow")
    validation = texts(LONG.replace("food", "meal"), LONG.upper(), "the service was quick")
    equal, near = overlap_notes(training, validation)
    assert equal.startswith("1 of the 3 validation texts")
    assert near.startswith("1 validation texts are a training text but for a few words")
    assert "the first on line 1 of its file (line 2 of the training texts)" in near
    assert find_overlap(training, validation).near == {0: 1}


def test_of_very_many_validation_texts_some_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "_MAX_COMPARED", 50)
    validation = texts(*(LONG.replace("food", f"meal{number}") for number in range(200)))
    (note,) = overlap_notes(texts(LONG, "other"), validation)
    assert note.startswith("50 validation texts of 50 that were looked at are a training text but for a few words")


def test_the_reader_is_told_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    overlap_notes(texts(*(f"text {number}" for number in range(2500))), texts("a", "b"), lambda *far: told.append(far))
    assert told == [(0, 2500), (1000, 2500), (2000, 2500)]


def test_too_much_in_common_to_compare_it_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "NearTexts", partial(NearTexts, max_work=1))
    notes = overlap_notes(texts(LONG, LONG), texts(f"well {LONG}", f"oh {LONG}"))
    assert "not all near ones could be looked for" in notes[-1]
