"""The texts of one data set as every system of a table reads them: the same rows, cut at the same place."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from adavae.model.errors import DatasetError
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.batches import Batches
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction.scale import Scale
from adavae.model.training.token_rows import TokenRows
from adavae.model.training.tokenized_texts import TokenizedTexts, tokenize

_ENDINGS = (".tsv", ".txt", ".csv", ".jsonl", ".tsv.xz", ".txt.xz", ".parquet")


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
class Corpus:
    """One data set of a table.

    Attributes:
        name: Its folder.
        training: Training texts.
        validation: Held-back texts that training may look at.
        test: Texts that it never sees.
        tokenizer: The backbone's; every system reads its tokens, or the same texts in its own.
        pad_token_id: What fills a batch.
    """

    name: str
    training: TokenizedTexts
    validation: TokenizedTexts
    test: Dataset
    tokenizer: Tokenizer
    pad_token_id: int

    @classmethod
    def read(cls, folder: Path, tokenizer: Tokenizer, scale: Scale, seed: int) -> Self:
        """Reads ``train``, ``valid`` and ``test`` (``valid`` again where there is none) of a folder.

        Raises:
            DatasetError: A file is missing or cannot be used.
        """
        training = read_dataset(file_of(folder, "train"), limit=scale.train_texts, seed=seed)
        validation = read_dataset(file_of(folder, "valid"), limit=scale.test_texts, seed=seed)
        test_file = file_of(folder, "test", otherwise="valid")
        test = read_dataset(test_file, limit=scale.test_texts, seed=seed)
        return cls(
            folder.name,
            _tokenized(training, tokenizer, scale.most_tokens),
            _tokenized(validation, tokenizer, scale.most_tokens),
            test,
            tokenizer,
            tokenizer.eos_token_id,
        )

    def batches(self, scale: Scale, seed: int, device: torch.device) -> Iterator[TextBatch]:
        """An endless stream of training batches, the same for every system."""
        order = Batches(self.training.lengths, batch_size=min(scale.batch_size, len(self.training.lengths)), seed=seed)
        step = 0
        while True:
            yield self.training.batch(order.rows_at(step), self.pad_token_id, device)
            step += 1


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
        for ending in _ENDINGS:
            if (path := folder / f"{name}{ending}").is_file():
                return path
    raise DatasetError(
        f"{folder}: has no {split}{_ENDINGS[0]} or the like: a data set is a folder with train, valid, test"
    )
