"""What only looks alike is told."""

import pytest

from adavae.model.training.likeness import label_warnings


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


def test_of_very_many_labels_that_look_alike_a_few_are_named() -> None:
    """Regression: a thousand in one group were all named, and the warning had two million characters."""
    names = ["".join("aA"[number >> bit & 1] for bit in range(10)) for number in range(1000)]
    (warning,) = label_warnings(dict.fromkeys(names, 2))
    assert warning.count("(2)") == 10
    assert " and 990 more; write each" in warning
