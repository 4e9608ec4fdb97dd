"""The labelled texts of Table 3 and Figure 1: one text, or a pair of texts whose tokens end-of-text joins."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Self

import torch

from adavae.model.errors import DatasetError
from adavae.model.pairs import SEPARATOR
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.batches import Batches
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.objective import TextBatch
from adavae.model.training.readers.reading import rows_of
from adavae.model.training.readers.row import Skipped
from adavae.model.training.reproduction.corpus import Corpus, file_of
from adavae.model.training.reproduction.scale import Scale
from adavae.model.training.tokenized_texts import TokenizedTexts


@dataclass(frozen=True, slots=True)
class LabelledSplits:
    """The texts of one data set at one scale and seed, before they are tokens.

    Attributes:
        training: Training texts with labels.
        test: Texts that accuracy is measured on; they have no label that the training texts lack.
    """

    training: Dataset
    test: Dataset

    @classmethod
    def read(cls, folder: Path, scale: Scale, seed: int) -> Self:
        """Reads ``train`` and ``test`` (``valid`` where there is none) of a folder.

        Raises:
            DatasetError: A file is missing or cannot be used, or ``test`` has a label that ``train`` lacks.
        """
        training = _read(file_of(folder, "train"), scale.train_texts, seed)
        test = _read(file_of(folder, "test", otherwise="valid"), scale.label_test_texts, seed, least_labels=1)
        if unknown := sorted(set(test.label_names) - set(training.label_names)):
            raise DatasetError(f"{folder}: the test texts have labels that the training texts lack: {unknown}")
        return cls(training, test)


@dataclass(frozen=True, slots=True)
class LabelledCorpus:
    """One data set of Table 3.

    Attributes:
        name: Its folder.
        labels: Every label, sorted.
        training: Training texts with labels.
        test: Texts that accuracy is measured on.
        test_dataset: The same, as texts.
        tokenizer: The backbone's.
        pad_token_id: What fills a batch.
    """

    name: str
    labels: tuple[str, ...]
    training: TokenizedTexts
    test: TokenizedTexts
    test_dataset: Dataset
    tokenizer: Tokenizer
    pad_token_id: int

    @classmethod
    def read(cls, folder: Path, tokenizer: Tokenizer, scale: Scale, seed: int) -> Self:
        """The texts that ``LabelledSplits.read`` reads, as tokens.

        Raises:
            DatasetError: A file is missing or cannot be used, or ``test`` has a label that ``train`` lacks.
        """
        splits = LabelledSplits.read(folder, scale, seed)
        labels = splits.training.label_names
        return cls(
            folder.name,
            labels,
            _tokenized(splits.training, tokenizer, labels, scale.most_tokens),
            _tokenized(splits.test, tokenizer, labels, scale.most_tokens),
            splits.test,
            tokenizer,
            tokenizer.eos_token_id,
        )

    def few(self, num: int, seed: int) -> Self:
        """With ``num`` of the training texts only, drawn by the seed, as many of each label as there are.

        All of them where there are not more.
        """
        assert self.training.label_ids is not None  # read with labels
        if num >= len(self.training.label_ids):
            return self
        draw = random.Random(f"{seed}:{num}")
        by_label: list[list[int]] = [[] for _ in self.labels]
        for row, label in enumerate(self.training.label_ids):
            by_label[label].append(row)
        for rows in by_label:
            draw.shuffle(rows)
        chosen: list[int] = []
        while len(chosen) < num:
            for rows in by_label:
                if rows and len(chosen) < num:
                    chosen.append(rows.pop())
        token_ids = [self.training.token_ids[row] for row in chosen]
        label_ids = [self.training.label_ids[row] for row in chosen]
        return replace(self, training=TokenizedTexts(token_ids, label_ids, self.training.digest))

    @property
    def unlabelled(self) -> Corpus:
        """The same training texts for a system that learns without labels; a pair is one text."""
        training, test = (replace(texts, label_ids=None) for texts in (self.training, self.test))
        return Corpus(
            self.name, training, test, self.test_dataset, self.test_dataset, self.tokenizer, self.pad_token_id
        )

    def batches(self, batch_size: int, seed: int, device: torch.device) -> Iterator[TextBatch]:
        """An endless stream of labelled training batches, the same for every system."""
        order, step = self._order(batch_size, seed), 0
        while True:
            yield self.training.batch(order.rows_at(step), self.pad_token_id, device)
            step += 1

    def num_read(self, batch_size: int, seed: int, steps: int) -> int:
        """Different training texts among the first ``steps`` of ``batches``."""
        order = self._order(batch_size, seed)
        return len({row for step in range(steps) for row in order.rows_at(step)})

    def _order(self, batch_size: int, seed: int) -> Batches:
        lengths = self.training.lengths
        return Batches(lengths, batch_size=min(batch_size, len(lengths)), seed=seed)


def has_training_texts(folder: Path, num: int) -> bool:
    """Whether a data set has so many training texts; of one that cannot be read it is told later what is wrong."""
    try:
        file = file_of(folder, "train")
        there = file.stat()
        return _has_rows(file, num, (there.st_size, there.st_mtime_ns))
    except (DatasetError, OSError):
        return True


@lru_cache(maxsize=64)
def _has_rows(file: Path, num: int, of_file: tuple[int, int]) -> bool:
    del of_file  # its size and time: of a changed file it is asked anew
    return sum(1 for _ in islice(rows_of(file, Skipped()), num)) == num


def _read(path: Path, limit: int | None, seed: int, *, least_labels: int = 2) -> Dataset:
    return read_dataset(path, require_labels=True, least_labels=least_labels, limit=limit, seed=seed)


def _tokenized(dataset: Dataset, tokenizer: Tokenizer, labels: Sequence[str], most_tokens: int) -> TokenizedTexts:
    """At most ``most_tokens`` of each text; of a pair, both halves get as many."""
    halves = [text.split(f" {SEPARATOR} ", 1) for text in dataset.texts]
    encoded = iter(tokenizer.encode_many([half for pair in halves for half in pair]))
    rows = []
    for pair in halves:
        row = next(encoded)
        if len(pair) == 2:
            half = (most_tokens - 1) // 2
            row = [*row[:half], tokenizer.eos_token_id, *next(encoded)[:half]]
        rows.append(row[:most_tokens])
    numbers = {label: number for number, label in enumerate(labels)}
    return TokenizedTexts(rows, [numbers[label] for label in dataset.labels or ()], dataset.digest)
