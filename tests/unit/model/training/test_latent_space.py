"""All measures together: on a scripted space and on a tiny model, with data that allow them and data that do not."""

import json
from dataclasses import replace

import pytest

from adavae.model.decoding.decoding import Decoding
from adavae.model.errors import DatasetError
from adavae.model.text_model import TextModel
from adavae.model.training import latent_cases
from adavae.model.training.corpus import Dataset
from adavae.model.training.latent_cases import Group, Judges, LatentSpaceConfig
from adavae.model.training.latent_space import measure_latent_space
from adavae.model.training.ngram_model import NgramModel
from adavae.model.training.operations import AsServed
from tests.scripted_operations import ScriptedOperations
from tests.tiny import PREFIXED
from tests.tiny_text import reviews, tiny_text_model

LEARNED, HELD_OUT = reviews(300, seed=1), reviews(120, seed=2)
QUICK = LatentSpaceConfig(num_walks=3, num_draws=8, num_pairs=4, num_sentences=3, num_texts=30, num_samples=10)


@pytest.fixture(scope="module")
def text_model() -> TextModel:
    return tiny_text_model({"prefixed": PREFIXED})


def test_a_real_model_gives_every_group_and_json(text_model: TextModel) -> None:
    told: list[tuple[str, int, int]] = []
    operations = AsServed(text_model, "prefixed")
    figures = measure_latent_space(operations, HELD_OUT, LEARNED, QUICK, lambda *stage: told.append(stage))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures.keys() == {"seed", "judges", *map(str, Group), "samples"}
    assert figures["walks"]["num_walks"] == 3
    assert figures["draws"]["num_draws"] == 8
    assert figures["analogies"]["no -> yes"]["pairs"] == figures["analogies"]["yes -> no"]["pairs"] == 4
    assert figures["latents"]["half"]["num_texts"] == 30
    assert figures["latents"]["units"]["latent_size"] == 6
    assert figures["forms"].keys() == {"capitalised", "upper_case"}  # these texts are printed with spaces already
    assert len(figures["samples"]["draws"]) == 8
    assert len(figures["samples"]["walks"]) == 1
    assert figures["judges"]["attribute_accuracy"] == 1.0
    last = {stage: (done, total) for stage, done, total in told}
    assert all(done == total for done, total in last.values())
    assert last.keys() == {"judges", "walks", "draws", "no -> yes", "yes -> no", "latents", "forms"}


def test_a_figure_that_overflows_is_left_out(text_model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole run failed for one: its manifest could not be read back."""
    monkeypatch.setattr(NgramModel, "perplexity", lambda *_: float("inf"))
    draws = replace(QUICK, groups=(Group.DRAWS,))
    figures = measure_latent_space(AsServed(text_model, "prefixed"), HELD_OUT, LEARNED, draws)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["draws"].keys().isdisjoint({"real_perplexity", "reverse_perplexity", "real_reverse_perplexity"})
    assert figures["draws"]["fluency"]["perplexity"] > 1


def test_a_text_that_is_kept_as_an_example_is_cut(text_model: TextModel) -> None:
    """A manifest of texts as large as files could not be read back."""

    def lengthened(dataset: Dataset) -> Dataset:
        texts = [f"{text} {'x' * 9000}" for text in dataset.texts]
        return Dataset.of(texts, dataset.labels, dataset.source)

    operations = AsServed(text_model, "prefixed")
    some = replace(QUICK, groups=(Group.WALKS, Group.ANALOGIES))
    figures = measure_latent_space(operations, lengthened(HELD_OUT), lengthened(LEARNED), some)
    assert figures["samples"].keys() == {"walks", "analogies"}
    assert len(json.dumps(figures)) < 50_000
    assert figures["analogies"]["no -> yes"]["worst_pair"][0].endswith("xxx\N{HORIZONTAL ELLIPSIS}")


def test_figures_are_the_same_every_time_and_follow_the_seed(text_model: TextModel) -> None:
    operations = AsServed(text_model, "prefixed")
    first, again = (measure_latent_space(operations, HELD_OUT, LEARNED, QUICK) for _ in range(2))
    assert first == again
    other = measure_latent_space(operations, HELD_OUT, LEARNED, replace(QUICK, seed=1))
    assert first["samples"]["draws"] != other["samples"]["draws"]


def test_analogies_are_summed_up_over_both_directions() -> None:
    def only_one_way(a: str, b: str, c: str) -> str:
        return b if any(word in a for word in ("awful", "rude", "bad")) else c

    figures = measure_latent_space(
        ScriptedOperations(answer=only_one_way), HELD_OUT, LEARNED, replace(QUICK, groups=(Group.ANALOGIES,))
    )["analogies"]
    assert (figures["no -> yes"]["moved"], figures["yes -> no"]["moved"]) == (1.0, 0.0)
    assert (figures["moved"], figures["moved_worst"]) == (0.5, 0.0)


def test_without_training_texts_nobody_judges() -> None:
    figures = measure_latent_space(ScriptedOperations(), HELD_OUT, None, QUICK)
    assert "judges" not in figures
    assert "fluency" not in figures["walks"]
    assert figures["left_out"].keys() == {"draws", "analogies"}


def test_without_labels_there_are_neither_analogies_nor_a_probe() -> None:
    held_out, learned = (reviews(100, seed=seed, has_labels=False) for seed in (1, 2))
    figures = measure_latent_space(ScriptedOperations(), held_out, learned, QUICK)
    assert figures["left_out"].keys() == {"analogies"}
    assert "probe" not in figures["latents"]
    assert "draws" in figures


WORDLESS = {
    "Chinese": [f"\u83dc\u5f88\u597d\u5403{chr(0x4E00 + row)}" for row in range(40)],
    "product codes": [f"AB-{row:04}" for row in range(40)],
    "names": [f"first{row} last{row}" for row in range(40)],
    "signs": ["\U0001f600" * row for row in range(1, 41)],
}


@pytest.mark.parametrize("texts", WORDLESS.values(), ids=WORDLESS)
def test_texts_that_share_no_word_are_measured_without_a_judge_of_labels(texts: list[str]) -> None:
    """The judge's refusal came behind all training steps, and nothing was published."""
    labels = ["no", "yes"] * 20
    held_out, learned = (Dataset.of(texts[a:b], labels[a:b], "codes") for a, b in ((0, 15), (15, 40)))
    figures = measure_latent_space(ScriptedOperations(), held_out, learned, QUICK)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert "the judge of labels cannot learn from these 25 texts" in figures["left_out"]["analogies"]
    assert "attribute_accuracy" not in figures["judges"]
    assert figures["walks"]["fluency"] and figures["draws"] and figures["latents"]


@pytest.mark.parametrize("group", [Group.DRAWS, Group.ANALOGIES])
def test_a_group_that_is_asked_for_by_name_is_measured_or_refused(group: Group) -> None:
    with pytest.raises(DatasetError, match="training texts"):
        measure_latent_space(ScriptedOperations(), HELD_OUT, None, replace(QUICK, groups=(group,)))


@pytest.mark.parametrize("num", [1, 2, 3])
def test_a_handful_of_texts_breaks_nothing(num: int) -> None:
    """Training measures on what was held back, which may be one text."""
    few = Dataset.of([f"the food was bad {row} ." for row in range(num)], ["no"] * num, "few")
    figures = measure_latent_space(ScriptedOperations(), few, LEARNED, QUICK)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert "analogies" in figures["left_out"]
    assert ("walks" in figures) == (num > 1)


def test_judges_that_were_made_before_are_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    judges = Judges.of(LEARNED, HELD_OUT)
    whole = measure_latent_space(ScriptedOperations(), HELD_OUT, LEARNED, QUICK)
    monkeypatch.setattr(Judges, "of", None)
    assert measure_latent_space(ScriptedOperations(), HELD_OUT, LEARNED, QUICK, judges=judges) == whole


def test_judges_learn_from_a_bounded_part_of_many_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Judges.of(LEARNED, HELD_OUT)
    monkeypatch.setattr(latent_cases, "_MAX_CHARACTERS", sum(map(len, LEARNED.texts)) // 4)
    part = Judges.of(LEARNED, HELD_OUT)
    assert whole.fluency is not None
    assert part.fluency is not None
    assert len(part.fluency.language_model.vocabulary) < len(whole.fluency.language_model.vocabulary)


def test_the_texts_that_a_judge_has_read_are_counted_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it was offered were."""
    monkeypatch.setattr(latent_cases, "_MAX_CHARACTERS", sum(map(len, LEARNED.texts)) // 4)
    config = replace(QUICK, groups=(Group.WALKS,))
    trust = measure_latent_space(ScriptedOperations(), HELD_OUT, LEARNED, config)["judges"]["fluency"]
    assert trust["texts"] == len(latent_cases._bounded(LEARNED).texts) < len(LEARNED.texts)


def test_operations_as_served_are_those_of_single_requests(text_model: TextModel) -> None:
    operations, decoding = AsServed(text_model, "prefixed"), Decoding(max_tokens=text_model.max_text_tokens)
    a, b, c = HELD_OUT.texts[:3]
    walk = [step.decoded.text for step in text_model.interpolate(a, b, 5, "prefixed", decoding)]
    assert operations.interpolate([(c, a), (a, b)], 5)[1] == walk
    (answer,) = text_model.analogy(a, b, c, "prefixed", decoding)
    assert operations.analogy(a, b, [b, c])[1] == answer.text
    z = text_model.sample_prior(3, "prefixed", 7)
    assert operations.draw(3, 7) == [each.text for each in text_model.decode(z, "prefixed", decoding)]
    mu = operations.encode([a, b]).mu
    assert operations.decode(mu) == [walk[0], walk[-1]]
