"""The judge, the choice of sentences, and what counts as moved and as kept."""

import random

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training import transfer
from adavae.model.training.transfer import AttributeJudge, measure_transfer, select_short, word_overlap

_SUBJECTS = ("the food", "the staff", "this place", "my room", "our waiter", "the pizza")
_VERDICTS = {
    "positive": ("great", "lovely", "friendly", "delicious"),
    "negative": ("awful", "rude", "terrible", "disgusting"),
}


def reviews(num: int = 200, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts whose label one word gives away."""
    rng = random.Random(seed)
    labels = [rng.choice(("positive", "negative")) for _ in range(num)]
    return [f"{rng.choice(_SUBJECTS)} was really {rng.choice(_VERDICTS[label])} ." for label in labels], labels


@pytest.fixture(scope="module")
def judge() -> AttributeJudge:
    return AttributeJudge.fit(*reviews())


def test_judge_learns_what_tells_the_labels_apart(judge: AttributeJudge) -> None:
    texts = ["the view was great .", "The View Was AWFUL .", "it is a lovely garden", "such a rude man"]
    assert judge.predict(texts) == ["positive", "negative", "positive", "negative"]


def test_judge_reports_its_accuracy_on_texts_it_did_not_learn_from(judge: AttributeJudge) -> None:
    texts, labels = reviews(seed=1)
    assert judge.accuracy_on(texts, labels) == 1.0
    swapped = ["negative" if label == "positive" else "positive" for label in labels[:50]]
    assert judge.accuracy_on(texts, swapped + labels[50:]) == pytest.approx(0.75)


def test_judge_of_no_texts_gives_no_labels(judge: AttributeJudge) -> None:
    assert judge.predict([]) == []


def test_judge_of_pairs_of_words_hears_a_negation() -> None:
    texts = ["good", "not good", "bad", "not bad"] * 10
    labels = ["positive", "negative", "negative", "positive"] * 10
    assert AttributeJudge.fit(texts, labels).predict(["not good", "not bad"]) == ["negative", "positive"]


@pytest.mark.parametrize("labels", [[], ["positive"] * 4])
def test_judge_without_two_labels_is_refused(labels: list[str]) -> None:
    with pytest.raises(DatasetError, match="at least two labels"):
        AttributeJudge.fit(["a b c"] * 4, labels)


def test_judge_of_many_labels_has_no_more_weights_than_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning a thousand labels from paragraphs took more memory than the machine had, after the whole training."""
    monkeypatch.setattr(transfer, "_MOST_WEIGHTS", 400)
    texts = [f"word{number % 50} of{number % 30} label{number % 20}" for number in range(600)]
    judge = AttributeJudge.fit(texts, [f"label {number % 20}" for number in range(600)])
    assert judge._classifier[-1].coef_.size <= 400


def test_many_texts_are_judged_as_few_are(judge: AttributeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, _ = reviews(seed=2)
    labels, certain = judge.predict(texts), judge.certainties(texts, "positive")
    monkeypatch.setattr(transfer, "_JUDGED_TOGETHER", 7)
    assert judge.predict(texts) == labels
    assert judge.certainties(texts, "positive") == pytest.approx(certain)


def test_judge_of_texts_that_share_no_word_is_refused() -> None:
    """It was scikit-learn's own error, which tells nothing of the dataset."""
    with pytest.raises(DatasetError, match="cannot learn from these 2 texts"):
        AttributeJudge.fit(["one two", "three four"], ["positive", "negative"])


def test_select_short_takes_texts_of_the_label_that_are_short_enough(judge: AttributeJudge) -> None:
    texts = [
        "the food was awful .",
        "the food was great .",
        "awful food",
        "the staff was rude and the food was awful and i will never come back .",
        "our waiter was really rude .",
    ]
    labels = ["negative", "positive", "negative", "negative", "negative"]
    assert set(select_short(texts, labels, "negative", judge=judge)) == {texts[0], texts[4]}
    assert select_short(texts, labels, "negative", judge=judge, max_words=5) == [texts[0]]


def test_select_short_leaves_out_what_the_judge_calls_otherwise(judge: AttributeJudge) -> None:
    texts, labels = ["the food was awful .", "the food was great ."], ["negative", "negative"]
    assert select_short(texts, labels, "negative", judge=judge) == [texts[0]]


def test_select_short_is_seeded_and_limited(judge: AttributeJudge) -> None:
    texts, labels = reviews()
    chosen = select_short(texts, labels, "negative", judge=judge, limit=30, seed=3)
    assert len(chosen) == 30
    assert chosen == select_short(texts, labels, "negative", judge=judge, limit=30, seed=3)
    assert chosen != select_short(texts, labels, "negative", judge=judge, limit=30, seed=4)
    assert chosen[:10] == select_short(texts, labels, "negative", judge=judge, limit=10, seed=3)


def test_select_short_of_an_unknown_label_names_those_there_are(judge: AttributeJudge) -> None:
    texts, labels = reviews(10)
    with pytest.raises(DatasetError, match=r"'neutral'.*'negative', 'positive'"):
        select_short(texts, labels, "neutral", judge=judge)


def test_select_short_of_texts_without_labels_is_refused(judge: AttributeJudge) -> None:
    """It was a ValueError of zip."""
    with pytest.raises(DatasetError, match="2 texts have 0 labels"):
        select_short(["the food was awful ."] * 2, (), "negative", judge=judge)


@pytest.mark.parametrize(
    ("source", "output", "expected"),
    [
        ("the food was bad", "the food was bad", 1.0),
        ("the food was bad", "the food was good", 0.75),
        ("the food was bad", "i love it", 0.0),
        ("the food was bad", "", 0.0),
        ("The food, was bad!", "bad was the food", 1.0),
        ("very very very bad", "very good", 0.25),
        ("bad", "very very bad indeed", 1.0),
        ("it 's bad .", "it is bad", 2 / 3),
        ("don't go", "dont go", 0.5),
        ("... !", "anything", 0.0),
    ],
)
def test_word_overlap_counts_words_as_a_multiset(source: str, output: str, expected: float) -> None:
    assert word_overlap(source, output) == pytest.approx(expected)


def test_measure_transfer_counts_what_moved_and_what_stayed(judge: AttributeJudge) -> None:
    sources = ["the food was awful .", "the staff was rude .", "this place was terrible .", "my room was awful ."]
    outputs = ["the food was great .", "the staff was rude .", "a lovely place it was .", "my room was lovely ."]
    report = measure_transfer(sources, outputs, judge, "positive", num_examples=2)
    assert report.num_rows == 4
    assert report.moved == 0.75
    assert report.kept_words == pytest.approx((3 / 4 + 4 / 4 + 2 / 4 + 3 / 4) / 4)
    assert report.direction == "negative -> positive"
    assert report.examples == ((sources[0], outputs[0]), (sources[1], outputs[1]))


def test_measure_transfer_refuses_a_missing_output(judge: AttributeJudge) -> None:
    with pytest.raises(ValueError, match="zip"):
        measure_transfer(["the food was awful .", "rude staff"], ["the food was great ."], judge, "positive")
