"""Every figure of an adapter set on a tiny model: which there are, how they hang together, what they depend on."""

import json
import math
from dataclasses import replace

import pytest
import torch

from adavae.model.config import AdapterConfig, LatentInfusion
from adavae.model.errors import DatasetError, TrainingDiverged
from adavae.model.text_model import TextModel
from adavae.model.training import evaluation, measures
from adavae.model.training.corpus import Dataset, drawn_rows
from adavae.model.training.evaluation import EvaluationConfig, TransferCase, evaluate, evaluate_transfer, label_notes
from adavae.model.training.latent_cases import Group, LatentSpaceConfig
from adavae.model.training.measures import accuracy, macro_f1
from adavae.model.training.objective import TextBatch
from tests.tiny import PLAIN, POOLED, PREFIXED
from tests.tiny_text import NAMED, reviews, tiny_pretrained, tiny_set, tiny_text_model

QUICK = EvaluationConfig(
    num_importance_samples=4,
    max_decoded=6,
    max_decoded_tokens=8,
    latent_space=LatentSpaceConfig(groups=(Group.FORMS,), num_texts=5),
)
ONLY_LIKELIHOOD = EvaluationConfig(num_importance_samples=0, max_decoded=0)
PAIR = ("the food was awful .", "the food was great .")


@pytest.fixture(scope="module")
def plain() -> TextModel:
    return tiny_text_model({"plain": PLAIN})


@pytest.fixture(scope="module")
def with_head() -> TextModel:
    return tiny_text_model({"prefixed": PREFIXED})


def test_figures_hang_together_and_are_json(plain: TextModel) -> None:
    dataset = reviews(30)
    figures = evaluate(plain, "plain", dataset, QUICK)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert (figures["adapter"], figures["data"], figures["data_digest"]) == (
        plain.reference_of("plain"),
        dataset.source,
        dataset.digest,
    )
    assert (figures["rows"], figures["truncated"], figures["latent_size"]) == (30, 0, 4)
    assert figures["neg_elbo"] == pytest.approx(figures["reconstruction_nats"] + figures["kl"], rel=1e-5)
    assert figures["kl"] > 0 < figures["reconstruction_nats"]
    assert 0 <= figures["mi"] <= figures["mi_ceiling"] == measures.mutual_information_ceiling(30)
    assert 0 <= figures["au"] <= 4
    assert (figures["importance_samples"], figures["ppl_rows"], figures["decoded_rows"]) == (4, 30, 6)
    assert figures["ppl_word_iw4"] > figures["ppl_token_iw4"] > 1
    assert figures["mi_gaussian"] > 0
    assert 0 <= figures["bleu4"] <= 100
    assert 0 <= figures["exact_match"] <= 1
    assert figures["latent_space"]["forms"]["upper_case"]["num_texts"] == 5


def test_kl_and_active_units_are_those_of_the_encodings(plain: TextModel) -> None:
    dataset = reviews(30)
    figures = evaluate(plain, "plain", dataset, ONLY_LIKELIHOOD)
    encoded = plain.encode(dataset.texts, "plain")
    kl = 0.5 * (encoded.mu.square() + encoded.logvar.exp() - 1 - encoded.logvar).sum(-1)
    assert figures["kl"] == pytest.approx(float(kl.mean()), rel=1e-5)
    assert figures["au"] == measures.active_units(encoded.mu)


def test_reconstruction_is_the_sum_over_the_tokens_and_the_end_of_text() -> None:
    """A latent that the decoder does not see leaves nothing to chance: a text's nats can be counted token by token."""
    hidden = AdapterConfig(latent_size=4, encoder_layers=2, adapter_size=5, latent_positions=0)
    text_model = tiny_text_model({"hidden": hidden})
    dataset = reviews(5)
    eos, nats = text_model.tokenizer.eos_token_id, 0.0
    for text in dataset.texts:
        ids = torch.tensor([[eos, *text_model.tokenizer.encode(text)]])
        states = text_model.vae.hidden_states(ids, torch.zeros(1, 4), text_model.index_of("hidden", 1))
        log_probs = text_model.vae.backbone.lm_head(states)[0].log_softmax(-1)
        targets = torch.tensor([*ids[0, 1:].tolist(), eos])
        nats -= float(log_probs.gather(1, targets.unsqueeze(1)).sum())
    figures = evaluate(text_model, "hidden", dataset, ONLY_LIKELIHOOD)
    assert figures["reconstruction_nats"] == pytest.approx(nats / 5, rel=1e-5)


def test_what_is_not_asked_for_is_not_measured(plain: TextModel) -> None:
    figures = evaluate(plain, "plain", reviews(10), ONLY_LIKELIHOOD)
    assert not any(name.startswith("ppl") for name in figures)
    assert not {"importance_samples", "bleu4", "exact_match", "latent_space", "accuracy"} & set(figures)


def test_figures_are_the_same_every_time_and_follow_the_seed(plain: TextModel) -> None:
    first, again = (evaluate(plain, "plain", reviews(30), QUICK) for _ in range(2))
    other = evaluate(plain, "plain", reviews(30), replace(QUICK, seed=1))
    assert first == again
    assert first["reconstruction_nats"] != other["reconstruction_nats"]
    assert first["kl"] == other["kl"]


def test_figures_do_not_depend_on_the_order_of_the_texts(plain: TextModel) -> None:
    dataset = reviews(60)
    turned = dataset.rows(range(59, -1, -1), "turned")
    config = replace(QUICK, num_importance_samples=20, max_decoded=60)
    figures, other = evaluate(plain, "plain", dataset, config), evaluate(plain, "plain", turned, config)
    for name in ("kl", "au", "bleu4", "exact_match"):  # nothing drawn
        assert figures[name] == pytest.approx(other[name], rel=1e-5), name
    for name in ("neg_elbo", "reconstruction_nats", "ppl_word_iw20"):  # other noise for texts of equal length
        assert figures[name] == pytest.approx(other[name], rel=0.02), name
    assert figures["mi"] == pytest.approx(other["mi"], abs=0.25)


def test_figures_do_not_depend_on_how_many_texts_stand_in_one_forward_pass(
    plain: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(plain, "plain", reviews(30), ONLY_LIKELIHOOD)
    monkeypatch.setattr(evaluation, "_ROWS", 7)
    parts = evaluate(plain, "plain", reviews(30), ONLY_LIKELIHOOD)
    assert whole["kl"] == pytest.approx(parts["kl"], rel=1e-5)
    assert whole["neg_elbo"] == pytest.approx(parts["neg_elbo"], rel=0.02)


@pytest.mark.parametrize("name", NAMED)
def test_a_set_measures_the_same_beside_sets_of_other_latent_sizes(name: str) -> None:
    """Importance samples of a narrow set did not fit a bank made wide by its neighbours."""
    mixed, alone = tiny_text_model(NAMED), tiny_text_model({name: NAMED[name]})
    texts = reviews(20, has_labels=False)
    figures, figures_alone = (evaluate(text_model, name, texts, QUICK) for text_model in (mixed, alone))
    assert set(figures) == set(figures_alone)
    for key in ("reconstruction_nats", "kl", "mi", "ppl_word_iw4", "bleu4"):
        assert figures[key] == pytest.approx(figures_alone[key], rel=1e-4), key


def test_more_importance_samples_never_loosen_the_bound_on_average(plain: TextModel) -> None:
    bounds = [
        evaluate(plain, "plain", reviews(40), replace(ONLY_LIKELIHOOD, num_importance_samples=num))[f"ppl_word_iw{num}"]
        for num in (1, 10, 50)
    ]
    assert bounds[0] > bounds[1] > bounds[2]


def test_one_importance_sample_is_the_elbo_up_to_its_noise(plain: TextModel) -> None:
    dataset = reviews(200)
    figures = evaluate(plain, "plain", dataset, replace(ONLY_LIKELIHOOD, num_importance_samples=1))
    words = sum(len(text.split()) + 1 for text in dataset.texts)
    nll = torch.tensor(figures["ppl_word_iw1"]).log() * words / len(dataset.texts)
    assert float(nll) == pytest.approx(figures["neg_elbo"], rel=0.02)


def test_perplexity_is_of_some_texts_drawn_by_the_seed_where_there_are_many(plain: TextModel) -> None:
    """The first ones were taken, of files that are sorted by label or length."""
    config = replace(ONLY_LIKELIHOOD, num_importance_samples=3)
    limited = evaluate(plain, "plain", reviews(30), replace(config, max_importance_rows=10))
    drawn = drawn_rows(30, 10, config.seed)
    alone = evaluate(plain, "plain", reviews(30).rows(drawn, "drawn"), config)
    assert drawn != list(range(10))
    assert limited["ppl_rows"] == 10
    assert limited["ppl_word_iw3"] == pytest.approx(alone["ppl_word_iw3"], rel=1e-5)
    assert limited["rows"] == 30


@pytest.mark.parametrize(("nats", "left"), [(400.0, ["ppl_token_iw2"]), (1000.0, [])])
def test_a_perplexity_that_is_infinite_is_left_out(
    nats: float, left: list[str], plain: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood in the manifest of a finished run, which then could not be read back."""

    def costly(_: object, batch: TextBatch, *__: object) -> torch.Tensor:
        return nats * torch.tensor([float(length) for length in batch.lengths])

    monkeypatch.setattr(evaluation, "reconstruction_nll", costly)
    dataset = Dataset.of([f"{'food' * 6}{number}" for number in range(4)], None, "no spaces")
    figures = evaluate(plain, "plain", dataset, replace(ONLY_LIKELIHOOD, num_importance_samples=2))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert [name for name in figures if "iw2" in name] == left
    assert ("ppl_rows" in figures) == bool(left)


@pytest.mark.parametrize("nats", [math.inf, math.nan])
def test_a_bound_that_is_not_finite_is_no_figure(
    plain: TextModel, monkeypatch: pytest.MonkeyPatch, nats: float
) -> None:
    def overflowing(_: object, batch: TextBatch, *__: object) -> torch.Tensor:
        return torch.full((len(batch.token_ids),), nats)

    monkeypatch.setattr(evaluation, "reconstruction_nll", overflowing)
    with pytest.raises(TrainingDiverged, match=r"neg_elbo is (inf|nan), reconstruction_nats is (inf|nan): .* lower"):
        evaluate(plain, "plain", reviews(8), ONLY_LIKELIHOOD)


def test_figures_of_a_model_that_ignores_its_texts_latents_are_those_of_its_language_model() -> None:
    """q(z|x) = N(0, I) and a decoder that does not see z: p(x) is the product over the tokens that were read."""
    hidden = AdapterConfig(latent_size=4, encoder_layers=2, adapter_size=5, latent_positions=0)
    adapter_set = tiny_set(hidden)
    tensors = {
        name: torch.zeros_like(tensor) if name.startswith("posterior") else tensor
        for name, tensor in adapter_set.tensors.items()
    }
    text_model = TextModel.of_sets(tiny_pretrained(), {"hidden": replace(adapter_set, tensors=tensors)})
    texts = [*reviews(5).texts, "the food was good and the staff was lovely . " * 20]
    token_ids, is_truncated = text_model.token_ids(texts, truncate=True)
    eos, nats, words = text_model.tokenizer.eos_token_id, 0.0, 0
    for row in token_ids:
        states = text_model.vae.hidden_states(
            torch.tensor([[eos, *row]]), torch.zeros(1, 4), text_model.index_of("hidden", 1)
        )
        log_probs = text_model.vae.backbone.lm_head(states)[0].log_softmax(-1)
        nats -= float(log_probs.gather(1, torch.tensor([*row, eos]).unsqueeze(1)).sum())
        words += len(text_model.tokenizer.decode(row).split()) + 1
    figures = evaluate(
        text_model, "hidden", Dataset.of(texts, None, "x"), replace(ONLY_LIKELIHOOD, num_importance_samples=3)
    )
    assert sum(is_truncated) == figures["ppl_truncated"] == 1
    assert figures["neg_elbo"] == pytest.approx(nats / 6, rel=1e-5)
    assert (figures["kl"], figures["mi"], figures["mi_gaussian"], figures["au"]) == pytest.approx(
        (0, 0, 0, 0), abs=1e-6
    )
    assert figures["ppl_word_iw3"] == pytest.approx(math.exp(nats / words), rel=1e-4)
    assert figures["ppl_token_iw3"] == pytest.approx(math.exp(nats / sum(len(row) + 1 for row in token_ids)), rel=1e-4)


def test_labels_give_the_accuracy_of_the_head(with_head: TextModel) -> None:
    dataset = reviews(30)
    figures = evaluate(with_head, "prefixed", dataset, ONLY_LIKELIHOOD)
    predicted = [verdict.label for verdict in with_head.classify(dataset.texts, "prefixed")]
    assert dataset.labels is not None
    assert figures["accuracy"] == pytest.approx(accuracy(predicted, dataset.labels))
    assert figures["macro_f1"] == pytest.approx(macro_f1(predicted, dataset.labels, ["no", "yes"]))


def test_a_label_that_the_head_does_not_know_counts_as_missed(with_head: TextModel) -> None:
    texts = reviews(4).texts
    dataset = Dataset.of(texts, ["yes", "no", "maybe", "maybe"], "x")
    predicted = [verdict.label for verdict in with_head.classify(texts[:2], "prefixed")]
    right = sum(label == gold for label, gold in zip(predicted, ("yes", "no"), strict=True))
    assert evaluate(with_head, "prefixed", dataset, ONLY_LIKELIHOOD)["accuracy"] == right / 4
    (note,) = label_notes(("no", "yes"), dataset)
    assert note.startswith("has labels that the set does not know, 'maybe'; it tells 'no', 'yes' apart")
    assert label_notes((), dataset) == label_notes(("maybe", "no", "yes"), dataset) == ()


def test_labels_of_which_the_head_knows_none_are_refused(with_head: TextModel) -> None:
    """1 and 0 beside a head of negative and positive came to an accuracy of 0.0."""
    with pytest.raises(DatasetError, match=r"^x: has labels that the set does not know, '0', '1'; it tells 'no'"):
        evaluate(with_head, "prefixed", Dataset.of(reviews(4).texts, ["0", "1"] * 2, "x"), ONLY_LIKELIHOOD)


def test_without_labels_or_without_a_head_there_is_no_accuracy(plain: TextModel, with_head: TextModel) -> None:
    assert "accuracy" not in evaluate(with_head, "prefixed", reviews(5, has_labels=False), ONLY_LIKELIHOOD)
    assert "accuracy" not in evaluate(plain, "plain", reviews(5), ONLY_LIKELIHOOD)


def test_one_text_can_be_measured(with_head: TextModel) -> None:
    """A small dataset may leave one text for validation."""
    config = replace(QUICK, latent_space=LatentSpaceConfig())
    figures = evaluate(with_head, "prefixed", reviews(1), config)
    assert (figures["mi"], figures["mi_ceiling"], figures["au"]) == (0.0, 0.0, 0)
    assert figures["latent_space"]["left_out"].keys() == set(map(str, Group))


def test_a_text_longer_than_the_context_is_cut_and_counted(plain: TextModel) -> None:
    texts = ["good food", "the food was good . " * 30, "bad food"]
    figures = evaluate(plain, "plain", Dataset.of(texts, None, "x"), QUICK)
    assert (figures["rows"], figures["truncated"]) == (3, 1)


def test_perplexity_of_cut_texts_counts_the_words_that_were_read(plain: TextModel) -> None:
    """The likelihood covered the cut text, the divisor all its words: long texts seemed to be predicted well."""
    long = [f"{start} food was good and the staff was lovely . " * 20 for start in ("the", "our", "my", "this")]
    token_ids, is_truncated = plain.token_ids(long, truncate=True)
    cut = [plain.tokenizer.decode(row) for row in token_ids]
    config = replace(ONLY_LIKELIHOOD, num_importance_samples=3)
    figures = evaluate(plain, "plain", Dataset.of(long, None, "x"), config)
    beforehand = evaluate(plain, "plain", Dataset.of(cut, None, "x"), config)
    assert all(is_truncated)
    assert figures["ppl_word_iw3"] == pytest.approx(beforehand["ppl_word_iw3"], rel=1e-5)
    assert (figures["ppl_truncated"], beforehand["ppl_truncated"]) == (4, 0)


def test_progress_is_told_by_stage_up_to_the_end(plain: TextModel) -> None:
    told: list[tuple[str, int, int]] = []
    evaluate(plain, "plain", reviews(12), QUICK, lambda *stage: told.append(stage))
    last = {stage: (done, total) for stage, done, total in told}
    assert last == {
        "encode": (12, 12),
        "importance samples": (12, 12),
        "decode": (6, 6),
        "forms": (5, 5),
    }


def test_transfer_reports_what_the_judge_sees(plain: TextModel) -> None:
    """Forty-eight tokens did not fit the context of a tiny model."""
    dataset = reviews(60)
    case = TransferCase.of(dataset, reviews(200, seed=5), PAIR, source_label="no", target_label="yes", limit=9)
    told = evaluate_transfer(plain, "plain", case, scale=1.5)
    report = told["transfer"]
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (report["a"], report["b"], report["scale"], report["rows"]) == (*PAIR, 1.5, 9)
    assert report["direction"] == "no -> yes"
    assert report["judge_accuracy"] == 1.0
    assert 0 <= report["moved"] <= 1
    assert 0 <= report["kept_words"] <= 1
    assert len(report["examples"]) == 9
    assert all(source in dataset.texts for source, _ in report["examples"])


def test_transfer_by_nothing_is_reconstruction(plain: TextModel) -> None:
    case = TransferCase.of(reviews(60), reviews(200, seed=5), PAIR, source_label="no", target_label="yes")
    told = evaluate_transfer(plain, "plain", case, scale=0.0)
    sources, outputs = zip(*told["transfer"]["examples"], strict=True)
    mu = plain.encode(sources, "plain").mu
    decoded = plain.decode(mu, "plain", evaluation.Decoding(max_tokens=plain.max_text_tokens))
    assert [row.text for row in decoded] == list(outputs)


@pytest.mark.parametrize(("source_label", "target_label"), [("nope", "yes"), ("no", "yess")])
def test_transfer_between_labels_that_the_data_lacks_is_refused(source_label: str, target_label: str) -> None:
    """A mistyped target was measured as never reached."""
    judged = reviews(200, seed=5)
    with pytest.raises(DatasetError, match=r"'no(pe)?'|'yess'"):
        TransferCase.of(reviews(60), judged, PAIR, source_label=source_label, target_label=target_label)


def test_transfer_without_labels_is_refused() -> None:
    unlabelled = reviews(40, has_labels=False)
    for dataset, judged in ((unlabelled, reviews(200)), (reviews(40), unlabelled)):
        with pytest.raises(DatasetError, match="label"):
            TransferCase.of(dataset, judged, PAIR, source_label="no", target_label="yes")


@pytest.mark.parametrize("infusion", LatentInfusion)
def test_every_way_of_infusion_can_be_measured(infusion: LatentInfusion) -> None:
    config = replace(POOLED, latent_infusion=infusion)
    figures = evaluate(tiny_text_model({"any": config}), "any", reviews(6, has_labels=False), QUICK)
    assert figures["latent_size"] == 3
