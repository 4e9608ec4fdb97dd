"""Analogies over many pairs: what is drawn, and that means are means and the worst is the worst."""

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.analogies import Direction, directions_of, draw_analogies, measure_direction, nearest
from adavae.model.training.corpus import Dataset
from adavae.model.training.fluency import FluencyJudge
from adavae.model.training.transfer import AttributeJudge
from tests.scripted_operations import ScriptedOperations
from tests.tiny_text import reviews

LEARNED, HELD_OUT = reviews(600, seed=1), reviews(300, seed=2)
OPPOSITES = {"great": "awful", "lovely": "rude", "good": "bad", "awful": "great", "rude": "lovely", "bad": "good"}


@pytest.fixture(scope="module")
def attribute() -> AttributeJudge:
    return AttributeJudge.fit(LEARNED.texts, LEARNED.labels or ())


@pytest.fixture(scope="module")
def fluency() -> FluencyJudge:
    return FluencyJudge.fit(LEARNED.texts, HELD_OUT.texts)


def turned(a: str, b: str, c: str) -> str:  # noqa: ARG001
    return " ".join(OPPOSITES.get(word, word) for word in c.split())


def measured(
    operations: ScriptedOperations, attribute: AttributeJudge, fluency: FluencyJudge, num: int = 6
) -> Direction:
    pairs, sentences = draw_analogies(HELD_OUT, attribute, "no", "yes", num_pairs=num, num_sentences=10)
    return measure_direction(operations, pairs, sentences, attribute, fluency, source="no", target="yes")


def test_pairs_and_sentences_have_the_labels_of_their_direction(attribute: AttributeJudge) -> None:
    labels = dict(zip(HELD_OUT.texts, HELD_OUT.labels or (), strict=True))
    pairs, sentences = draw_analogies(HELD_OUT, attribute, "no", "yes", num_pairs=20, num_sentences=30)
    assert (len(pairs), len(sentences)) == (20, 30)
    assert sum(pair.is_minimal for pair in pairs) == 10
    assert all(labels[pair.a] == "no" and labels[pair.b] == "yes" for pair in pairs)
    assert all(labels[text] == "no" for text in sentences)
    assert not {pair.a for pair in pairs} & set(sentences)


def test_a_certain_judge_leaves_out_tepid_pairs_and_no_sentence_c(attribute: AttributeJudge) -> None:
    plain, sure = (
        draw_analogies(HELD_OUT, attribute, "no", "yes", num_pairs=8, num_sentences=500, certainty=certainty)
        for certainty in (0.0, 0.98)
    )
    for pair in sure[0]:
        assert attribute.certainties([pair.a], "no")[0] >= 0.98
        assert attribute.certainties([pair.b], "yes")[0] >= 0.98
    assert any(attribute.certainties([pair.a], "no")[0] < 0.98 for pair in plain[0])
    assert any(attribute.certainties([text], "no")[0] < 0.98 for text in sure[1])
    assert not {pair.a for pair in sure[0]} & set(sure[1])
    with pytest.raises(DatasetError, match="too few"):
        draw_analogies(HELD_OUT, attribute, "no", "yes", certainty=1.0)


def test_certainties_are_what_the_verdict_follows(attribute: AttributeJudge) -> None:
    texts = HELD_OUT.texts[:40]
    sure = attribute.certainties(texts, "yes")
    assert [("no", "yes")[certainty > 0.5] for certainty in sure] == attribute.predict(texts)
    assert attribute.certainties([], "yes") == []


def test_pairs_follow_the_seed(attribute: AttributeJudge) -> None:
    first, again, other = (draw_analogies(HELD_OUT, attribute, "no", "yes", seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_other_half_of_a_minimal_pair_is_the_nearest_text() -> None:
    candidates = ["my room was great .", "the food was great .", "the staff was lovely ."]
    assert nearest(["the food was awful .", "my room was awful ."], candidates) == [candidates[1], candidates[0]]


def test_a_perfect_space_moves_everything_and_keeps_the_rest(attribute: AttributeJudge, fluency: FluencyJudge) -> None:
    figures = measured(ScriptedOperations(answer=turned), attribute, fluency).figures()
    assert (figures["moved"], figures["moved_worst"]) == (1.0, 1.0)
    assert 0.5 < figures["kept"] < 1.0
    assert figures["fluency_ratio"] == pytest.approx(1.0, abs=0.1)


def test_a_space_that_does_nothing_moves_nothing_and_keeps_all(
    attribute: AttributeJudge, fluency: FluencyJudge
) -> None:
    figures = measured(ScriptedOperations(), attribute, fluency).figures()
    assert (figures["moved"], figures["kept"], figures["kept_worst"]) == (0.0, 1.0, 1.0)
    assert figures["kept_by_reconstruction"] < 1.0  # what ScriptedOperations writes is another text


def test_the_worst_pair_is_the_one_that_fails(attribute: AttributeJudge, fluency: FluencyJudge) -> None:
    pairs, sentences = draw_analogies(HELD_OUT, attribute, "no", "yes", num_pairs=6, num_sentences=10)
    for failing in pairs:
        operations = ScriptedOperations(answer=lambda a, b, c, bad=failing: c if a == bad.a else turned(a, b, c))
        direction = measure_direction(
            operations, pairs, sentences, attribute, fluency, source="no", target="yes", num_examples=2
        )
        figures = direction.figures()
        assert figures["worst_pair"] == [failing.a, failing.b]
        assert (figures["moved"], figures["moved_worst"]) == (pytest.approx(5 / 6), 0.0)
        half, other = ("minimal", "unrelated") if failing.is_minimal else ("unrelated", "minimal")
        assert (figures[half]["moved_worst"], figures[other]["moved_worst"]) == (0.0, 1.0)
        assert len(direction.examples) == 2


def test_every_pair_is_applied_to_every_sentence(attribute: AttributeJudge, fluency: FluencyJudge) -> None:
    operations = ScriptedOperations()
    direction = measured(operations, attribute, fluency)
    assert [asked[:2] for asked in operations.analogies] == [(each.pair.a, each.pair.b) for each in direction.outcomes]
    assert len({asked[2] for asked in operations.analogies}) == 1


def test_nonsense_shows_in_fluency(attribute: AttributeJudge, fluency: FluencyJudge) -> None:
    backwards = ScriptedOperations(answer=lambda a, b, c: " ".join(reversed(turned(a, b, c).split())))
    figures = measured(backwards, attribute, fluency).figures()
    assert figures["moved"] == 1.0
    assert figures["fluency_ratio"] > 1.3
    assert figures["worse_by_slor"] > 0.5


def test_two_labels_are_gone_between_both_ways_and_more_in_a_ring() -> None:
    assert directions_of(["b", "a", "b"]) == [("a", "b"), ("b", "a")]
    assert directions_of(["c", "a", "b"]) == [("a", "b"), ("b", "c"), ("c", "a")]
    assert directions_of(["a"]) == directions_of([]) == []
    many = [name for name in "abcdefgh" for _ in range(1 + (name != "d") + (name != "g"))]
    assert {name for way in directions_of(many) for name in way} <= set("abcefh")


def test_few_texts_give_few_pairs(attribute: AttributeJudge) -> None:
    few = Dataset.of(
        ["the food was awful .", "the staff was rude .", "my room was great ."], ["no", "no", "yes"], "few"
    )
    pairs, sentences = draw_analogies(few, attribute, "no", "yes")
    assert (len(pairs), len(sentences)) == (1, 1)
    with pytest.raises(DatasetError, match="at least two"):
        draw_analogies(few, attribute, "yes", "no")
