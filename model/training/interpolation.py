"""Whether the way between two sentences is walked or jumped: what stands in its middle, and how many stops it has."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from adavae.model.decoding.decoding import Decoding
from adavae.model.text_model import TextModel
from adavae.model.training.transfer import word_overlap

STEPS = 11


@dataclass(frozen=True, slots=True)
class InterpolationReport:
    """Interpolations in eleven steps between random pairs of texts, decoded greedily.

    Attributes:
        num_pairs: Ways walked.
        own_middle: Share of ways whose middle sentence is neither end's sentence.
        distinct: Mean number of different sentences on a way, at most 11.
        middle_from_source: Mean share of the middle's words that the source's reconstruction has.
        middle_from_target: The same for the target.
    """

    num_pairs: int
    own_middle: float
    distinct: float
    middle_from_source: float
    middle_from_target: float


def measure_interpolation(
    text_model: TextModel, name: str, texts: Sequence[str], *, num_pairs: int, seed: int = 0
) -> InterpolationReport:
    """Walks ``num_pairs`` ways (fewer where there are fewer texts).

    Args:
        text_model: Has the set loaded.
        name: The adapter set.
        texts: At least two, each short enough for the context.
        num_pairs: Ways at most.
        seed: Of the choice of pairs.
    """
    order = list(range(len(texts)))
    random.Random(seed).shuffle(order)
    pairs = [(texts[source], texts[target]) for source, target in zip(order[::2], order[1::2], strict=False)][
        :num_pairs
    ]
    decoding = Decoding(max_tokens=min(48, text_model.max_text_tokens))
    ways = [_way(text_model, name, source, target, decoding) for source, target in pairs]
    middles = [way[STEPS // 2] for way in ways]
    return InterpolationReport(
        num_pairs=len(ways),
        own_middle=_mean([float(way[STEPS // 2] not in (way[0], way[-1])) for way in ways]),
        distinct=_mean([float(len(set(way))) for way in ways]),
        middle_from_source=_mean([word_overlap(own, way[0]) for own, way in zip(middles, ways, strict=True)]),
        middle_from_target=_mean([word_overlap(own, way[-1]) for own, way in zip(middles, ways, strict=True)]),
    )


def _way(text_model: TextModel, name: str, source: str, target: str, decoding: Decoding) -> list[str]:
    return [step.decoded.text for step in text_model.interpolate(source, target, STEPS, name, decoding)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
