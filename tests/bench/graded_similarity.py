"""Pairs of sentences with a judgement of how alike they are, and how well vectors agree with it.

STS: ``<year>/*.test.tsv``, each line a score from 0 to 5, or nothing, and two sentences; lines without a score are left
out. Paraphrases: the MSR corpus's table, whose first column is 1 for a paraphrase and 0 for none.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
_ROWS = 256


@dataclass(frozen=True, slots=True)
class JudgedPairs:
    """Sentences in pairs, with a judgement of each: a score, or 1 and 0."""

    first: Sequence[str]
    second: Sequence[str]
    judged: NDArray[np.float64]

    @property
    def texts(self) -> list[str]:
        """All of them."""
        return [*self.first, *self.second]

    def cosines(self, embed: Embed) -> NDArray[np.float64]:
        """Of each pair, (N,); some at a time, as vectors of words are long."""
        starts = range(0, len(self.first), _ROWS)
        return np.concatenate([self._cosines(embed, slice(start, start + _ROWS)) for start in starts])

    def _cosines(self, embed: Embed, rows: slice) -> NDArray[np.float64]:
        first, second = (embed(texts[rows]).astype(np.float64) for texts in (self.first, self.second))
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        cosines: NDArray[np.float64] = (first * second).sum(1) / np.maximum(lengths, 1e-12)
        return cosines


def sts_years(folder: Path) -> dict[str, JudgedPairs]:
    """The pairs of each year that ``folder`` has, all of its files together."""
    years = sorted(each for each in folder.iterdir() if each.name.isdecimal() and any(each.glob("*.test.tsv")))
    return {
        year.name: _judged(row for path in sorted(year.glob("*.test.tsv")) for row in _cells(path)) for year in years
    }


def paraphrases(path: Path) -> JudgedPairs:
    """Quality, two ids, two sentences; the first line is the header."""
    return _judged([cells[0], *cells[3:5]] for cells in list(_cells(path))[1:])


def spearman(pairs: JudgedPairs, embed: Embed) -> float:
    """Correlation of the ranks of cosine and score."""
    from scipy.stats import spearmanr

    return round(float(spearmanr(pairs.cosines(embed), pairs.judged).statistic), 3)


def auc(pairs: JudgedPairs, embed: Embed) -> float:
    """How often a paraphrase has a larger cosine than a pair that is none."""
    from sklearn.metrics import roc_auc_score

    return round(float(roc_auc_score(pairs.judged, pairs.cosines(embed))), 3)


def _cells(path: Path) -> Iterator[list[str]]:
    for line in path.read_text(encoding="utf-8-sig").split("\n"):
        yield line.split("\t")


def _judged(rows: Iterator[list[str]]) -> JudgedPairs:
    scored = [row for row in rows if row[0].strip() and len(row) >= 3]
    return JudgedPairs(
        [row[1] for row in scored], [row[2] for row in scored], np.array([float(row[0]) for row in scored])
    )
