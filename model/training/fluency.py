"""How fluent texts are, according to a language model that had no part in writing them.

There are two figures per text. Nats per word, the perplexity's logarithm, is lowest for bland texts, so a broken text
of common words passes as fluent. SLOR (Pauls and Klein 2012; Kann et al. 2018) subtracts the cost of the words
themselves:

    slor = 1/n sum_i [log p(w_i | w_1 .. w_(i-1)) - log p(w_i)],

that is, how much better a word is predicted in its place than anywhere: blandness gains nothing, a word out of place
loses. It tells Yelp sentences with two words exchanged from intact ones with an area under the curve of 0.85 (nats
0.78), and a model's draws from real sentences with 0.71 (nats 0.54). Both depend on length, so each text is compared
with real texts of its length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from adavae.model.errors import DatasetError
from adavae.model.training.ngram_model import NgramModel

JUDGE_ORDER = 4  # order 5 lowers the perplexity of Yelp's test sentences by only 0.2 %
_LIKE_LENGTH = 200  # at least so many real texts, nearest in length, that a text is compared with
_WORST = 0.95  # the quantile of real texts beyond which a text counts as bad

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fluency:
    """A judge's figures for many texts; ``real_`` figures are medians over as many real texts of the same lengths.

    Attributes:
        nats: Median nats per word.
        real_nats: The same for real texts.
        ratio: Median of each text's nats over those of real texts of its length; 1 is as fluent, above 1 is worse.
        worse_by_nats: Share of texts with more nats per word than 95 % of real texts of their length; 0.05 for real
            texts.
        slor: Median SLOR, higher is better.
        real_slor: The same for real texts.
        worse_by_slor: Share of texts with less SLOR than 95 % of real texts of their length; 0.05 for real texts.
        unknown: Share of texts with a word that the judge has never read: a rare name, or a non-word.
        real_unknown: The same for all the real texts.
        perplexity: exp(all nats / all words), the forward perplexity.
    """

    nats: float
    real_nats: float
    ratio: float
    worse_by_nats: float
    slor: float
    real_slor: float
    worse_by_slor: float
    unknown: float
    real_unknown: float
    perplexity: float


@dataclass(frozen=True, slots=True)
class Judged:
    """The figures of each text.

    Attributes:
        lengths: Words, ends included, (N,).
        nats: Nats per word, (N,).
        slor: (N,).
        unknown: Words the judge has never read, (N,).
    """

    lengths: NDArray[np.int64]
    nats: Floats
    slor: Floats
    unknown: NDArray[np.int64]


class FluencyJudge:
    """A word n-gram model of training texts, with real texts it has not read for comparison."""

    def __init__(self, language_model: NgramModel, words_alone: NgramModel, real_texts: Sequence[str]) -> None:
        self.language_model, self._words_alone = language_model, words_alone
        self._real = self.judge(real_texts)

    @classmethod
    def fit(cls, training_texts: Sequence[str], real_texts: Sequence[str], *, order: int = JUDGE_ORDER) -> Self:
        """Learns from ``training_texts`` and judges ``real_texts`` for later comparison.

        Raises:
            DatasetError: One of the two is empty.
        """
        if not real_texts:
            raise DatasetError("fluency is judged beside real texts: give at least one")
        language_model, words_alone = (NgramModel.fit(training_texts, order=number) for number in (order, 1))
        return cls(language_model, words_alone, real_texts)

    def judge(self, texts: Sequence[str]) -> Judged:
        """Judges each text by itself."""
        rows = self.language_model.word_nats(texts)
        alone = np.array([row.mean() for row in self._words_alone.word_nats(texts)])
        nats = np.array([row.mean() for row in rows])
        unknown = np.array([self.language_model.num_unknown(text) for text in texts], dtype=np.int64)
        return Judged(np.array([len(row) for row in rows], dtype=np.int64), nats, alone - nats, unknown)

    def measure(self, texts: Sequence[str]) -> Fluency:
        """Judges all texts together; there must be at least one."""
        judged, real = self.judge(texts), self._real
        median_nats = self._beside(judged.lengths, real.nats, np.median)
        median_slor = self._beside(judged.lengths, real.slor, np.median)
        most_nats = self._beside(judged.lengths, real.nats, lambda like: np.quantile(like, _WORST))
        least_slor = self._beside(judged.lengths, real.slor, lambda like: np.quantile(like, 1 - _WORST))
        return Fluency(
            nats=float(np.median(judged.nats)),
            real_nats=float(np.median(median_nats)),
            ratio=float(np.median(judged.nats / median_nats)),
            worse_by_nats=float((judged.nats > most_nats).mean()),
            slor=float(np.median(judged.slor)),
            real_slor=float(np.median(median_slor)),
            worse_by_slor=float((judged.slor < least_slor).mean()),
            unknown=float((judged.unknown > 0).mean()),
            real_unknown=float((real.unknown > 0).mean()),
            perplexity=float(np.exp(judged.nats @ judged.lengths / judged.lengths.sum())),
        )

    def _beside(self, lengths: NDArray[np.int64], figures: Floats, summary: Callable[[Floats], np.floating]) -> Floats:
        """For every length, a summary of the figures of real texts of that length, or the nearest ones."""
        of_length: dict[int, float] = {}
        for length in set(lengths.tolist()):
            gaps = np.abs(self._real.lengths - length)
            reach = np.sort(gaps)[min(_LIKE_LENGTH, len(gaps)) - 1]
            of_length[length] = float(summary(figures[gaps <= reach]))
        return np.array([of_length[length] for length in lengths.tolist()])
