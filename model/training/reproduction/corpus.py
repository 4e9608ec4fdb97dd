"""The texts of one data set as every system of a table reads them: the same rows, cut at the same place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from adavae.model.errors import DatasetError
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.batches import Batches
from adavae.model.training.corpus import Dataset, drawn_rows, read_dataset
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.scale import Scale
from adavae.model.training.splitting import split_validation
from adavae.model.training.token_rows import TokenRows
from adavae.model.training.tokenized_texts import TokenizedTexts, tokenize

_ENDINGS = (".tsv", ".txt", ".csv", ".jsonl", ".tsv.xz", ".txt.xz", ".parquet")
_HELD_BACK_SEED = 0


@dataclass(frozen=True, slots=True)
class TestTexts:
    """Texts to measure on.

    Attributes:
        token_ids: Of each text, cut at ``Scale.most_tokens`` or earlier.
        num_words: Whitespace-separated words that were read, the end counted as one, (N,), as Optimus counts.
        num_tokens: Tokens likewise, (N,).
        num_cut: How many of the texts were cut.
    """

    __test__ = False  # pytest takes the name for a test's

    token_ids: list[list[int]]
    num_words: Tensor
    num_tokens: Tensor
    num_cut: int

    @classmethod
    def of(cls, dataset: Dataset, tokenizer: Tokenizer, most_tokens: int) -> Self:
        """The texts, cut at ``most_tokens``; the words of a cut text are those that are left of it."""
        whole = tokenizer.encode_many(dataset.texts)
        rows = [row[:most_tokens] for row in whole]
        words = [
            len((text if len(row) <= most_tokens else tokenizer.decode(row[:most_tokens])).split()) + 1
            for text, row in zip(dataset.texts, whole, strict=True)
        ]
        return cls(
            rows,
            torch.tensor(words),
            torch.tensor([len(row) + 1 for row in rows]),
            sum(len(row) > most_tokens for row in whole),
        )


@dataclass(frozen=True, slots=True)
class Splits:
    """The texts of one data set at one scale and seed, before they are tokens.

    Attributes:
        training: Training texts.
        validation: Held-back texts that training may look at.
        test: Texts that it never sees.
        posterior_test: More of them, for figures that only need posteriors.
    """

    training: Dataset
    validation: Dataset
    test: Dataset
    posterior_test: Dataset

    @classmethod
    def read(cls, folder: Path, scale: Scale, seed: int) -> Self:
        """Reads ``train``, ``valid`` and ``test`` (``valid`` in its place where there is none) of a folder.

        Where that leaves no ``valid``, some of ``train`` are held back by ``split_validation``, a twentieth and at most
        about 2,000: the same at every seed and scale, and none equal to a training text, case and spacing aside.

        Raises:
            DatasetError: A file is missing or cannot be used.
        """
        train_file, test_file = file_of(folder, "train"), file_of(folder, "test", otherwise="valid")
        valid_file = found_file(folder, "valid")
        if valid_file is None or valid_file == test_file:
            training, validation = _held_back(train_file, scale, seed)
        else:
            training = read_dataset(train_file, limit=scale.train_texts, seed=seed)
            validation = read_dataset(valid_file, limit=scale.test_texts, seed=seed)
        test, posterior_test = (
            read_dataset(test_file, limit=limit, seed=seed) for limit in (scale.test_texts, scale.posterior_texts)
        )
        return cls(training, validation, test, posterior_test)


def _held_back(train_file: Path, scale: Scale, seed: int) -> tuple[Dataset, Dataset]:
    """Training texts, drawn by the seed, and the validation texts that no seed draws."""
    whole = replace(read_dataset(train_file), labels=None)  # language models read none
    training, validation = split_validation(whole, seed=_HELD_BACK_SEED)
    return _drawn(training, scale.train_texts, seed), _drawn(validation, scale.test_texts, _HELD_BACK_SEED)


def _drawn(dataset: Dataset, limit: int | None, seed: int) -> Dataset:
    if limit is None or len(dataset.texts) <= limit:
        return dataset
    return dataset.rows(drawn_rows(len(dataset.texts), limit, seed), dataset.source)


@dataclass(frozen=True, slots=True)
class Corpus:
    """One data set of a table.

    Attributes:
        name: Its folder.
        training: Training texts.
        validation: Held-back texts that training may look at.
        test: Texts that it never sees.
        posterior_test: More of them, for figures that only need posteriors.
        tokenizer: The backbone's; every system reads its tokens, or the same texts in its own.
        pad_token_id: What fills a batch.
    """

    name: str
    training: TokenizedTexts
    validation: TokenizedTexts
    test: Dataset
    posterior_test: Dataset
    tokenizer: Tokenizer
    pad_token_id: int

    @classmethod
    def read(cls, folder: Path, tokenizer: Tokenizer, scale: Scale, seed: int) -> Self:
        """The texts that ``Splits.read`` reads, as tokens.

        Raises:
            DatasetError: A file is missing or cannot be used.
        """
        splits = Splits.read(folder, scale, seed)
        return cls(
            folder.name,
            _tokenized(splits.training, tokenizer, scale.most_tokens),
            _tokenized(splits.validation, tokenizer, scale.most_tokens),
            splits.test,
            splits.posterior_test,
            tokenizer,
            tokenizer.eos_token_id,
        )

    def batches(self, scale: Scale, seed: int, device: torch.device) -> Iterator[TextBatch]:
        """An endless stream of training batches, the same for every system."""
        for rows in self.rows_by_update(scale, seed):
            yield self.training.batch(rows, self.pad_token_id, device)

    def rows_by_update(self, scale: Scale, seed: int) -> Iterator[Sequence[int]]:
        """The numbers of the training texts of each of these batches."""
        order = Batches(self.training.lengths, batch_size=min(scale.batch_size, len(self.training.lengths)), seed=seed)
        return map(order.rows_at, count())


def _tokenized(dataset: Dataset, tokenizer: Tokenizer, most_tokens: int) -> TokenizedTexts:
    rows: TokenRows
    rows, _ = tokenize(dataset, tokenizer, most_tokens, truncate=True)
    return TokenizedTexts.of(dataset, rows, ())


def file_of(folder: Path, split: str, otherwise: str | None = None) -> Path:
    """The file of one split of a data set, or of ``otherwise`` where there is none.

    Raises:
        DatasetError: There is neither.
    """
    for name in (split, *([otherwise] if otherwise else [])):
        if (path := found_file(folder, name)) is not None:
            return path
    raise DatasetError(
        f"{folder}: has no {split}{_ENDINGS[0]} or the like: a data set is a folder with train, valid, test"
    )


def found_file(folder: Path, split: str) -> Path | None:
    """The file of one split of a data set, if it has one."""
    paths = (folder / f"{split}{ending}" for ending in _ENDINGS)
    return next((path for path in paths if path.is_file()), None)
