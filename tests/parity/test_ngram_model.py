"""The n-gram model against the formula of Chen and Goodman (1999), written out with dictionaries and recursion."""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import pytest

from adavae.model.training.ngram_model import NgramModel, words_of

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"


class SlowKneserNey:
    """p(w|h) = (c(hw) - D(c(hw))) / c(h) + gamma(h) p(w|h'); shorter n-grams count their different left neighbours."""

    def __init__(self, texts: Sequence[str], order: int) -> None:
        rows = [[BEGIN, *words_of(text), END] for text in texts]
        self.order = order
        self.known = {word for row in rows for word in row} - {BEGIN} | {UNKNOWN}
        occurrences = {n: Counter(_grams(rows, n)) for n in range(1, order + 1)}
        self.counts = {order: occurrences[order]}
        for n in range(1, order):
            self.counts[n] = Counter({gram: occurrences[n][gram] for gram in occurrences[n] if gram[0] == BEGIN})
            self.counts[n] += Counter(gram[1:] for gram in occurrences[n + 1])
        for n in self.counts:
            self.counts[n].pop((BEGIN,), None)
        self.discounts = {n: _discounts(self.counts[n]) for n in self.counts}
        self.followers: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
        for counts in self.counts.values():
            for gram in counts:
                self.followers[gram[:-1]].append(gram)

    def probability(self, word: str, history: tuple[str, ...]) -> float:
        followers, n = self.followers[history], len(history) + 1
        counts, discount = self.counts[n], self.discounts[n]
        lower = self.probability(word, history[1:]) if history else 1 / len(self.known)
        if not followers:
            return lower
        total = sum(counts[gram] for gram in followers)
        gamma = sum(discount(counts[gram]) for gram in followers) / total
        count = counts.get((*history, word), 0)
        return (count - discount(count)) / total + gamma * lower

    def nats(self, text: str) -> list[float]:
        row = [BEGIN, *(word if word in self.known else UNKNOWN for word in words_of(text)), END]
        spans = [(row[place], tuple(row[max(0, place - self.order + 1) : place])) for place in range(1, len(row))]
        return [-math.log(self.probability(*span)) for span in spans]


def _grams(rows: Sequence[Sequence[str]], n: int) -> list[tuple[str, ...]]:
    return [tuple(row[start : start + n]) for row in rows for start in range(len(row) - n + 1)]


def _discounts(counts: Counter[tuple[str, ...]]) -> Callable[[int], float]:
    of_counts = Counter(counts.values())
    n = [of_counts[number] for number in range(5)]
    estimated = [0.5, 1.0, 1.5]
    if all(n[1:]):
        y = n[1] / (n[1] + 2 * n[2])
        by_formula = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        if all(0 <= value <= k for k, value in enumerate(by_formula, start=1)):
            estimated = by_formula
    return lambda count: 0.0 if count == 0 else estimated[min(count, 3) - 1]


def sentences(num: int, seed: int) -> list[str]:
    """Zipf-like words with habits, so that every count of counts occurs."""
    draw = random.Random(seed)
    words = [f"w{number}" for number in range(40)]
    weights = [1 / rank for rank in range(1, 41)]
    rows = []
    for _ in range(num):
        row = [draw.choices(words, weights)[0]]
        while draw.random() < 0.85:
            row.append(
                f"w{(int(row[-1][1:]) * 7 + 1) % 40}" if draw.random() < 0.5 else draw.choices(words, weights)[0]
            )
        rows.append(" ".join(row))
    return rows


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("num", [3, 400])
def test_every_word_has_the_probability_of_the_formula(order: int, num: int) -> None:
    texts = sentences(num, seed=order)
    fast, slow = NgramModel.fit(texts, order=order), SlowKneserNey(texts, order)
    unseen = [*sentences(60, seed=99), "", "never read w1 w2", "w1 never", *texts[:3]]
    for text, nats in zip(unseen, fast.word_nats(unseen), strict=True):
        assert nats.tolist() == pytest.approx(slow.nats(text), rel=1e-9), text


@pytest.mark.parametrize("texts", [[""], ["", "a"], ["a b", "b"]])
def test_texts_shorter_than_the_order_are_learned_from_too(texts: list[str]) -> None:
    """There is no n-gram of that order."""
    fast, slow = NgramModel.fit(texts, order=5), SlowKneserNey(texts, 5)
    for text, nats in zip([*texts, "b a"], fast.word_nats([*texts, "b a"]), strict=True):
        assert nats.tolist() == pytest.approx(slow.nats(text), rel=1e-9)


def test_the_larger_corpus_has_discounts_of_its_own() -> None:
    """Otherwise the comparison above would be of the fallback alone."""
    slow = SlowKneserNey(sentences(400, seed=3), 3)
    assert all(slow.discounts[n](1) != 0.5 for n in (2, 3))
