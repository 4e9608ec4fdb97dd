"""The texts of a data set in the tokens of a checkpoint's own tokenizer.

They are cut where the backbone's tokens cut them, so that every row reads the same words: -ELBO, nats a text, and the
perplexity a word compare, a perplexity a token does not. Batches are made by lengths, so their order is another one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import tokenizers
import torch

from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.corpus import Corpus, TestTexts
from adavae.model.training.reproduction.labelled_corpus import LabelledCorpus
from adavae.model.training.tokenized_texts import TokenizedTexts

_TOGETHER = 2000  # texts


class OwnTokenizer:
    """A checkpoint's tokenizer, in which a text cannot smuggle in a special token.

    Attributes:
        pad_token_id: What fills a batch.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raises ConfigError for a tokenizer without a token to pad with."""
        self._checkpoint, tokenizer = checkpoint, checkpoint.tokenizer()
        if tokenizer.pad_token_id is None:
            raise checkpoint.refused("has a tokenizer without a token to pad with: name another")
        self.pad_token_id: int = tokenizer.pad_token_id
        self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True

    def labelled(self, corpus: LabelledCorpus) -> LabelledCorpus:
        """With the checkpoint's special tokens around each text and between two of a pair, as its tokenizer has them.

        Raises:
            ConfigError: The tokenizer puts no special tokens around a text.
        """
        if self._tokenizer.num_special_tokens_to_add(False) == 0:
            raise self._checkpoint.refused("has a tokenizer that puts no [CLS] before a text: name another")
        self._tokenizer.enable_truncation(most_positions(self._checkpoint.config()))
        training, test = (
            self._read_again(texts, corpus.tokenizer, has_edges=True) for texts in (corpus.training, corpus.test)
        )
        return replace(corpus, training=training, test=test, pad_token_id=self.pad_token_id)

    def sentences(self, corpus: Corpus) -> Corpus:
        """Training and validation texts, without special tokens; the test texts are for ``measured``."""
        training, validation = (
            self._read_again(texts, corpus.tokenizer, has_edges=False) for texts in (corpus.training, corpus.validation)
        )
        return replace(corpus, training=training, validation=validation, pad_token_id=self.pad_token_id)

    def measured(self, texts: TestTexts, tokenizer: Tokenizer) -> TestTexts:
        """The same test texts with the same words, which ``tokenizer`` has cut."""
        rows = list(self._encoded(texts.token_ids, tokenizer, has_edges=False))
        return replace(texts, token_ids=rows, num_tokens=torch.tensor([len(row) + 1 for row in rows]))

    def _read_again(self, texts: TokenizedTexts, tokenizer: Tokenizer, *, has_edges: bool) -> TokenizedTexts:
        return replace(texts, token_ids=list(self._encoded(texts.token_ids, tokenizer, has_edges=has_edges)))

    def _encoded(
        self, token_ids: Sequence[Sequence[int]], tokenizer: Tokenizer, *, has_edges: bool
    ) -> Iterator[list[int]]:
        """Of texts, or pairs, in the backbone's tokens; some at a time, for the memory that it takes."""
        for start in range(0, len(token_ids), _TOGETHER):
            texts = [_text(row, tokenizer) for row in token_ids[start : start + _TOGETHER]]
            for encoding in self._tokenizer.encode_batch(texts, add_special_tokens=has_edges):
                yield encoding.ids


def most_positions(config: Any) -> int:
    """Tokens that a model of this kind reads at most; RoBERTa's positions begin behind that of its padding."""
    most: int = config.max_position_embeddings
    return most - config.pad_token_id - 1 if config.model_type == "roberta" else most


def _text(token_ids: Sequence[int], tokenizer: Tokenizer) -> str | tuple[str, str]:
    """A text, or the two of a pair that end-of-text joins."""
    row = list(token_ids)
    if tokenizer.eos_token_id not in row:
        return tokenizer.decode(row)
    middle = row.index(tokenizer.eos_token_id)
    return tokenizer.decode(row[:middle]), tokenizer.decode(row[middle + 1 :])
