"""Texts drawn from the prior: whether they are fluent, differ from each other, and cover what people write."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from adavae.model.decoding.decoding import counted_seed
from adavae.model.errors import DatasetError
from adavae.model.training.fluency import Fluency, FluencyJudge
from adavae.model.training.ngram_model import NgramModel, words_of
from adavae.model.training.operations import Operations
from adavae.model.training.progress import OnDone, ignore_done

_TOGETHER = 250  # texts requested at once
_MOST_WORDS = 1000  # of a text that is told apart: a draw has fewer, and a file's texts may have any number


@dataclass(frozen=True, slots=True)
class Draws:
    """Figures of draws, beside the same number of real texts.

    Attributes:
        num_draws: How many.
        fluency: Of the draws; its ``perplexity`` is the forward perplexity, that of draws under a model of real texts.
        real_perplexity: The same model on real texts.
        distinct: Share of different texts.
        distinct_2: Share of different pairs among all pairs of neighbouring words.
        real_distinct_2: The same for real texts.
        told_apart: Area under the ROC curve of a classifier that learned to tell half of the draws from real texts, on
            the other half (two-sample test, Lopez-Paz and Oquab 2017); 0.5 is chance.
        copied: Share of draws that equal a training text word for word.
        real_copied: The same for real texts: some sentences are common.
        reverse_perplexity: Of real texts under a model of the draws: high where draws miss what people write.
        real_reverse_perplexity: Of real texts under a model of as many training texts.
        examples: The first few draws.
    """

    num_draws: int
    fluency: Fluency
    real_perplexity: float
    distinct: float
    distinct_2: float
    real_distinct_2: float
    told_apart: float
    copied: float
    real_copied: float
    reverse_perplexity: float
    real_reverse_perplexity: float
    examples: tuple[str, ...]


def measure_draws(
    operations: Operations,
    training_texts: Sequence[str],
    real_texts: Sequence[str],
    judge: FluencyJudge,
    *,
    num_draws: int = 2000,
    seed: int = 0,
    num_examples: int = 50,
    on_done: OnDone = ignore_done,
) -> Draws:
    """Compares draws with ``real_texts``, from which neither the set nor the judge has learned.

    Args:
        operations: The latent space to measure.
        training_texts: What the judge has learned from, and perhaps the set.
        real_texts: Texts of the same kind, in arbitrary order.
        judge: Trained on ``training_texts``.
        num_draws: Number of draws, at most that of the training texts.
        seed: Seed of the draws.
        num_examples: How many of the first draws to keep as examples.
        on_done: Called with the number of texts drawn so far.

    Raises:
        DatasetError: ``num_draws`` is 0, or there are no texts to compare with.
    """
    num_draws = min(num_draws, len(training_texts))
    num = min(num_draws, len(real_texts))
    if num < 1:
        raise DatasetError(
            f"draws would stand beside {len(training_texts)} training and {len(real_texts)} real texts: ask for at "
            "least one, and give at least one of each"
        )
    drawn: list[str] = []
    for start in range(0, num_draws, _TOGETHER):
        drawn += operations.draw(min(_TOGETHER, num_draws - start), counted_seed(seed, start))
        on_done(len(drawn), num_draws)
    learned = random.Random(seed).sample(training_texts, num)
    beside = random.Random(seed).sample(real_texts, num)  # of files that are sorted, too
    known = {_as_words(text) for text in training_texts}
    vocabulary = judge.language_model.vocabulary
    return Draws(
        num_draws=len(drawn),
        fluency=judge.measure(drawn),
        real_perplexity=judge.language_model.perplexity(real_texts),
        distinct=len(set(drawn)) / len(drawn),
        distinct_2=distinct_2(drawn[:num]),
        real_distinct_2=distinct_2(beside),
        told_apart=told_apart(drawn[:num], beside),
        copied=_share_in(drawn, known),
        real_copied=_share_in(real_texts, known),
        reverse_perplexity=_reverse(drawn[:num], real_texts, vocabulary),
        real_reverse_perplexity=_reverse(learned, real_texts, vocabulary),
        examples=tuple(drawn[:num_examples]),
    )


def distinct_2(texts: Sequence[str]) -> float:
    """Share of different pairs among all pairs of neighbouring words (Li et al. 2016); 0 if no text has two words."""
    pairs = list(chain.from_iterable(pairwise(words_of(text)) for text in texts))
    return len(set(pairs)) / max(1, len(pairs))


def told_apart(drawn: Sequence[str], real_texts: Sequence[str]) -> float:
    """How well TF-IDF of word 1- to 3-grams tells drawn from real texts, every second text held out; 0.5 is chance.

    From fewer than four texts, or texts without words, nothing can be learned: 0.5.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    texts = [*drawn, *real_texts]
    is_real = [False] * len(drawn) + [True] * len(real_texts)
    if min(len(drawn), len(real_texts)) < 2 or not any(map(words_of, texts[::2])):
        return 0.5
    vectorizer = TfidfVectorizer(analyzer=_grams, sublinear_tf=True)
    classifier = LogisticRegression(max_iter=300, C=10.0).fit(vectorizer.fit_transform(texts[::2]), is_real[::2])
    return float(roc_auc_score(is_real[1::2], classifier.decision_function(vectorizer.transform(texts[1::2]))))


def _grams(text: str) -> list[tuple[str, ...]]:
    words = words_of(text)[:_MOST_WORDS]
    return [gram for size in (1, 2, 3) for gram in zip(*(words[start:] for start in range(size)), strict=False)]


def _share_in(texts: Sequence[str], known: set[tuple[str, ...]]) -> float:
    return sum(_as_words(text) in known for text in texts) / len(texts)


def _as_words(text: str) -> tuple[str, ...]:
    return tuple(words_of(text))


def _reverse(texts: Sequence[str], real_texts: Sequence[str], vocabulary: Sequence[str]) -> float:
    """Perplexity of real texts under a trigram model of ``texts``, with one vocabulary for all models."""
    return NgramModel.fit(texts, order=3, vocabulary=vocabulary).perplexity(real_texts)
