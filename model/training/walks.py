"""Walks between random pairs of sentences: whether they move in steps or jump, and whether inner sentences are fluent.

Distances between sentences are word edits (Levenshtein), a metric, so no walk is shorter than the direct distance.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from adavae.model.errors import DatasetError
from adavae.model.training.fluency import Fluency, FluencyJudge
from adavae.model.training.ngram_model import words_of
from adavae.model.training.operations import Operations
from adavae.model.training.progress import OnDone, ignore_done
from adavae.model.training.transfer import word_overlap

STEPS = 11
_TOGETHER = 20  # walks requested at once


@dataclass(frozen=True, slots=True)
class Walks:
    """Walks of eleven steps between decoded ends.

    Attributes:
        num_walks: Number of walks.
        steps: Sentences per walk, ends included.
        distinct: Mean number of different sentences on a walk.
        distinct_worst: The lowest of these.
        own_inner: Mean share of inner sentences that are neither end's.
        own_middle: Share of walks whose middle sentence is neither end's.
        middle_from_source: Mean share of the middle sentence's words that are in the first sentence.
        middle_from_target: The same for the last sentence.
        smoothness: Mean of the distance between the ends over the sum of the distances between neighbours
            (interpolation smoothness, Zhang et al. 2024): 1 if no step is a detour.
        smoothness_worst: The lowest of these.
        longest_step: Mean of the longest step over the distance between the ends: 1 / (steps - 1) is an even walk, 1
            is a jump, which smoothness alone cannot tell from a walk.
        fluency: Of all inner sentences, including repeated ones; None without a judge.
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
    """Random pairs in which no row of ``texts`` occurs twice; fewer than ``num`` if there are too few.

    Raises:
        DatasetError: There are fewer than two different texts.
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
    on_done: OnDone = ignore_done,
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
    """Share of inner sentences that equal neither end; 0 if there are none."""
    inner = walk[1:-1]
    return _mean([text not in (walk[0], walk[-1]) for text in inner]) if inner else 0.0


def smoothness_of(walk: Sequence[str]) -> float:
    """Distance of the ends over the length of the walk, in [0, 1]; 1 for a walk that stays at one sentence."""
    length = sum(edits(*step) for step in pairwise(walk))
    return edits(walk[0], walk[-1]) / length if length else 1.0


def longest_step_of(walk: Sequence[str]) -> float:
    """The longest step over the distance of the ends (at least 1 word); above 1 if a step goes further than that."""
    return max(edits(*step) for step in pairwise(walk)) / max(1, edits(walk[0], walk[-1]))


def edits(source: str, target: str) -> int:
    """Words to insert, drop or change to get from one text to the other (Levenshtein 1966)."""
    ours, theirs = words_of(source), words_of(target)
    row = list(range(len(theirs) + 1))
    for number, word in enumerate(ours, start=1):
        previous, row = row, [number]
        for place, other in enumerate(theirs, start=1):
            row.append(min(previous[place] + 1, row[-1] + 1, previous[place - 1] + (word != other)))
    return row[-1]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
