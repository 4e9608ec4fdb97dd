"""Texts that are the same but for a few words, found among very many without comparing each with each.

Likeness is the Jaccard index over a text's words and pairs of neighbouring words: shared ones over all of both texts'.
Two texts of at least the threshold share one of their rarest few, so that only those that do are compared at all
(prefix filtering, Chaudhuri et al. 2006). What is found is exact, as long as the work stays within its bound.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from itertools import pairwise

LIKE = 0.7
"""From here on texts count as near: one word in ten changed."""

MAX_WORK = 200_000_000
"""Words, pairs and candidates that one index looks at in all: some ten seconds."""

_MAX_WORDS = 128  # of a text, its beginning


def parts(key: str) -> frozenset[str]:
    """Words and pairs of neighbouring words of a text, given as its ``text_key``."""
    words = key.split(" ", _MAX_WORDS)[:_MAX_WORDS]
    return frozenset(words).union(map(" ".join, pairwise(words)))


class NearTexts:
    """Some texts, among which near ones to others are looked for.

    Attributes:
        is_exhausted: Whether the work came to its bound, after which nothing more is found.
    """

    def __init__(self, keys: Sequence[str], *, max_work: int = MAX_WORK) -> None:
        """``keys`` are the texts, each as its ``text_key``; their places are what is found."""
        self._texts = [parts(key) for key in keys]
        self._counts = Counter(part for text in self._texts for part in text)
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, text in enumerate(self._texts):
            for part in self._rarest(text, len(text)):
                self._places[part].append(place)
        self._work_left = max_work

    @property
    def is_exhausted(self) -> bool:
        return self._work_left <= 0

    def near(self, key: str, passed_over: Set[int] = frozenset()) -> list[int]:
        """Places of the texts that are near to this one, ascending, without those that are passed over."""
        if self.is_exhausted:
            return []
        text = parts(key)
        known = text & self._counts.keys()
        if len(known) < LIKE * len(text):
            return []
        sharing = [self._places.get(part, []) for part in self._rarest(known, len(text))]
        self._work_left -= sum(map(len, sharing))
        candidates = set[int]().union(*sharing) - passed_over
        return [place for place in sorted(candidates) if self._is_near(text, place)]

    def _rarest(self, known: Iterable[str], size: int) -> list[str]:
        """The parts of which a near text has at least one; ``known`` of the text's ``size`` parts occur here."""
        ordered = sorted(known, key=lambda part: (self._counts[part], part))
        num_unknown = size - len(ordered)  # the rarest of all
        return ordered[: max(0, size - math.ceil(LIKE * size) + 1 - num_unknown)]

    def _is_near(self, text: frozenset[str], place: int) -> bool:
        other = self._texts[place]
        small, large = sorted((len(text), len(other)))
        if small < LIKE * large or self.is_exhausted:
            return False
        self._work_left -= small
        shared = len(text & other)
        return shared >= LIKE * (len(text) + len(other) - shared)
