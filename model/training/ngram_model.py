"""A plain language model of words: interpolated modified Kneser-Ney (Chen and Goodman 1999), in numpy.

It judges what the text model writes, so it shares nothing with it: no backbone, no tokenizer, no gradient. It is our
own because KenLM is C++ that must be compiled, and nltk's model reads sixty words a second (this one half a million)
and has one discount instead of three. ``fluency`` interprets its figures.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
from numpy.typing import NDArray

from adavae.model.errors import ConfigError, DatasetError

_WORD = re.compile(r"\w+(?=n't)|n't|'\w+|\w+|[^\w\s]")
_BEGIN, _END, _UNKNOWN = 0, 1, 2  # the first ids of every vocabulary
_NO_GRAM = -1
_MAX_ORDER = 6
_LEAST_DISCOUNT = 1e-3  # where a history leaves nothing, a word that never followed it has no probability

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


def words_of(text: str) -> list[str]:
    """Lower-case words; a punctuation mark is a word, and so is a clitic: ``do n't``, ``it 's``.

    Spaces do not matter, so a text and its treebank form have the same words.
    """
    return _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


@dataclass(frozen=True, slots=True)
class _Grams:
    """All n-grams of one order, numbered in the order of ``keys``.

    Attributes:
        keys: ``history * V + word``, where history is the number of the (n-1)-gram before the word; sorted, (G,).
        share: max(c - D(c), 0) / sum_w c(history w), the discounted probability of this n-gram, (G,).
    """

    keys: Ids
    share: Floats

    def find(self, history: Ids, word: Ids, num_words: int) -> Ids:
        """Numbers of n-grams, ``_NO_GRAM`` for those never seen, (M,)."""
        wanted = history * num_words + word
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where((history >= 0) & (self.keys[place] == wanted), place, _NO_GRAM)


class NgramModel:
    """p(w|h) = max(c(hw) - D, 0) / c(h) + gamma(h) p(w|h'), down to a uniform distribution over the vocabulary.

    Words outside the vocabulary are one unknown word, which has only that uniform share. A text has a begin mark and an
    end mark; the end mark counts as a word like any other.
    """

    def __init__(self, ids: Mapping[str, int], grams: Sequence[_Grams], backoffs: Sequence[Floats]) -> None:
        self._ids, self._grams, self._backoffs = ids, grams, backoffs

    @classmethod
    def fit(cls, texts: Sequence[str], *, order: int = 4, vocabulary: Sequence[str] | None = None) -> Self:
        """Learns from texts.

        Args:
            texts: At least one.
            order: Words of the longest n-gram.
            vocabulary: The known words; those of ``texts`` if left out. Perplexities can be compared only between
                models with the same vocabulary.

        Raises:
            ConfigError: An order that is out of range.
            DatasetError: No texts.
        """
        if not 1 <= order <= _MAX_ORDER:
            raise ConfigError("order", order, f"must be in [1, {_MAX_ORDER}]")
        if not texts:
            raise DatasetError("a language model needs texts to learn from: give at least one")
        rows = [words_of(text) for text in texts]
        known = sorted(set(chain.from_iterable(rows)) if vocabulary is None else set(vocabulary))
        ids = {word: number for number, word in enumerate(known, start=_UNKNOWN + 1)}
        corpus = _Corpus.of(rows, ids)
        counted = _count(corpus, order, len(known) + _UNKNOWN + 1)
        grams, backoffs = [], []
        for number, (keys, counts, history) in enumerate(counted):
            num_histories = 1 if number == 0 else len(counted[number - 1][0])
            share, backoff = _smoothed(counts, history, num_histories)
            grams.append(_Grams(keys, share))
            backoffs.append(backoff)
        return cls(ids, grams, backoffs)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The known words, sorted."""
        return tuple(self._ids)

    def word_nats(self, texts: Sequence[str]) -> list[Floats]:
        """-log p of each word of each text given those before it, the end mark last."""
        corpus = _Corpus.of([words_of(text) for text in texts], self._ids)
        nats = self._nats(corpus)
        starts = np.flatnonzero(corpus.place == 0)
        return [row[1:] for row in np.split(nats, starts[1:])] if len(texts) else []

    def num_unknown(self, text: str) -> int:
        """Words of a text that the vocabulary lacks."""
        return sum(word not in self._ids for word in words_of(text))

    def perplexity(self, texts: Sequence[str]) -> float:
        """exp(nats of all texts / their words, ends included)."""
        rows = self.word_nats(texts)
        return math.exp(sum(row.sum() for row in rows) / sum(map(len, rows)))

    def _nats(self, corpus: "_Corpus") -> Floats:
        """-log p of every token of a corpus; 0 for begin marks."""
        V = len(self._ids) + _UNKNOWN + 1
        history = np.zeros(len(corpus.words), dtype=np.int64)  # the one history of unigrams
        probability = np.full(len(corpus.words), 1.0 / (V - 1))  # the begin mark is never predicted
        for number, (grams, backoff) in enumerate(zip(self._grams, self._backoffs, strict=True)):
            found = grams.find(history, corpus.words, V)
            share = np.where(found >= 0, grams.share[found], 0.0)
            lower = np.where(history >= 0, backoff[history], 1.0)
            probability = share + lower * probability
            history = corpus.before(found, number + 1)
        return np.where(corpus.place == 0, 0.0, -np.log(probability))


@dataclass(frozen=True, slots=True)
class _Corpus:
    """Texts one after the other.

    Attributes:
        words: Ids, each text between its begin mark and its end mark, (M,).
        place: Of each token in its text, 0 for the begin mark, (M,).
    """

    words: Ids
    place: Ids

    @classmethod
    def of(cls, rows: Sequence[Sequence[str]], ids: Mapping[str, int]) -> Self:
        lengths = np.array([len(row) + 2 for row in rows], dtype=np.int64)
        words = [number for row in rows for number in (_BEGIN, *(ids.get(word, _UNKNOWN) for word in row), _END)]
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        return cls(np.array(words, dtype=np.int64), np.arange(len(words), dtype=np.int64) - starts)

    def before(self, grams: Ids, length: int) -> Ids:
        """For every token, the n-gram of ``length`` words right before it; none across the beginning of a text."""
        shifted = np.concatenate([np.array([_NO_GRAM]), grams[:-1]])
        return np.where(self.place >= length, shifted, _NO_GRAM)


def _count(corpus: _Corpus, order: int, num_words: int) -> list[tuple[Ids, Ids, Ids]]:
    """For every order, the keys of its n-grams, their counts and the numbers of their histories.

    Below the highest order, a count is the number of different words to the left; n-grams at the beginning of a text,
    which have none, keep their frequency.
    """
    counted: list[tuple[Ids, Ids, Ids]] = []
    begins: list[NDArray[np.bool_]] = []
    history = np.zeros(len(corpus.words), dtype=np.int64)
    shorter = history  # for every token, the number of the (n-1)-gram that ends there
    for number in range(order):
        is_there = history >= 0
        if not is_there.any():  # all texts are shorter
            break
        all_keys = history[is_there] * num_words + corpus.words[is_there]
        keys, first, inverse, counts = np.unique(all_keys, return_index=True, return_inverse=True, return_counts=True)
        ends = np.full(len(corpus.words), _NO_GRAM)
        ends[is_there] = inverse
        first = np.flatnonzero(is_there)[first]
        if counted:
            lower_keys, lower_counts, lower_history = counted[-1]
            to_the_left = np.bincount(shorter[first], minlength=len(lower_keys))
            counted[-1] = (lower_keys, np.where(begins[-1], lower_counts, to_the_left), lower_history)
        if number == 0:
            counts = np.where(keys == _BEGIN, 0, counts)
        counted.append((keys, counts, keys // num_words))
        begins.append((corpus.place[first] == number) & (number > 0))
        history, shorter = corpus.before(ends, number + 1), ends
    return counted


def _smoothed(counts: Ids, history: Ids, num_histories: int) -> tuple[Floats, Floats]:
    """Each n-gram's share of its history's probability, (G,), and what each history leaves to shorter ones, (H,)."""
    taken = np.minimum(_discounts(counts)[np.minimum(counts, 3)], counts)
    totals = np.bincount(history, weights=counts, minlength=num_histories)
    left = np.bincount(history, weights=taken, minlength=num_histories)
    backoff = np.where(totals > 0, left / np.maximum(totals, 1), 1.0)
    return (counts - taken) / np.maximum(totals[history], 1), backoff


def _discounts(counts: Ids) -> Floats:
    """D of counts 0, 1, 2 and more (Chen and Goodman's Equation 26); where texts are too few for it, KenLM's values."""
    n1, n2, n3, n4 = (int((counts == count).sum()) for count in (1, 2, 3, 4))
    fallback = np.array([0.0, 0.5, 1.0, 1.5])
    if not (n1 and n2 and n3 and n4):
        return fallback
    y = n1 / (n1 + 2 * n2)
    estimated = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    is_sound = bool(((estimated[1:] >= _LEAST_DISCOUNT) & (estimated[1:] <= np.arange(1, 4))).all())
    return estimated if is_sound else fallback
