"""Which of very many texts is the one that is too long."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from adavae.model.errors import SequenceTooLong, shown

if TYPE_CHECKING:
    from adavae.model.text_model import TextModel


@contextmanager
def told_by_number(text_model: "TextModel", texts: Sequence[str], start: int) -> Iterator[None]:
    """Raises SequenceTooLong with the text's number among all texts, from 0; ``start`` is that of the first."""
    try:
        yield
    except SequenceTooLong as exc:
        limit = text_model.max_text_tokens
        for number, row in enumerate(text_model.tokenizer.encode_many(list(texts)), start=start):
            if len(row) > limit:
                raise SequenceTooLong(
                    f"text {number} ({shown(texts[number - start][:40])}) has {len(row)} tokens, the backbone takes "
                    f"{limit}: shorten it, or add --truncate"
                ) from exc
        raise
