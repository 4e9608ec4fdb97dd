"""From a data file to a published set, and on from a set that is there already."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adavae.model import cleaning
from adavae.model.decoding.decoding import Decoding
from adavae.model.errors import (
    AdapterSetMismatch,
    ConfigError,
    DatasetError,
    LatentShapeError,
    TrainingDiverged,
)
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.storage.adapter_set import AdapterSet, Publishing, publish_freely, read_adapter_set
from adavae.model.storage.manifest import Manifest
from adavae.model.text_model import TextModel
from adavae.model.training import run
from adavae.model.training.batches import Batches
from adavae.model.training.config import TrainingConfig
from adavae.model.training.corpus import Dataset
from adavae.model.training.evaluation import EvaluationConfig
from adavae.model.training.latent_cases import Group, LatentSpaceConfig
from adavae.model.training.loop import TrainingResult
from adavae.model.training.operations import AsServed
from adavae.model.training.preparation import TrainingRequest
from adavae.model.training.progress import OnProgress, OnStage, ignore_stage
from adavae.model.training.run import train_adapter_set, trained_tokens
from adavae.model.training.tokenized_texts import TokenizedTexts
from tests.tiny import PLAIN, PREFIXED
from tests.tiny_text import as_tsv, reviews, tiny_pretrained

QUICK = EvaluationConfig(num_importance_samples=2, max_importance_rows=4, max_decoded=4)

IN_SPACE = replace(
    QUICK, latent_space=LatentSpaceConfig(num_walks=2, num_draws=4, num_pairs=2, num_sentences=2, num_samples=2)
)


def trained(
    directory: Path,
    config: TrainingConfig,
    initial: AdapterSet | None = None,
    publishing: Publishing = publish_freely,
    evaluation: EvaluationConfig = QUICK,
    on_evaluation: OnStage = ignore_stage,
    num_texts: int = 60,
    dataset: Dataset | None = None,
    on_preparation: OnStage = ignore_stage,
    on_progress: OnProgress | None = None,
) -> AdapterSet:
    data = directory / "data.tsv"
    directory.mkdir(parents=True, exist_ok=True)
    data.write_text(as_tsv(dataset or reviews(num_texts)), encoding="utf-8")
    request = TrainingRequest(
        name="mine", data=data, validation=None, config=config, initial=initial, evaluation=evaluation, truncate=True
    )
    return train_adapter_set(
        request,
        tiny_pretrained(),
        directory=directory / "run",
        destination=directory / "adapters",
        publishing=publishing,
        on_preparation=on_preparation,
        on_progress=on_progress,
        on_evaluation=on_evaluation,
    )


def config(**fields: object) -> TrainingConfig:
    return TrainingConfig.from_dict(
        {**TrainingConfig(adapter=PLAIN, max_steps=3, batch_size=8, warmup_steps=0).to_dict(), **fields}
    )


def test_a_run_goes_on_from_a_set_that_is_there(tmp_path: Path) -> None:
    first = trained(tmp_path / "first", config())
    assert first.manifest.training["settings"]["init_from"] is None
    kept = replace(config(learning_rate=1e-7, max_steps=1), adapter=first.manifest.config)
    second = trained(tmp_path / "second", replace(kept, init_from=first.manifest.reference), first)
    assert second.manifest.training["settings"]["init_from"] == first.manifest.reference
    for name, tensor in first.tensors.items():
        torch.testing.assert_close(second.tensors[name], tensor, atol=1e-3, rtol=0)
    told = [each.manifest.training for each in (first, second)]
    assert all(each["best_step"] in range(each["steps"] + 1) for each in told)
    assert [(each["decoder_from"], each["is_decoder_trained"]) for each in told] == [(None, True)] * 2
    afresh = trained(tmp_path / "afresh", replace(kept, seed=7))
    assert not torch.allclose(afresh.tensors["posterior.mu.weight"], first.tensors["posterior.mu.weight"], atol=1e-2)


def test_a_head_for_other_labels_begins_afresh_over_a_set_that_is_there(tmp_path: Path) -> None:
    """Once the labels had to be those of the set, so that none could be trained from a set without a head."""
    first = trained(tmp_path / "first", config())
    (tmp_path / "second").mkdir()
    data = tmp_path / "second" / "labelled.tsv"
    data.write_text("label\ttext\n" + "".join(f"{'ab'[n % 2]}\tword{n % 2} word{n}\n" for n in range(40)))
    kept = replace(config(learning_rate=1e-7, max_steps=1), init_from=first.manifest.reference)
    request = TrainingRequest(
        name="second", data=data, validation=None, config=kept, initial=first, truncate=True, evaluation=QUICK
    )
    second = train_adapter_set(
        request, tiny_pretrained(), directory=tmp_path / "run", destination=tmp_path / "adapters"
    )
    assert second.manifest.config.labels == ("a", "b")
    assert second.tensors["head.linear.weight"].shape == (2, PLAIN.latent_size)
    torch.testing.assert_close(
        second.tensors["posterior.mu.weight"], first.tensors["posterior.mu.weight"], atol=1e-3, rtol=0
    )


def test_going_on_with_other_sizes_is_refused(tmp_path: Path) -> None:
    first = trained(tmp_path / "first", config())
    larger = replace(config(), adapter=replace(PLAIN, adapter_size=6))
    with pytest.raises(ConfigError, match=r"adapter_size is 6: mine@\w+ has 5"):
        trained(tmp_path / "second", larger, first)


def test_going_on_from_a_set_with_a_prefix_or_of_another_backbone_is_refused(tmp_path: Path) -> None:
    first = trained(tmp_path / "first", replace(config(), adapter=replace(PREFIXED, labels=())))
    with pytest.raises(ConfigError, match="prefix"):
        trained(tmp_path / "second", replace(config(), adapter=first.manifest.config), first)
    foreign = replace(first, manifest=replace(first.manifest, backbone_digest="f" * 64))
    with pytest.raises(AdapterSetMismatch):
        trained(tmp_path / "third", config(), foreign)


def test_new_texts_are_drawn_from_where_the_training_texts_lie(tmp_path: Path) -> None:
    """Of a set with a small beta, draws from N(0, I) were no sentences."""
    adapter_set = trained(tmp_path, config())
    prior = adapter_set.manifest.fitted_prior
    assert prior is not None
    text_model = TextModel.of_sets(tiny_pretrained(), {"mine": adapter_set})
    mu = text_model.encode(list(reviews(60).texts), "mine", truncate=True).mu
    torch.testing.assert_close(torch.tensor(prior.mean), mu.mean(0), atol=2e-2, rtol=0)
    prior = text_model.space_of("mine").prior
    assert prior is not None
    torch.testing.assert_close(prior.mean, mu.mean(0), atol=2e-2, rtol=0)
    assert torch.equal(text_model.sample_prior(4, "mine", seed=1), prior.draw(4, seed=1))


def test_a_set_carries_the_prior_that_it_was_measured_with(tmp_path: Path) -> None:
    stages: list[str] = []
    larger = replace(config(form_share=0.3, input_dropout=0.3), adapter=replace(PLAIN, latent_size=8))
    adapter_set = trained(tmp_path, larger, on_evaluation=lambda stage, *_: stages.append(stage), num_texts=260)
    assert adapter_set.prior_tensors is not None
    assert adapter_set.manifest.training["settings"]["form_share"] == 0.3
    assert adapter_set.manifest.training["data"]["cleaning"] == cleaning.RULE
    assert {"encode training texts", "fit prior"} <= set(stages)
    prior = TextModel.of_sets(tiny_pretrained(), {"mine": adapter_set}).space_of("mine").prior
    assert prior is not None and prior.network is not None
    torch.testing.assert_close(torch.tensor(adapter_set.manifest.prior.mean), prior.mean, atol=1e-3, rtol=0)


def test_few_texts_have_a_prior_without_a_flow(tmp_path: Path) -> None:
    adapter_set = trained(tmp_path, config())
    prior = TextModel.of_sets(tiny_pretrained(), {"mine": adapter_set}).space_of("mine").prior
    assert prior is not None and prior.network is None


def test_a_set_that_cannot_answer_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise LatentShapeError("z holds NaN")

    monkeypatch.setattr(run.TextModel, "decode", fails)
    with pytest.raises(TrainingDiverged, match=r"cannot be served.*was tried and failed \(z holds NaN\)"):
        trained(tmp_path, config(), evaluation=EvaluationConfig(num_importance_samples=0, max_decoded=0))
    assert not list((tmp_path / "adapters").rglob("*"))


def test_memory_that_runs_out_while_a_set_is_tried_is_no_fault_of_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told as one of the learning rate, for good: the next attempt would have saved the run."""

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(run.TextModel, "decode", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        trained(tmp_path, config(), evaluation=EvaluationConfig(num_importance_samples=0, max_decoded=0))


def test_draws_are_measured_as_they_will_be_served(tmp_path: Path) -> None:
    """Draws were measured before the prior was fitted: from N(0, I)."""
    space = LatentSpaceConfig(groups=(Group.DRAWS,), num_draws=5)
    adapter_set = trained(tmp_path, config(), evaluation=replace(QUICK, latent_space=space))
    text_model = TextModel.of_sets(tiny_pretrained(), {"mine": adapter_set})
    drawn = AsServed(text_model, "mine").draw(5, seed=0)
    assert adapter_set.manifest.metrics["latent_space"]["samples"]["draws"] == drawn
    assert drawn != AsServed(text_model.with_prior("mine", FittedPrior.standard(4)), "mine").draw(5, seed=0)


def test_a_set_that_may_not_be_published_is_not_there(tmp_path: Path) -> None:
    seen: list[Manifest] = []

    @contextmanager
    def publishing(manifest: Manifest) -> Iterator[None]:
        seen.append(manifest)
        raise ConfigError("kl", manifest.metrics["kl"], "must be more")
        yield

    with pytest.raises(ConfigError, match="kl is"):
        trained(tmp_path, config(), publishing=publishing)
    assert seen[0].metrics["rows"] == 12
    assert not list((tmp_path / "adapters").rglob("*"))
    assert not list((tmp_path / "run").glob(".staging*"))


def test_whoever_publishes_is_told_when_the_set_is_in_place(tmp_path: Path) -> None:
    steps: list[tuple[str, bool]] = []

    @contextmanager
    def publishing(manifest: Manifest) -> Iterator[None]:
        path = tmp_path / "adapters" / "mine" / manifest.version
        steps.append(("before", path.exists()))
        yield
        steps.append(("after", path.exists()))

    trained(tmp_path, config(), publishing=publishing)
    assert steps == [("before", False), ("after", True)]


def test_the_figures_say_what_always_naming_the_commonest_label_would_get(tmp_path: Path) -> None:
    metrics = trained(tmp_path, config()).manifest.metrics
    assert 0.5 <= metrics["majority_share"] < 1
    assert metrics["accuracy"] <= 1.0


def test_a_run_whose_validation_loss_is_never_finite_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = TrainingResult({}, steps=3, stopped_early=False, validation_loss=float("inf"), duration_s=1.0)
    monkeypatch.setattr(run, "train", lambda *_, **__: result)
    with pytest.raises(TrainingDiverged, match="never finite in 3 steps: lower the learning rate"):
        trained(tmp_path, config())
    assert not (tmp_path / "adapters").exists()


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7])
def test_trained_tokens_are_those_of_the_batches_that_were_taken(steps: int) -> None:
    texts = TokenizedTexts([[1] * length for length in (3, 1, 4, 1, 5, 9, 2)], None, "digest")
    batches = Batches([len(row) + 1 for row in texts.token_ids], batch_size=3, seed=0)
    taken = [row for step in range(steps) for row in batches.rows_at(step)]
    expected = sum(len(texts.token_ids[row]) + 1 for row in taken)
    assert trained_tokens(config(batch_size=3), texts, steps) == expected


def test_what_comes_before_the_first_step_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    trained(
        tmp_path,
        config(form_share=0.3),
        on_preparation=lambda *about: told.append(about),
        on_progress=lambda progress: told.append(("step", progress.step, progress.total_steps)),
    )
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["read texts", "tokenize texts", "tokenize other forms", "train", "step"]
    assert told[0] == ("read texts", 0, 0)
    total = next(total for stage, _, total in told if stage == "step")
    assert [about for about in told if about[0] == "train"] == [("train", 0, total)]


@pytest.mark.parametrize("with_validation", [False, True])
def test_a_set_of_two_texts_is_one_that_answers(tmp_path: Path, with_validation: bool) -> None:
    """One training text was left, of whose z no deviation is known: the set was published, and not to be read."""
    data = tmp_path / "two.txt"
    data.write_text("the food was great .\nthe room was cold .\n", encoding="utf-8")
    request = TrainingRequest(
        name="mine", data=data, validation=data if with_validation else None, config=config(), evaluation=QUICK
    )
    published = train_adapter_set(
        request, tiny_pretrained(), directory=tmp_path / "run", destination=tmp_path / "adapters"
    )
    adapter_set = read_adapter_set(tmp_path / "adapters" / "mine" / published.manifest.version)
    text_model = TextModel.of_sets(tiny_pretrained(), {"mine": adapter_set})
    z = text_model.encode(["the food was great ."], "mine").mu
    assert text_model.decode(z, "mine", Decoding(max_tokens=4))[0].text is not None
    assert bool(torch.isfinite(text_model.sample_prior(2, "mine", seed=0)).all())


@pytest.mark.parametrize("is_bad", [True, False])
def test_a_run_begins_when_everything_is_checked(tmp_path: Path, is_bad: bool) -> None:
    began: list[bool] = []
    data = tmp_path / "data.tsv"
    data.write_text(as_tsv(reviews(60)) + ("a line without a tab\n" if is_bad else ""), encoding="utf-8")
    request = TrainingRequest(name="mine", data=data, validation=None, config=config(), truncate=True, evaluation=QUICK)
    run_folder = tmp_path / "run"

    def train_it() -> None:
        train_adapter_set(
            request,
            tiny_pretrained(),
            directory=run_folder,
            destination=tmp_path / "adapters",
            on_begin=lambda: began.append((run_folder / "checkpoints").exists()),
        )

    if is_bad:
        with pytest.raises(DatasetError):
            train_it()
    else:
        train_it()
    assert began == ([] if is_bad else [False])


def test_a_set_of_texts_that_share_no_word_is_published(tmp_path: Path) -> None:
    """The run was lost behind its last step."""
    codes = Dataset.of([f"AB-{row:04}" for row in range(60)], ["no", "yes"] * 30, "codes")
    metrics = trained(tmp_path, config(), dataset=codes, evaluation=IN_SPACE).manifest.metrics
    assert "the judge of labels cannot learn" in metrics["latent_space"]["left_out"]["analogies"]


def test_a_set_of_texts_of_one_label_has_no_head(tmp_path: Path) -> None:
    data = tmp_path / "good.tsv"
    data.write_text("label\ttext\n" + "".join(f"good\t{text}\n" for text in reviews(40).texts), encoding="utf-8")
    request = TrainingRequest(name="mine", data=data, validation=None, config=config(), evaluation=QUICK, truncate=True)
    notes: list[str] = []
    published = train_adapter_set(
        request,
        tiny_pretrained(),
        directory=tmp_path / "run",
        destination=tmp_path / "adapters",
        on_note=notes.append,
    )
    assert published.manifest.config.labels == ()
    assert "accuracy" not in published.manifest.metrics
    assert [note for note in notes if "without a head" in note]
