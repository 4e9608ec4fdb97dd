"""Other forms of a text: what they change, and what they leave alone."""

import random

from adavae.model.training.text_forms import another_form, form_rows, is_in_natural_case
from adavae.model.training.token_rows import TokenRows
from tests.tiny_text import tiny_tokenizer

TEXT = "the food was bad, and the staff rude."


def _letters(text: str) -> str:
    return "".join(text.lower().replace(".", "").split())


def test_forms_differ_in_case_spaces_and_full_stop_alone() -> None:
    draw = random.Random(0)
    forms = {another_form(TEXT, draw, is_natural_case=False) for _ in range(200)}
    assert {"the food was bad , and the staff rude .", TEXT.upper(), TEXT[0].upper() + TEXT[1:]} <= forms
    assert all(_letters(form) == _letters(TEXT) for form in forms)


def test_natural_case_is_left_alone() -> None:
    assert is_in_natural_case(["Obama left.", "It rained."])
    assert not is_in_natural_case([TEXT] * 99 + ["NASA"])
    assert another_form("Obama left.", random.Random(0), is_natural_case=True) == "Obama left ."


def test_a_form_is_never_empty() -> None:
    draw = random.Random(1)
    assert all(another_form("..!", draw, is_natural_case=False) for _ in range(100))


def test_rows_of_forms_depend_on_the_seed_and_stay_near_the_length_of_their_texts() -> None:
    tokenizer, texts = tiny_tokenizer(), [TEXT, "ok.", "the pizza was great, we said!"] * 10
    originals = TokenRows(row[:20] for row in tokenizer.encode_many(texts))
    forms = form_rows(texts, originals, tokenizer, 20, seed=3)
    assert len(forms) == len(originals)
    assert list(forms) == list(form_rows(texts, originals, tokenizer, 20, seed=3))
    assert list(forms) != list(form_rows(texts, originals, tokenizer, 20, seed=4))
    assert all(0 < len(form) <= min(len(row) + 6, 20) for form, row in zip(forms, originals, strict=True))


def test_a_run_of_blanks_is_read_once() -> None:
    """Regression: time grew with its square, so that one line of an upload held a training job up for hours."""
    blanks = " " * 200_000
    assert another_form(f"so{blanks}good{blanks}.", random.Random(0), is_natural_case=True) == f"so{blanks}good ."
