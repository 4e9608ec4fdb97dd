"""How well an analogy moves an attribute, according to an independent judge.

The judge never sees the model or its latents: TF-IDF of 1- and 2-grams with logistic regression.
"""

import random
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from adavae.model.errors import DatasetError
from adavae.model.training.measures import accuracy

_MIN_WORDS = 3
_MOST_WEIGHTS = 2_000_000  # of the judge, a label times a 1- or 2-gram: learning takes 25 numbers a weight
_JUDGED_TOGETHER = 10_000  # texts: each has a number for every label


class AttributeJudge:
    """A plain text classifier."""

    def __init__(self, classifier: Any) -> None:
        self._classifier = classifier

    @classmethod
    def fit(cls, texts: Sequence[str], labels: Sequence[str]) -> Self:
        """Learns from labelled texts.

        Raises:
            DatasetError: No labels, one label only, or no word that occurs in two texts.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        if len(set(labels)) < 2:
            raise DatasetError("the judge needs texts of at least two labels: give labelled data to learn from")
        most_grams = _MOST_WEIGHTS // len(set(labels))
        vectorizer = TfidfVectorizer(
            ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"[^\s]+", max_features=most_grams
        )
        classifier = make_pipeline(vectorizer, LogisticRegression(max_iter=300, C=10.0))
        try:
            return cls(classifier.fit(list(texts), list(labels)))
        except ValueError as exc:
            raise DatasetError(
                f"the judge of labels cannot learn from these {len(texts)} texts, give it more in which words (what "
                f"spaces part) come back: {exc}"
            ) from exc

    def predict(self, texts: Sequence[str]) -> list[str]:
        """One label per text."""
        return [str(label) for some in _some_at_a_time(texts) for label in self._classifier.predict(some)]

    def certainties(self, texts: Sequence[str], label: str) -> list[float]:
        """How probable the judge finds ``label``, one of those it learned, for each text."""
        place = list(self._classifier.classes_).index(label)
        return [float(row[place]) for some in _some_at_a_time(texts) for row in self._classifier.predict_proba(some)]

    def accuracy_on(self, texts: Sequence[str], labels: Sequence[str]) -> float:
        """Its accuracy on texts it did not learn from: how far the judge itself is to be trusted."""
        return accuracy(self.predict(texts), labels)


def _some_at_a_time(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), _JUDGED_TOGETHER):
        yield list(texts[start : start + _JUDGED_TOGETHER])


@dataclass(frozen=True, slots=True)
class TransferReport:
    """What an analogy did to a list of sentences.

    Attributes:
        num_rows: Sentences judged.
        moved: Share of outputs to which the judge gives the target label.
        kept_words: Mean share of a sentence's words that its output keeps.
        direction: Source and target label as the judge sees them: ``"negative -> positive"``.
        examples: The first few (source, output).
    """

    num_rows: int
    moved: float
    kept_words: float
    direction: str
    examples: tuple[tuple[str, str], ...]


def select_short(
    texts: Sequence[str],
    labels: Sequence[str],
    label: str,
    *,
    judge: AttributeJudge,
    max_words: int = 12,
    limit: int = 500,
    seed: int = 0,
) -> list[str]:
    """Short texts with one label that the judge agrees with, in seeded order.

    Raises:
        DatasetError: There is none, or the texts have no labels.
    """
    if len(labels) != len(texts):
        raise DatasetError(f"{len(texts)} texts have {len(labels)} labels: give a dataset with a label for each text")
    candidates = [
        text
        for text, given in zip(texts, labels, strict=True)
        if given == label and _MIN_WORDS <= len(text.split()) <= max_words
    ]
    random.Random(seed).shuffle(candidates)
    agreed = [text for text, judged in zip(candidates, judge.predict(candidates), strict=True) if judged == label]
    if not agreed:
        raise DatasetError(
            f"of {len(candidates)} texts of {_MIN_WORDS} to {max_words} words with the label {label!r} the judge gives "
            f"none that label: give other data or one of the labels {sorted(set(labels))}"
        )
    return agreed[:limit]


def word_overlap(source: str, output: str) -> float:
    """Share of the source's words, counted with repetition, that are also in the output, in any order.

    Words are lower-cased and stripped of punctuation; 0 if the source has none.
    """
    words = Counter(_words(source))
    kept = words & Counter(_words(output))
    return kept.total() / max(1, words.total())


def measure_transfer(
    sources: Sequence[str], outputs: Sequence[str], judge: AttributeJudge, target_label: str, num_examples: int = 20
) -> TransferReport:
    """Judges ``outputs``, one for each of ``sources``, of which there must be at least one."""
    judged = judge.predict(outputs)
    overlaps = [word_overlap(source, output) for source, output in zip(sources, outputs, strict=True)]
    return TransferReport(
        num_rows=len(sources),
        moved=sum(label == target_label for label in judged) / len(sources),
        kept_words=sum(overlaps) / len(overlaps),
        direction=f"{' | '.join(sorted(set(judge.predict(sources))))} -> {target_label}",
        examples=tuple(zip(sources, outputs, strict=True))[:num_examples],
    )


def _words(text: str) -> list[str]:
    stripped = (word.strip(string.punctuation) for word in text.lower().split())
    return [word for word in stripped if word]
