"""A dataset as token ids: tokenized as a whole, and with labels, for a training run to make batches of."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from adavae.model.adavae import pad
from adavae.model.errors import DatasetError, SequenceTooLong
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.corpus import Dataset
from adavae.model.training.objective import TextBatch
from adavae.model.training.progress import OnDone, ignore_done
from adavae.model.training.token_rows import TokenRows

_TOKENIZED_TOGETHER = 2000  # texts


@dataclass(frozen=True, slots=True)
class TokenizedTexts:
    """A dataset ready for batching.

    Attributes:
        token_ids: Token ids of each text.
        label_ids: Label of each text, or None without labels.
        digest: Digest of the dataset.
        form_ids: Token ids of another form of each text, or None if none were made.
    """

    token_ids: Sequence[Sequence[int]]
    label_ids: list[int] | None
    digest: str
    form_ids: Sequence[Sequence[int]] | None = None

    @classmethod
    def of(
        cls, dataset: Dataset, token_ids: TokenRows, labels: tuple[str, ...], form_ids: TokenRows | None = None
    ) -> "TokenizedTexts":
        """The tokens of a dataset with its labels as numbers.

        Args:
            dataset: The dataset that was tokenized.
            token_ids: One row per text.
            labels: Names of the set's classes, in the head's order; empty for a set without a head.
            form_ids: Another form of each text, one row per text.
        """
        ids = {label: number for number, label in enumerate(labels)}
        label_ids = [ids[label] for label in dataset.labels] if dataset.labels is not None and labels else None
        return cls(token_ids, label_ids, dataset.digest, form_ids)

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each text, without its end."""
        token_ids = self.token_ids
        return token_ids.lengths if isinstance(token_ids, TokenRows) else [len(row) for row in token_ids]

    def batch(
        self, rows: Iterable[int], eos_token_id: int, device: torch.device, context: int | None = None
    ) -> TextBatch:
        """The texts of ``rows`` with their labels, padded with end-of-text.

        Args:
            rows: Numbers of the texts.
            eos_token_id: What they are padded with.
            device: Where the batch is wanted.
            context: As of ``width_of``.

        Returns:
            Token ids (B, T), int64, mask and labels.
        """
        rows = list(rows)
        texts = [self.token_ids[row] for row in rows]
        labels = None
        if self.label_ids is not None:
            labels = torch.tensor([self.label_ids[row] for row in rows], device=device)
        forms = None
        if self.form_ids is not None:
            others = [self.form_ids[row] for row in rows]
            forms = TextBatch(*pad(others, eos_token_id, device, width_of(max(map(len, others)), context)))
        lengths = tuple(map(len, texts))
        token_ids, attention_mask = pad(texts, eos_token_id, device, width_of(max(lengths), context))
        return TextBatch(token_ids, attention_mask, labels, lengths, forms, has_room=context is not None)


def width_of(length: int, context: int | None) -> int:
    """How wide texts are padded of which the longest has ``length`` tokens.

    With a ``context``, the most tokens that the model reads, it is one of a few numbers with room for end-of-text:
    7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40 ... A CPU compiles its products for each shape, and that takes longer.
    """
    if context is None:
        return length
    grain = 1 << max(0, length.bit_length() - 3)
    return min(context, -(-(length + 1) // grain) * grain)


def tokenize(
    dataset: Dataset, tokenizer: Tokenizer, max_tokens: int, *, truncate: bool, on_done: OnDone = ignore_done
) -> tuple[TokenRows, int]:
    """Token ids of every text.

    Args:
        dataset: The texts.
        tokenizer: The backbone's.
        max_tokens: Longest text the backbone's context allows.
        truncate: Cut longer texts instead of refusing them.
        on_done: Told how many of the texts are done.

    Returns:
        Token ids, and how many texts were cut.

    Raises:
        SequenceTooLong: A text is longer, and ``truncate`` is not set.
        DatasetError: The tokenizer leaves nothing of a text.
    """
    tokens, too_long, longest = TokenRows(), 0, (0, 0)
    for number, row in enumerate(_encoded(dataset, tokenizer, on_done)):
        if not row:
            raise DatasetError(f"{dataset.source}:{dataset.line_of(number)}: has no tokens: remove the line")
        if len(row) > max_tokens:
            too_long, longest = too_long + 1, max(longest, (len(row), -number))
        tokens.append(row[:max_tokens])
    if too_long and not truncate:
        length, number = longest
        raise SequenceTooLong(
            f"{dataset.source}:{dataset.line_of(-number)}: has {length:,} tokens, the limit is "
            f"{max_tokens:,} (texts that are too long: {too_long:,}; this is the longest): shorten them, or allow "
            "truncation (--truncate)"
        )
    return tokens, too_long


def _encoded(dataset: Dataset, tokenizer: Tokenizer, on_done: OnDone) -> Iterator[list[int]]:
    """Some texts at a time, because tokenizing takes many times the memory of the tokens."""
    for start in range(0, len(dataset.texts), _TOKENIZED_TOGETHER):
        on_done(start, len(dataset.texts))
        yield from tokenizer.encode_many(dataset.texts[start : start + _TOKENIZED_TOGETHER])
