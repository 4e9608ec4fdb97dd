"""Texts drawn from the prior: whether they are English, whether they differ, whether they cover what people write."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from adavae.model.errors import DatasetError
from adavae.model.training.fluency import Fluency, FluencyJudge
from adavae.model.training.ngram_model import NgramModel, words_of
from adavae.model.training.operations import Operations
from adavae.model.training.progress import OnDone, tell_no_one

_TOGETHER = 250  # texts asked for at once


@dataclass(frozen=True, slots=True)
class Draws:
    """Draws beside as many real texts.

    Attributes:
        num_draws: How many.
        fluency: Of the draws; its ``perplexity`` is the forward perplexity: a model of real texts reads draws.
        real_perplexity: The same model on real texts.
        distinct: Share of different texts.
        distinct_2: Different pairs of neighbouring words over all such pairs.
        real_distinct_2: The same of real texts.
        told_apart: Area under the curve of a classifier that learned to tell half of the draws from real texts, on the
            other half (two-sample test, Lopez-Paz and Oquab 2017): 0.5 where nobody could.
        copied: Share that are training texts to the word.
        real_copied: The same of real texts: some sentences everybody writes.
        reverse_perplexity: A model that learned from the draws reads real texts: high where draws miss what there is.
        real_reverse_perplexity: The same model, had it learned from as many training texts.
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
    on_done: OnDone = tell_no_one,
) -> Draws:
    """Draws beside ``real_texts`` that nothing has learned from.

    Args:
        operations: What is measured.
        training_texts: What the set may have learned from, and the judge has.
        real_texts: Of the same kind, in an order that means nothing.
        judge: Of ``training_texts``.
        num_draws: How many, but no more than there are training texts.
        seed: Of the draws.
        num_examples: Draws to show, the first ones.
        on_done: Told how many texts are drawn.

    Raises:
        DatasetError: Nothing is to be drawn, or there is nothing to compare with.
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
        drawn += operations.draw(min(_TOGETHER, num_draws - start), seed + start)
        on_done(len(drawn), num_draws)
    learned = random.Random(seed).sample(training_texts, num)
    known = {_as_words(text) for text in training_texts}
    vocabulary = judge.language_model.vocabulary
    return Draws(
        num_draws=len(drawn),
        fluency=judge.measure(drawn),
        real_perplexity=judge.language_model.perplexity(real_texts),
        distinct=len(set(drawn)) / len(drawn),
        distinct_2=distinct_2(drawn[:num]),
        real_distinct_2=distinct_2(real_texts[:num]),
        told_apart=told_apart(drawn[:num], real_texts[:num]),
        copied=_share_in(drawn, known),
        real_copied=_share_in(real_texts, known),
        reverse_perplexity=_reverse(drawn[:num], real_texts, vocabulary),
        real_reverse_perplexity=_reverse(learned, real_texts, vocabulary),
        examples=tuple(drawn[:num_examples]),
    )


def distinct_2(texts: Sequence[str]) -> float:
    """Different pairs of neighbouring words over all of them (Li et al. 2016); 0 where no text has two words."""
    pairs = list(chain.from_iterable(pairwise(words_of(text)) for text in texts))
    return len(set(pairs)) / max(1, len(pairs))


def told_apart(drawn: Sequence[str], real_texts: Sequence[str]) -> float:
    """How well TF-IDF of 1- to 3-grams of words tells drawn from real texts, each second one held out; 0.5 by chance.

    Of fewer than four texts, or none with a word, nothing can be learned: 0.5.
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
    words = words_of(text)
    return [gram for size in (1, 2, 3) for gram in zip(*(words[start:] for start in range(size)), strict=False)]


def _share_in(texts: Sequence[str], known: set[tuple[str, ...]]) -> float:
    return sum(_as_words(text) in known for text in texts) / len(texts)


def _as_words(text: str) -> tuple[str, ...]:
    return tuple(words_of(text))


def _reverse(texts: Sequence[str], real_texts: Sequence[str], vocabulary: Sequence[str]) -> float:
    """Perplexity of real texts under a trigram model of ``texts``, every model over one vocabulary."""
    return NgramModel.fit(texts, order=3, vocabulary=vocabulary).perplexity(real_texts)
