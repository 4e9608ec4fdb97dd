"""A data set's folder as the rows of a table want it: read once, and only in the form that is asked for."""

import copy
from collections.abc import Callable, Hashable
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

from torch import nn

from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.reproduction.corpus import Corpus
from adavae.model.training.reproduction.labelled_corpus import LabelledCorpus
from adavae.model.training.reproduction.scale import Scale

M = TypeVar("M", bound=nn.Module)


class DataFolder:
    """One data set at one scale and seed; raises DatasetError as its corpora do when they are read."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, scale: Scale, seed: int) -> None:
        self.folder, self.tokenizer, self.scale, self.seed = folder, tokenizer, scale, seed
        self._kept: dict[Hashable, nn.Module] = {}

    def begun(self, key: Hashable, make: Callable[[], M]) -> M:
        """A copy of what ``make`` made for ``key``: rows that begin with the same training share it."""
        if key not in self._kept:
            self._kept[key] = make()
        return cast(M, copy.deepcopy(self._kept[key]))

    @cached_property
    def corpus(self) -> Corpus:
        """Texts for language models."""
        return Corpus.read(self.folder, self.tokenizer, self.scale, self.seed)

    @cached_property
    def labelled(self) -> LabelledCorpus:
        """Texts, or pairs of texts, with labels."""
        return LabelledCorpus.read(self.folder, self.tokenizer, self.scale, self.seed)
