"""Other forms of a text that mean the same: spaces before its punctuation, capitals, no full stop at its end.

Users type as they like, and datasets come tokenised in many ways; an encoder trained on such forms maps them to where
the text itself lies (``encoder_input``). In texts with natural case, capitals carry meaning, so only spaces change.
"""

import random
import re
from collections.abc import Iterator, Sequence

from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.progress import OnDone, ignore_done
from adavae.model.training.token_rows import TokenRows

_BEFORE_PUNCTUATION = re.compile(r"(?<!\s)\s*([.,!?;:])")  # tried once for a run of blanks
_NATURAL_SHARE = 0.05  # share of texts with a capital above which they are in natural case
_LONGER_AT_MOST = 6  # tokens more than the text; a longer form is not used, so the texts bound memory
_TOGETHER = 2000  # texts


def form_rows(
    texts: Sequence[str],
    token_ids: TokenRows,
    tokenizer: Tokenizer,
    max_tokens: int,
    *,
    seed: int,
    on_done: OnDone = ignore_done,
) -> TokenRows:
    """Token ids of one other form of each text; of the text itself where the form would be much longer.

    Args:
        texts: The original texts.
        token_ids: Their token ids, cut to the context.
        tokenizer: The backbone's.
        max_tokens: Longest text the context allows.
        seed: Seed of the choice of forms.
        on_done: Told how many of the texts are done.
    """
    forms = TokenRows()
    for number, form in enumerate(_encoded(texts, tokenizer, seed, on_done)):
        original = token_ids[number]
        is_usable = 0 < len(form) <= min(len(original) + _LONGER_AT_MOST, max_tokens)
        forms.append(form if is_usable else original)
    return forms


def another_form(text: str, draw: random.Random, *, is_natural_case: bool) -> str:
    """One form at random, never empty."""
    spaced = _BEFORE_PUNCTUATION.sub(r" \1", text).strip()
    if is_natural_case:
        return spaced
    kind = draw.random()
    form = spaced if kind < 0.55 else text
    if kind > 0.4:
        form = form[:1].upper() + form[1:] if draw.random() < 0.8 else form.upper()
    if kind > 0.85:
        form = form.rstrip(" .!")
    return form or text


def is_in_natural_case(texts: Sequence[str]) -> bool:
    """Whether the texts use capitals at all."""
    num_with_capitals = sum(text != text.lower() for text in texts)
    return num_with_capitals > _NATURAL_SHARE * len(texts)


def _encoded(texts: Sequence[str], tokenizer: Tokenizer, seed: int, on_done: OnDone) -> Iterator[list[int]]:
    draw, is_natural_case = random.Random(seed), is_in_natural_case(texts)
    for start in range(0, len(texts), _TOGETHER):
        on_done(start, len(texts))
        chosen = texts[start : start + _TOGETHER]
        yield from tokenizer.encode_many([another_form(text, draw, is_natural_case=is_natural_case) for text in chosen])
