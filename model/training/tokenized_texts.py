"""A dataset as token ids with labels, from which a training run makes its batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from adavae.model.adavae import pad
from adavae.model.training.corpus import Dataset
from adavae.model.training.objective import TextBatch
from adavae.model.training.token_rows import TokenRows


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

    def batch(self, rows: Iterable[int], eos_token_id: int, device: torch.device) -> TextBatch:
        """The texts of ``rows``, padded with end-of-text to the longest: token ids (B, T), int64, mask and labels."""
        rows = list(rows)
        texts = [self.token_ids[row] for row in rows]
        token_ids, attention_mask = pad(texts, eos_token_id, device)
        labels = None
        if self.label_ids is not None:
            labels = torch.tensor([self.label_ids[row] for row in rows], device=device)
        forms = None
        if self.form_ids is not None:
            forms = TextBatch(*pad([self.form_ids[row] for row in rows], eos_token_id, device))
        return TextBatch(token_ids, attention_mask, labels, tuple(map(len, texts)), forms)
