"""Which of very many texts is the one that is too long."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from adavae.model.errors import SequenceTooLong, shown

if TYPE_CHECKING:
    from adavae.model.text_model import TextModel


@contextmanager
def told_by_number(
    text_model: "TextModel",
    texts: Sequence[str],
    start: int,
    *,
    called: str = "text {}",
    remedy: str = "shorten it, or add --truncate",
) -> Iterator[None]:
    """Names a text by its number among all texts, not by that among those which are computed together.

    Args:
        text_model: What refuses it.
        texts: Those of now.
        start: The first one's number, from 0.
        called: What a text is called, with its number.
        remedy: What to do.

    Raises:
        SequenceTooLong: One of ``texts`` is, or another one.
    """
    try:
        yield
    except SequenceTooLong as exc:
        limit = text_model.max_text_tokens
        for number, row in enumerate(text_model.tokenizer.encode_many(list(texts)), start=start):
            if len(row) > limit:
                named = f"{called.format(number)} ({shown(texts[number - start][:40])})"
                raise SequenceTooLong(f"{named} has {len(row)} tokens, the backbone takes {limit}: {remedy}") from exc
        raise
