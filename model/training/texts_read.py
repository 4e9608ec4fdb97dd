"""What the model reads of a dataset: token ids cut to the context, and how many tokens and words that is.

A likelihood covers only the tokens that were read, so it is divided by the number of those. The words of a truncated
text are those of its decoded beginning; a word that is cut through counts as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adavae.model.text_model import TextModel


@dataclass(frozen=True, slots=True)
class TextsRead:
    """The texts of a dataset as the model sees them.

    Attributes:
        token_ids: Of each text, cut to the context.
        is_truncated: Whether each text was cut.
        num_tokens: Tokens of each text, its end counted as one, (N,), int64.
        num_words: Whitespace words of each text, its end counted as one, (N,), int64.
    """

    token_ids: list[list[int]]
    is_truncated: tuple[bool, ...]
    num_tokens: Tensor
    num_words: Tensor

    @classmethod
    def of(cls, text_model: TextModel, texts: Sequence[str]) -> "TextsRead":
        token_ids, is_truncated = text_model.token_ids(texts, truncate=True)
        decode = text_model.tokenizer.decode
        read = (decode(ids) if cut else text for text, ids, cut in zip(texts, token_ids, is_truncated, strict=True))
        return cls(
            token_ids,
            is_truncated,
            torch.tensor([len(ids) + 1 for ids in token_ids]),
            torch.tensor([len(text.split()) + 1 for text in read]),
        )

    def rows(self, chosen: Sequence[int]) -> "TextsRead":
        """Some of the texts."""
        return TextsRead(
            [self.token_ids[row] for row in chosen],
            tuple(self.is_truncated[row] for row in chosen),
            self.num_tokens[list(chosen)],
            self.num_words[list(chosen)],
        )
