"""Plain texts as one long stream of tokens, cut into shuffled windows; and the tokenizer that is made from them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor

from adavae.model.storage.tokenizer import END_OF_TEXT, Tokenizer
from adavae.model.training.corpus import Dataset, drawn_rows

_TEXTS_AT_ONCE = 20_000  # texts tokenised together, so lists of Python integers stay small


class WindowStream:
    """Shuffled windows of one long stream of tokens, addressed by step, so resuming needs no state."""

    def __init__(self, tokens: NDArray[np.int32], seed: int) -> None:
        self.tokens, self.seed = tokens, seed
        self._epoch: tuple[tuple[int, int], NDArray[np.int64]] = ((0, -1), np.empty(0, np.int64))

    def windows_at(self, step: int, length: int, batch_size: int) -> Tensor:
        """The batch of one step.

        Args:
            step: Counted among the steps with this ``length``.
            length: Number of predicted tokens per window.
            batch_size: Number of windows; fewer if the stream is shorter.

        Returns:
            (B, length + 1), int64: inputs, and targets one place further.
        """
        batch_size = self.num_at_once(length, batch_size)
        epoch, place = divmod(step, self._num_windows(length) // batch_size)
        starts = self._starts(length, epoch)[place * batch_size : (place + 1) * batch_size]
        return torch.from_numpy(self.tokens[starts[:, None] + np.arange(length + 1)]).long()

    def num_at_once(self, length: int, batch_size: int) -> int:
        """How many windows a step has; arguments as for ``windows_at``."""
        return min(batch_size, self._num_windows(length))

    def _num_windows(self, length: int) -> int:
        return (len(self.tokens) - 1) // length

    def _starts(self, length: int, epoch: int) -> NDArray[np.int64]:
        """Starts of an epoch's windows in random order; depends on (seed, length, epoch) alone."""
        if self._epoch[0] != (length, epoch):
            generator = np.random.default_rng([self.seed, length, epoch])
            num_windows, rest = divmod(len(self.tokens) - 1, length)
            starts = generator.permutation(num_windows) * length + generator.integers(rest + 1)
            self._epoch = ((length, epoch), starts)
        return self._epoch[1]


def repeated(dataset: Dataset, times: float, seed: int) -> Dataset:
    """The dataset repeated ``times`` times; for a fraction, that share of its texts is drawn by the seed."""
    whole, rest = divmod(times, 1)
    drawn = drawn_rows(len(dataset.texts), round(rest * len(dataset.texts)), seed)
    texts = dataset.texts * int(whole) + tuple(dataset.texts[row] for row in drawn)
    return replace(dataset, texts=texts, labels=None, lines=None)


def token_stream(datasets: Sequence[Dataset], tokenizer: Tokenizer) -> NDArray[np.int32]:
    """All texts in their order, end-of-text before each and after the last, (num_tokens,)."""
    eos = tokenizer.eos_token_id
    parts = []
    for texts in _in_groups(datasets):
        rows = tokenizer.encode_many(texts)
        parts.append(np.fromiter((token for row in rows for token in (eos, *row)), np.int32))
    return np.concatenate([*parts, np.array([eos], np.int32)])


def train_tokenizer(datasets: Sequence[Dataset], vocab_size: int) -> Tokenizer:
    """A byte-level BPE with end-of-text as token 0; with few texts it has fewer tokens than ``vocab_size``."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_in_groups(datasets), trainer)
    return Tokenizer(tokenizer.to_str())


def _in_groups(datasets: Sequence[Dataset]) -> Iterator[tuple[str, ...]]:
    for dataset in datasets:
        for start in range(0, len(dataset.texts), _TEXTS_AT_ONCE):
            yield dataset.texts[start : start + _TEXTS_AT_ONCE]
