"""Walks between random pairs of sentences: whether they take steps or jump, and whether what stands between is English.

Distances between sentences are edits of words (Levenshtein), a metric, so that no way is shorter than the straight one.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from adavae.model.errors import DatasetError
from adavae.model.training.fluency import Fluency, FluencyJudge
from adavae.model.training.ngram_model import words_of
from adavae.model.training.operations import Operations
from adavae.model.training.progress import OnDone, tell_no_one
from adavae.model.training.transfer import word_overlap

STEPS = 11
_TOGETHER = 20  # walks asked for at once


@dataclass(frozen=True, slots=True)
class Walks:
    """Walks of eleven steps between decoded ends.

    Attributes:
        num_walks: How many.
        steps: Sentences on each, ends included.
        distinct: Mean number of different sentences on a walk.
        distinct_worst: The least of them.
        own_inner: Mean share of inner sentences that are neither end's.
        own_middle: Share of walks whose middle sentence is neither end's.
        middle_from_source: Mean share of the middle's words that the first sentence has.
        middle_from_target: The same of the last.
        smoothness: Mean of the distance between the ends over the sum of the distances between neighbours
            (interpolation smoothness, Zhang et al. 2024): 1 where no step is a detour.
        smoothness_worst: The least of them.
        longest_step: Mean of the longest step over the distance between the ends: 1 / (steps - 1) is an even walk, 1
            is a jump, which smoothness alone does not tell from a walk.
        fluency: Of all inner sentences, repeated ones as often as they stand there; None without a judge.
        examples: The first few walks.
    """

    num_walks: int
    steps: int
    distinct: float
    distinct_worst: int
    own_inner: float
    own_middle: float
    middle_from_source: float
    middle_from_target: float
    smoothness: float
    smoothness_worst: float
    longest_step: float
    fluency: Fluency | None
    examples: tuple[tuple[str, ...], ...]


def draw_pairs(texts: Sequence[str], num: int, seed: int) -> list[tuple[str, str]]:
    """Random pairs in which no row of ``texts`` stands twice; fewer than ``num`` where there are too few.

    Raises:
        DatasetError: There are not even two different texts.
    """
    different = list(dict.fromkeys(texts))
    if len(different) < 2:
        raise DatasetError(f"a walk needs two different texts, there are {len(different)}: give more")
    random.Random(seed).shuffle(different)
    return list(zip(different[::2], different[1::2], strict=False))[:num]


def measure_walks(
    operations: Operations,
    texts: Sequence[str],
    judge: FluencyJudge | None,
    *,
    num_walks: int = 100,
    steps: int = STEPS,
    seed: int = 0,
    num_examples: int = 3,
    on_done: OnDone = tell_no_one,
) -> Walks:
    """Walks between random pairs of ``texts``; raises as ``draw_pairs`` does."""
    pairs, walks = draw_pairs(texts, num_walks, seed), list[list[str]]()
    for start in range(0, len(pairs), _TOGETHER):
        walks += operations.interpolate(pairs[start : start + _TOGETHER], steps)
        on_done(len(walks), len(pairs))
    inner = [text for walk in walks for text in walk[1:-1]]
    distinct = [len(set(walk)) for walk in walks]
    smoothness = [smoothness_of(walk) for walk in walks]
    return Walks(
        num_walks=len(walks),
        steps=steps,
        distinct=_mean(distinct),
        distinct_worst=min(distinct),
        own_inner=_mean([own_share(walk) for walk in walks]),
        own_middle=_mean([walk[steps // 2] not in (walk[0], walk[-1]) for walk in walks]),
        middle_from_source=_mean([word_overlap(walk[steps // 2], walk[0]) for walk in walks]),
        middle_from_target=_mean([word_overlap(walk[steps // 2], walk[-1]) for walk in walks]),
        smoothness=_mean(smoothness),
        smoothness_worst=min(smoothness),
        longest_step=_mean([longest_step_of(walk) for walk in walks]),
        fluency=judge.measure(inner) if judge is not None and inner else None,
        examples=tuple(map(tuple, walks[:num_examples])),
    )


def own_share(walk: Sequence[str]) -> float:
    """Share of the sentences between the ends that equal neither; 0 where nothing stands between."""
    inner = walk[1:-1]
    return _mean([text not in (walk[0], walk[-1]) for text in inner]) if inner else 0.0


def smoothness_of(walk: Sequence[str]) -> float:
    """Distance of the ends over the length of the way: in [0, 1], 1 too for a walk that never leaves one sentence."""
    length = sum(edits(*step) for step in pairwise(walk))
    return edits(walk[0], walk[-1]) / length if length else 1.0


def longest_step_of(walk: Sequence[str]) -> float:
    """The longest step over the distance of the ends, at least 1 word; above 1 where a step leads further than both."""
    return max(edits(*step) for step in pairwise(walk)) / max(1, edits(walk[0], walk[-1]))


def edits(source: str, target: str) -> int:
    """Words to insert, drop or change to come from one text to the other (Levenshtein 1966)."""
    ours, theirs = words_of(source), words_of(target)
    row = list(range(len(theirs) + 1))
    for number, word in enumerate(ours, start=1):
        previous, row = row, [number]
        for place, other in enumerate(theirs, start=1):
            row.append(min(previous[place] + 1, row[-1] + 1, previous[place - 1] + (word != other)))
    return row[-1]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
