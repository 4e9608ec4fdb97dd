"""What cleaning changes, and what it must not."""

import unicodedata

import pytest

from adavae.model.cleaning import clean


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ("  a text.\t\n", "a text."),
        ("a\u00a0b\u2003c\u3000d\u202fe", "a b c d e"),
        ("\u00a0 a \u2009", "a"),
        ("cafe\u0301", "caf\u00e9"),
        ("\ufeffa\ufeffb", "ab"),
        ("\u00a0\u3000", ""),
    ],
)
def test_spaces_become_plain_and_accents_composed(given: str, cleaned: str) -> None:
    assert clean(given) == cleaned
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    "text", ["two  spaces", "a\nb", "a\tb", "caf\u00e9 \u2603", "\ufb01ne", "\U0001f469\u200d\U0001f373", "\ud800"]
)
def test_a_clean_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


def test_a_million_accents_on_one_letter_are_left_as_they_are() -> None:
    """Ordering them took hours; told apart by the time of the whole run alone."""
    text = "a" + "\u0300\u0316" * 500_000
    assert clean(f" {text}\u00a0") == text
    assert clean("a" + "\u0316\u0300" * 15) == "\u00e0" + "\u0316" * 15 + "\u0300" * 14


def test_every_space_of_unicode_is_known() -> None:
    spaces = [chr(point) for point in range(0x110000) if unicodedata.category(chr(point)) == "Zs"]
    assert {clean(f"a{space}b") for space in spaces} == {"a b"}
