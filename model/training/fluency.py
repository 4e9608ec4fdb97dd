"""How fluent written texts are, in the eyes of a language model that had no part in writing them.

Nats a word alone say little: long texts have fewer of them, and a bland text has fewest. So each text stands beside
real texts of its own length, and what is said of many is a median, a share and a ratio. Blandness still pays: read
these figures beside those of distinctness and of kept words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.errors import DatasetError
from model.training.ngram_model import NgramModel, words_of

JUDGE_ORDER = 5
_LIKE_LENGTH = 200  # real texts that a text is compared with at least, those nearest in length
_WORST = 0.95  # the quantile of real texts beyond which a text counts as bad

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fluency:
    """What a judge says of many texts.

    Attributes:
        nats: Median nats a word.
        real_nats: The median text's counterpart: the median, over the texts, of the median of real texts as long.
        ratio: Median of each text's nats over the median of real texts as long; 1 is as fluent as real texts, above 1
            is worse.
        worse_than_real: Share of texts that are worse than 95 % of real texts as long; 0.05 for real texts.
        perplexity: exp(all nats / all words): the forward perplexity.
    """

    nats: float
    real_nats: float
    ratio: float
    worse_than_real: float
    perplexity: float


class FluencyJudge:
    """A word n-gram model of training texts, and real texts it has not read, to compare with."""

    def __init__(self, language_model: NgramModel, lengths: NDArray[np.int64], nats: Floats) -> None:
        """``lengths`` and ``nats`` a word of real texts, (R,), by length."""
        self.language_model, self._lengths, self._nats = language_model, lengths, nats

    @classmethod
    def fit(cls, training_texts: Sequence[str], real_texts: Sequence[str], *, order: int = JUDGE_ORDER) -> Self:
        """Learns from ``training_texts`` and measures ``real_texts``.

        Raises:
            DatasetError: There are none of one of them.
        """
        if not real_texts:
            raise DatasetError("fluency is judged beside real texts: give at least one")
        language_model = NgramModel.fit(training_texts, order=order)
        lengths = _lengths(real_texts)
        by_length = np.argsort(lengths, kind="stable")
        return cls(language_model, lengths[by_length], language_model.nats_per_word(real_texts)[by_length])

    def nats(self, texts: Sequence[str]) -> Floats:
        """Nats a word of each text, (N,); lower is more fluent."""
        return self.language_model.nats_per_word(texts)

    def ratios(self, texts: Sequence[str]) -> Floats:
        """Each text's nats a word over the median of real texts as long, (N,)."""
        medians = {length: float(np.median(self._like(length))) for length in set(_lengths(texts).tolist())}
        return self.nats(texts) / np.array([medians[length] for length in _lengths(texts).tolist()])

    def measure(self, texts: Sequence[str]) -> Fluency:
        """Of at least one text."""
        lengths, nats = _lengths(texts).tolist(), self.nats(texts)
        of_length = {length: self._like(length) for length in set(lengths)}
        medians = np.array([np.median(of_length[length]) for length in lengths])
        limits = np.array([np.quantile(of_length[length], _WORST) for length in lengths])
        return Fluency(
            nats=float(np.median(nats)),
            real_nats=float(np.median(medians)),
            ratio=float(np.median(nats / medians)),
            worse_than_real=float((nats > limits).mean()),
            perplexity=self.language_model.perplexity(texts),
        )

    def _like(self, length: int) -> Floats:
        """Nats of the real texts of this length, and of so many next to it that there are enough."""
        reach = np.sort(np.abs(self._lengths - length))[min(_LIKE_LENGTH, len(self._lengths)) - 1]
        return self._nats[np.abs(self._lengths - length) <= reach]


def _lengths(texts: Sequence[str]) -> NDArray[np.int64]:
    return np.array([len(words_of(text)) for text in texts], dtype=np.int64)
