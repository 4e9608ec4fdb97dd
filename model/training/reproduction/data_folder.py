"""A data set's folder as the rows of a table want it: read once, and only in the form that is asked for."""

import copy
import hashlib
from collections.abc import Callable, Hashable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar, cast

from torch import nn

from adavae.model.errors import DatasetError
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.reproduction.corpus import Corpus
from adavae.model.training.reproduction.hub_data import SOURCE
from adavae.model.training.reproduction.labelled_corpus import LabelledCorpus
from adavae.model.training.reproduction.scale import Scale

M = TypeVar("M", bound=nn.Module)
C = TypeVar("C")
_PIECE = 1024**2  # bytes


def digest_of(folder: Path) -> str:
    """SHA-256 of the names and contents of a folder's files; of nothing where there is no folder.

    Where they were fetched from is no part of it.
    """
    found = folder.iterdir() if folder.is_dir() else ()
    files = sorted(path for path in found if path.is_file() and path.name != SOURCE)
    return _digest(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files))


@lru_cache(maxsize=64)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, num_bytes, _ in files:
        digest.update(f"{Path(name).name} {num_bytes}\n".encode())
        with Path(name).open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()


class DataFolder:
    """One data set at one scale and seed; raises DatasetError as its corpora do when they are read.

    Attributes:
        files: ``digest_of`` the folder when this was made, which is of the texts that are read.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer, scale: Scale, seed: int) -> None:
        self.folder, self.tokenizer, self.scale, self.seed = folder, tokenizer, scale, seed
        self.files = digest_of(folder)
        self._kept: dict[Hashable, nn.Module] = {}

    def is_of(self, folder: Path) -> bool:
        """Whether it is that folder as it is now."""
        return (self.folder, self.files) == (folder, digest_of(folder))

    def at_seed(self, seed: int) -> "DataFolder":
        """The same files at another seed, which share what ``begun`` keeps."""
        if seed == self.seed:
            return self
        other = DataFolder(self.folder, self.tokenizer, self.scale, seed)
        other.files, other._kept = self.files, self._kept
        return other

    def begun(self, key: Hashable, make: Callable[[], M]) -> M:
        """A copy of what ``make`` made for ``key``: rows that begin with the same training share it, at all seeds."""
        if key not in self._kept:
            self._kept[key] = make()
        return cast(M, copy.deepcopy(self._kept[key]))

    @cached_property
    def corpus(self) -> Corpus:
        """Texts for language models."""
        return self._unchanged(Corpus.read(self.folder, self.tokenizer, self.scale, self.seed))

    @cached_property
    def labelled(self) -> LabelledCorpus:
        """Texts, or pairs of texts, with labels."""
        return self._unchanged(LabelledCorpus.read(self.folder, self.tokenizer, self.scale, self.seed))

    def _unchanged(self, read: C) -> C:
        if digest_of(self.folder) != self.files:
            raise DatasetError(f"{self.folder}: its files were changed meanwhile: repeat the command")
        return read
