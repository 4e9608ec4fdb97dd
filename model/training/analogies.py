"""Analogies over many pairs of sentences: whether they move a label, keep the sentence, and leave it English.

``z_d = z_c + z_b - z_a`` with a of the label that c has and b of the other. A pair for which this works can always be
found, so pairs are drawn by seed and never selected by their result: half are minimal (b is the sentence of the other
label nearest to a by TF-IDF cosine), half are unrelated. A held-out judge says what moved.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from adavae.model.errors import DatasetError
from adavae.model.training.corpus import Dataset
from adavae.model.training.fluency import Fluency, FluencyJudge
from adavae.model.training.operations import Operations
from adavae.model.training.progress import OnDone, ignore_done
from adavae.model.training.transfer import AttributeJudge, select_short, word_overlap

_CANDIDATES = 5000  # at most so many sentences per label to draw pairs from
_MAX_LABELS = 6  # labels between which directions are measured


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sentences: a of the source label, b of the target label."""

    a: str
    b: str
    is_minimal: bool


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """What one pair did to all sentences c.

    Attributes:
        pair: The two.
        moved: Share of outputs to which the judge gives the target label.
        kept: Mean share of a sentence's words that its output keeps.
        fluency: Of the outputs.
    """

    pair: Pair
    moved: float
    kept: float
    fluency: Fluency


@dataclass(frozen=True, slots=True)
class Direction:
    """From one label to another, over many pairs.

    Attributes:
        source: The label that c and a have.
        target: The label that b has.
        num_sentences: Sentences c of each pair.
        kept_by_reconstruction: Share of words that plain reconstruction of c keeps, the most an analogy can keep.
        fluency: Of all outputs.
        outcomes: One per pair.
        examples: (a, b, c, output), one for each of the first few pairs.
    """

    source: str
    target: str
    num_sentences: int
    kept_by_reconstruction: float
    fluency: Fluency
    outcomes: tuple[PairOutcome, ...]
    examples: tuple[tuple[str, str, str, str], ...]

    @property
    def name(self) -> str:
        return f"{self.source} -> {self.target}"

    def figures(self) -> dict[str, Any]:
        """Means and worst over all pairs, over the minimal ones and over the unrelated ones, and the worst pair."""
        halves = {
            "minimal": [each for each in self.outcomes if each.pair.is_minimal],
            "unrelated": [each for each in self.outcomes if not each.pair.is_minimal],
        }
        worst = min(self.outcomes, key=lambda outcome: outcome.moved)
        return {
            "pairs": len(self.outcomes),
            "sentences": self.num_sentences,
            **summary(self.outcomes),
            "kept_by_reconstruction": self.kept_by_reconstruction,
            "fluency": asdict(self.fluency),
            **{name: summary(half) for name, half in halves.items() if half},
            "worst_pair": [worst.pair.a, worst.pair.b],
        }


def summary(outcomes: Sequence[PairOutcome]) -> dict[str, float]:
    """Means over at least one pair, and the worst one by each figure alone."""
    moved, kept = [each.moved for each in outcomes], [each.kept for each in outcomes]
    ratios = [each.fluency.ratio for each in outcomes]
    broken = [each.fluency.worse_by_slor for each in outcomes]
    return {
        "moved": sum(moved) / len(moved),
        "moved_worst": min(moved),
        "kept": sum(kept) / len(kept),
        "kept_worst": min(kept),
        "fluency_ratio": sum(ratios) / len(ratios),
        "fluency_ratio_worst": max(ratios),
        "worse_by_slor": sum(broken) / len(broken),
        "worse_by_slor_worst": max(broken),
    }


def directions_of(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Both ways between two labels; with more, from each of the six commonest to the next, in a circle."""
    names = sorted(name for name, _ in Counter(labels).most_common(_MAX_LABELS))
    return list(zip(names, names[1:] + names[:1], strict=True)) if len(names) > 1 else []


def draw_analogies(
    dataset: Dataset,
    judge: AttributeJudge,
    source: str,
    target: str,
    *,
    num_pairs: int = 20,
    num_sentences: int = 50,
    certainty: float = 0.0,
    seed: int = 0,
) -> tuple[list[Pair], list[str]]:
    """Pairs, and short sentences c, all with labels that the judge agrees with; no sentence is both an a and a c.

    Args:
        dataset: Labelled texts, in arbitrary order.
        judge: Must agree with the labels.
        source: Label of a and c.
        target: Label of b.
        num_pairs: At most this many pairs.
        num_sentences: At most this many sentences c.
        certainty: How sure the judge must be of a and b; 0 accepts every text it agrees with.
        seed: Seed of the choice.

    Raises:
        DatasetError: There are fewer than two sentences of ``source`` or none of ``target``.
    """
    labels = dataset.labels or ()
    chosen = {
        label: list(
            dict.fromkeys(select_short(dataset.texts, labels, label, judge=judge, limit=_CANDIDATES, seed=seed))
        )
        for label in (source, target)
    }
    firsts, others = (_certain(chosen[label], judge, label, certainty) for label in (source, target))
    if len(chosen[source]) < 2 or not firsts or not others:
        raise DatasetError(
            f"{dataset.source}: {len(firsts)} short texts of the label {source!r} and {len(others)} of {target!r} that "
            "the judge agrees with are too few for analogies: give at least two and one"
        )
    firsts = firsts[: min(num_pairs, len(chosen[source]) // 2)]
    num_first, taken = len(firsts), set(firsts)
    sentences = [text for text in chosen[source] if text not in taken][:num_sentences]
    num_minimal = -(-num_first // 2)
    minimal = zip(firsts, nearest(firsts[:num_minimal], others), strict=False)
    unrelated = zip(firsts[num_minimal:], others * -(-num_first // len(others)), strict=False)
    return [*(Pair(a, b, True) for a, b in minimal), *(Pair(a, b, False) for a, b in unrelated)], sentences


def _certain(texts: Sequence[str], judge: AttributeJudge, label: str, certainty: float) -> list[str]:
    if not certainty:
        return list(texts)
    sure = judge.certainties(texts, label)
    return [text for text, certain in zip(texts, sure, strict=True) if certain >= certainty]


def nearest(texts: Sequence[str], candidates: Sequence[str]) -> list[str]:
    """For every text, the candidate with the highest TF-IDF cosine; the first of equal ones."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(token_pattern=r"[^\s]+", sublinear_tf=True).fit([*texts, *candidates])
    cosines = vectorizer.transform(texts) @ vectorizer.transform(candidates).T
    return [candidates[place] for place in np.asarray(cosines.todense()).argmax(axis=1)]


def measure_direction(
    operations: Operations,
    pairs: Sequence[Pair],
    sentences: Sequence[str],
    attribute_judge: AttributeJudge,
    fluency_judge: FluencyJudge,
    *,
    source: str,
    target: str,
    on_done: OnDone = ignore_done,
    num_examples: int = 5,
) -> Direction:
    """Applies every pair to every sentence; there must be at least one of each."""
    outputs: list[list[str]] = []
    for done, pair in enumerate(pairs, start=1):
        outputs.append(operations.analogy(pair.a, pair.b, sentences))
        on_done(done, len(pairs))
    reconstructions = operations.decode(operations.encode(sentences).mu)
    return Direction(
        source=source,
        target=target,
        num_sentences=len(sentences),
        kept_by_reconstruction=_share_of_words_kept(sentences, reconstructions),
        fluency=fluency_judge.measure([text for written in outputs for text in written]),
        outcomes=tuple(
            PairOutcome(
                pair=pair,
                moved=Counter(attribute_judge.predict(written))[target] / len(written),
                kept=_share_of_words_kept(sentences, written),
                fluency=fluency_judge.measure(written),
            )
            for pair, written in zip(pairs, outputs, strict=True)
        ),
        examples=tuple(
            (pair.a, pair.b, sentences[number % len(sentences)], written[number % len(sentences)])
            for number, (pair, written) in enumerate(zip(pairs, outputs, strict=True))
        )[:num_examples],
    )


def _share_of_words_kept(sources: Sequence[str], outputs: Sequence[str]) -> float:
    return sum(map(word_overlap, sources, outputs)) / len(sources)
