"""The training loop on a tiny model: learns, resumes exactly, stops when told, keeps what was good."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adavae.model.adavae import AdaVAE
from adavae.model.errors import CheckpointMismatch, ConfigError, TrainingDiverged, TrainingInterrupted
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.config import BetaSchedule, Precision, Preset, Start, TrainingConfig, preset_config
from adavae.model.training.loop import train
from adavae.model.training.objective import Loss, Objective, TextBatch
from adavae.model.training.progress import Progress
from adavae.model.training.schedule import is_due
from adavae.model.training.tokenized_texts import TokenizedTexts
from adavae.model.training.training_run import TrainingRun
from adavae.model.training.validation import CRITERIA, Validation
from tests.tiny import PLAIN, PREFIXED, TINY, tiny_backbone

CONFIG = TrainingConfig(
    adapter=PLAIN,
    epochs=4.0,
    batch_size=8,
    learning_rate=5e-3,
    warmup_steps=2,
    beta=0.1,
    validations=4,
    checkpoint_every=3,
    precision=Precision.FLOAT32,
)


@dataclass(frozen=True)
class _FakeTokenizer:
    digest: str
    eos_token_id: int = TINY.eos_token_id


def _pretrained(digest: str = "digest", tokenizer: str = "tokenizer") -> PretrainedBackbone:
    return PretrainedBackbone(tiny_backbone(), _FakeTokenizer(tokenizer), digest, "tiny")  # type: ignore[arg-type]


def _texts(num: int, seed: int) -> TokenizedTexts:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 9, (num,), generator=generator).tolist()
    rows = [torch.randint(1, 12, (length,), generator=generator).tolist() for length in lengths]
    return TokenizedTexts(rows, [row[0] % 2 for row in rows], f"data-{seed}")


def _losses(directory: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_training_lowers_the_validation_loss(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=20.0, learning_rate=0.05, beta_schedule=BetaSchedule.CONSTANT)
    run = TrainingRun(config, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    before = run.validate().loss
    result = train(config, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    assert result.validation_loss < before - 0.1  # nats per token; the backbone under it is random


FITTED = replace(CONFIG, adapter=replace(PLAIN, labels=("a", "b")), start=Start.FITTED, preset=Preset.CLASSIFICATION)
ENCODER = ("encoder_", "latent_attention", "posterior.mu", "head")


def moved(config: TrainingConfig, tmp_path: Path) -> set[str]:
    """The tensors of the best step that differ from those of the fitted start."""
    texts, validation = _texts(48, 1), _texts(16, 2)
    start = TrainingRun(config, _pretrained().backbone, texts, validation, tmp_path / "start")
    start.fit_start()
    begun = start.vae.bank.export(0)
    result = train(config, _pretrained(), texts, validation, tmp_path / "run")
    return {name for name, tensor in result.tensors.items() if not torch.allclose(tensor, begun[name], 1e-3, 1e-3)}


def test_few_texts_train_the_decoder_beside_a_fitted_encoder(tmp_path: Path) -> None:
    changed = moved(replace(FITTED, encoder_texts=49, epochs=20.0, learning_rate=0.02), tmp_path)
    assert any(name.startswith("decoder_adapters") for name in changed)
    assert not [name for name in changed if name.startswith(ENCODER)]


def test_many_texts_train_a_fitted_encoder_too(tmp_path: Path) -> None:
    config = replace(FITTED, encoder_texts=48, preset=Preset.GENERATION, epochs=20.0, learning_rate=0.02)
    assert {"posterior.mu.weight", "head.linear.weight"} <= moved(config, tmp_path)


WORSENING = replace(
    FITTED, epochs=2.0, learning_rate=0.3, patience=9, stage_one_share=0.0, checkpoint_every=2, label_smoothing=0.9
)
"""Its head is best where it begins: it learns to be sure of nothing."""


def test_a_head_that_is_best_where_it_begins_still_gets_a_decoder(tmp_path: Path) -> None:
    """The set of step 0 was published without a word: its decoder's adapters had never had a step."""
    texts, validation = _texts(48, 1), _texts(16, 2)
    run = TrainingRun(WORSENING, _pretrained().backbone, texts, validation, tmp_path)
    run.fit_start()
    begun = run.vae.bank.export()
    result = train(WORSENING, _pretrained(), texts, validation, tmp_path / "run")
    assert (result.decoder_from, result.steps) == (12, 24)
    assert result.best_step is not None and result.best_step > 12 and result.is_decoder_trained
    changed = {name for name, tensor in result.tensors.items() if not torch.allclose(tensor, begun[name], 1e-4, 1e-4)}
    assert any(name.startswith("decoder_adapters") for name in changed)
    assert not [name for name in changed if name.startswith(ENCODER)]


def test_a_head_that_is_best_in_the_first_stage_keeps_the_encoder_of_that_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([3.0, 1.0, 2.0, 2.0, 2.0, 9.0, 8.0, 7.0, 6.0, 5.0])
    monkeypatch.setattr(Validation, "of", lambda *_: Validation(4.0, next(scores)))
    config = replace(WORSENING, stage_one_share=0.5, max_steps=4, patience=9)
    result = train(config, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    assert (result.decoder_from, result.steps, result.best_step, result.is_decoder_trained) == (4, 8, 8, True)


def test_a_decoder_that_no_step_made_better_is_told_to_be_untrained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Validation, "of", lambda *_: Validation(4.0, 1.0))
    result = train(WORSENING, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    assert (result.decoder_from, result.best_step, result.is_decoder_trained) == (12, 12, False)


@pytest.mark.parametrize("stopped_after", [7, 12, 17])
def test_a_run_whose_decoder_is_trained_by_itself_is_resumed_exactly(tmp_path: Path, stopped_after: int) -> None:
    texts, validation = _texts(48, 1), _texts(16, 2)
    unbroken = train(WORSENING, _pretrained(), texts, validation, tmp_path / "unbroken")
    asked = iter([False] * stopped_after + [True])
    with pytest.raises(TrainingInterrupted):
        train(WORSENING, _pretrained(), texts, validation, tmp_path / "broken", should_stop=lambda: next(asked))
    resumed = train(WORSENING, _pretrained(), texts, validation, tmp_path / "broken", resume=True)
    assert (unbroken.best_step, unbroken.steps) == (resumed.best_step, resumed.steps)
    assert all(torch.equal(tensor, resumed.tensors[name]) for name, tensor in unbroken.tensors.items())


def test_a_set_that_no_step_makes_better_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that went on from a set the best of its own steps was published, were it worse than the set."""
    texts, validation = _texts(48, 1), _texts(16, 2)
    good = train(CONFIG, _pretrained(), texts, validation, tmp_path / "good").tensors
    scores = iter([1.5, 3.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(Validation, "of", lambda *_: Validation(4.0, next(scores, 1.0)))
    result = train(CONFIG, _pretrained(), texts, validation, tmp_path / "worse", initial=good)
    assert (result.best_step, result.steps, result.is_decoder_trained) == (0, 24, True)
    assert all(torch.equal(tensor, result.tensors[name]) for name, tensor in good.items())
    scores = iter([1.5])
    assert train(CONFIG, _pretrained(), texts, validation, tmp_path / "better", initial=good).best_step == 6


def test_a_set_whose_labels_are_others_is_no_end_of_a_run_that_goes_on_from_it(tmp_path: Path) -> None:
    """Its head begins afresh, and has not had a step."""
    good = train(FITTED, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path / "good").tensors
    headless = {name: tensor for name, tensor in good.items() if not name.startswith("head.")}
    run = TrainingRun(FITTED, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path, headless)
    run.begin()
    assert run.state.start_score is None
    run = TrainingRun(FITTED, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path, good)
    run.begin()
    assert run.state.start_score is not None and run.state.validations_without_gain == 0


def test_what_decides_the_best_step_is_told_beside_the_objective(tmp_path: Path) -> None:
    """The head's cross-entropy chose the step and ended the run, and was shown nowhere."""
    seen: list[Progress] = []
    config = replace(FITTED, epochs=4.0, patience=9)
    result = train(config, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path, on_progress=seen.append)
    part = [each for each in seen if each.step <= (result.decoder_from or result.steps)]
    assert {each.criterion for each in part} == {"head cross-entropy, nats a text"}
    assert part[0].best_score is not None  # the fitted start has one
    last = part[-1]
    assert last.score is not None and last.best_score is not None and last.best_score <= last.score
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"criterion", "score", "best_score"} <= lines[-1].keys()


def test_a_resumed_run_keeps_the_fitted_start_that_it_had(tmp_path: Path) -> None:
    config, texts, validation = replace(FITTED, encoder_texts=100), _texts(48, 1), _texts(16, 2)
    unbroken = train(config, _pretrained(), texts, validation, tmp_path / "unbroken")
    asked = iter([False] * 5 + [True])
    with pytest.raises(TrainingInterrupted):
        train(config, _pretrained(), texts, validation, tmp_path / "broken", should_stop=lambda: next(asked))
    resumed = train(config, _pretrained(), texts, validation, tmp_path / "broken", resume=True)
    assert all(torch.equal(tensor, resumed.tensors[name]) for name, tensor in unbroken.tensors.items())


def test_a_killed_run_resumes_to_the_same_losses_and_weights(tmp_path: Path) -> None:
    config = replace(CONFIG, adapter=PREFIXED)
    unbroken = train(config, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path / "unbroken")
    steps = 0

    def killed_after_seven_steps() -> bool:
        nonlocal steps
        steps += 1
        if steps == 8:
            raise KeyboardInterrupt  # a kill: no chance to save
        return False

    directory = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train(config, _pretrained(), _texts(48, 1), _texts(16, 2), directory, should_stop=killed_after_seven_steps)
    resumed = train(config, _pretrained(), _texts(48, 1), _texts(16, 2), directory, resume=True)
    assert resumed.steps == unbroken.steps
    assert resumed.validation_loss == unbroken.validation_loss
    for name, tensor in unbroken.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name
    assert _losses(directory)[-1] == _losses(tmp_path / "unbroken")[-1]


def test_a_stopped_run_keeps_a_checkpoint_of_its_last_step(tmp_path: Path) -> None:
    asked = iter([False] * 5 + [True])
    with pytest.raises(TrainingInterrupted, match="step 5"):
        train(CONFIG, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path, should_stop=lambda: next(asked))
    run = TrainingRun(CONFIG, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    assert run.resume()
    assert run.state.step == 5


def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    run = TrainingRun(CONFIG, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    run.take_step()
    run.save()
    with torch.no_grad():
        next(iter(run.vae.bank.parameters())).fill_(torch.nan)
    with pytest.raises(TrainingDiverged, match="step-000000001"):
        run.take_step()
    again = TrainingRun(CONFIG, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    assert again.resume()
    assert all(torch.isfinite(parameter).all() for parameter in again.vae.bank.parameters())


@pytest.mark.parametrize(("change", "word"), [({"learning_rate": 1e-3}, "settings"), ({}, "data")])
def test_another_runs_checkpoint_is_refused(tmp_path: Path, change: dict[str, float], word: str) -> None:
    run = TrainingRun(CONFIG, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    run.save()
    other = TrainingRun(
        replace(CONFIG, **change), _pretrained().backbone, _texts(48, 1 if change else 9), _texts(16, 2), tmp_path
    )
    with pytest.raises(CheckpointMismatch, match=word):
        other.resume()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"digest": "f" * 64}, r"over another backbone \(digest, here is ffffffffffff\)"),
        ({"tokenizer": "e" * 64}, r"over another tokenizer \(tokenizer, here is eeeeeeeeeeee\)"),
    ],
)
def test_a_run_does_not_go_on_over_another_backbone(tmp_path: Path, other: dict[str, str], told: str) -> None:
    """It went on in silence, and the tensors of one backbone were published under the digest of the other."""
    asked, texts = iter([False] * 2 + [True]), (_texts(48, 1), _texts(16, 2))
    with pytest.raises(TrainingInterrupted):
        train(CONFIG, _pretrained(), *texts, tmp_path, should_stop=lambda: next(asked))
    with pytest.raises(CheckpointMismatch, match=told + ".*: choose that .*, or start afresh under another name"):
        train(CONFIG, _pretrained(**other), *texts, tmp_path, resume=True)


def test_a_checkpoint_that_names_no_backbone_is_gone_on_from(tmp_path: Path) -> None:
    """Those of earlier versions, and those of runs by hand."""
    TrainingRun(CONFIG, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path).save()
    texts = (_texts(48, 1), _texts(16, 2))
    assert train(CONFIG, _pretrained(), *texts, tmp_path, resume=True).steps == 24


def test_the_decoder_joins_after_stage_one(tmp_path: Path) -> None:
    config = replace(CONFIG, stage_one_share=0.5, max_steps=4)
    run = TrainingRun(config, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    before = {name: tensor.clone() for name, tensor in run.vae.bank.named_parameters()}
    run.take_step()
    run.take_step()
    changed = {name for name, tensor in run.vae.bank.named_parameters() if not torch.equal(tensor, before[name])}
    assert changed
    assert not any(name.startswith("decoder_adapters") for name in changed)
    run.take_step()
    run.take_step()
    changed = {name for name, tensor in run.vae.bank.named_parameters() if not torch.equal(tensor, before[name])}
    assert any(name.startswith("decoder_adapters") for name in changed)


def test_the_backbone_never_changes_but_in_full_fine_tuning(tmp_path: Path) -> None:
    pretrained = _pretrained()
    before = {name: tensor.clone() for name, tensor in pretrained.backbone.named_parameters()}
    for is_full in (False, True):
        config = replace(CONFIG, is_full_fine_tuning=is_full, max_steps=3)
        run = TrainingRun(config, pretrained.backbone, _texts(48, 1), _texts(16, 2), tmp_path)
        for _ in range(3):
            run.take_step()
        moved = any(not torch.equal(parameter, before[name]) for name, parameter in run.vae.backbone.named_parameters())
        assert moved is is_full
    for name, tensor in pretrained.backbone.named_parameters():
        assert torch.equal(tensor, before[name])


def test_full_fine_tuning_makes_no_adapter_set(tmp_path: Path) -> None:
    """The tuned backbones were thrown away, and what was left was measured over the frozen one."""
    config = replace(CONFIG, is_full_fine_tuning=True, max_steps=1)
    with pytest.raises(ConfigError, match=r"is_full_fine_tuning is True: .*adapter set cannot hold"):
        train(config, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("total", "times", "num"), [(15, 8, 8), (150, 8, 8), (16, 4, 4), (3, 8, 3), (1, 8, 1)])
def test_validations_are_as_many_as_are_asked_for(total: int, times: int, num: int) -> None:
    """Regression: 15 steps had 15 of 8, so that patience ended short runs too early."""
    due = [step for step in range(1, total + 1) if is_due(step, total, times)]
    assert (len(due), due[-1]) == (num, total)


def test_weight_decay_is_of_matrices(tmp_path: Path) -> None:
    """Regression: it was of biases, and of no matrix."""
    run = TrainingRun(replace(CONFIG, weight_decay=0.5), _pretrained().backbone, _texts(8, 1), _texts(8, 2), tmp_path)
    groups = [group for each in run.optimizers.by_kind.values() for group in each.param_groups]
    decayed = [parameter for group in groups if group["weight_decay"] == 0.5 for parameter in group["params"]]
    assert len(decayed) > 4 and all(min(parameter.shape[-2:]) > 1 for parameter in decayed)


def test_patience_ends_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=50.0, learning_rate=1e-7, patience=2, validations=50)
    run = TrainingRun(config, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    run.validate()
    run.state.best_score = 0.0
    for _ in range(2):
        run.validate()
    assert run.is_finished
    assert run.stopped_early


def test_few_texts_are_trained_on_for_as_many_steps_as_it_takes(tmp_path: Path) -> None:
    """A hundred texts made four steps, all of them within the warm-up."""
    few = replace(CONFIG, epochs=4.0, batch_size=128, warmup_steps=50, min_steps=40, min_batches=4)
    run = TrainingRun(few, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    assert (run.total_steps, len(run.batches.rows_at(0))) == (40, 12)
    run.state.step = 4
    assert run.learning_rate == few.learning_rate
    many = TrainingRun(few, _pretrained().backbone, _texts(6400, 1), _texts(16, 2), tmp_path)
    assert (many.total_steps, many.batches.batches_per_epoch) == (200, 50)
    assert (
        TrainingRun(
            replace(few, max_steps=7), _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path
        ).total_steps
        == 7
    )


def test_a_run_does_not_stop_early_before_its_least_number_of_steps(tmp_path: Path) -> None:
    config = replace(CONFIG, min_steps=10, patience=2)
    run = TrainingRun(config, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    run.state.validations_without_gain = 2
    for step, is_over in ((9, False), (10, True)):
        run.state.step = step
        assert run.stopped_early is is_over


@pytest.mark.parametrize(("total_steps", "stopped_early"), [(2, False), (3, True)])
def test_a_run_that_took_every_step_did_not_stop_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total_steps: int, stopped_early: bool
) -> None:
    """It was said to have, where its patience ran out with its last step."""
    scores = iter([1.0, 2.0])
    monkeypatch.setattr(Validation, "of", lambda *_: Validation(1.0, next(scores)))
    config = replace(CONFIG, max_steps=total_steps, validations=total_steps, patience=1)
    result = train(config, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    assert (result.steps, result.stopped_early) == (2, stopped_early)


@pytest.mark.parametrize(
    ("preset", "best"), [(Preset.CLASSIFICATION, 1), (Preset.GENERATION, 2), (Preset.LANGUAGE_MODELLING, 0)]
)
def test_the_best_step_is_chosen_by_what_the_run_is_asked_for(tmp_path: Path, preset: Preset, best: int) -> None:
    """A head that overfitted was published because reconstruction still improved."""
    parts = [(5.0, 5.0), (9.0, 1.0), (2.0, 30.0)]  # nats of reconstruction and head, of two texts with ten tokens
    run = TrainingRun(replace(CONFIG, preset=preset), _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    kept = []
    for step, (reconstruction, head) in enumerate(parts):
        total = torch.tensor((reconstruction + head) / 10)
        loss = Loss(total, torch.tensor([reconstruction, 0.0, head]), num_texts=2, num_tokens=10)
        run._remember(Validation.of(loss, CRITERIA[preset]))
        if run.state.validations_without_gain == 0:
            kept.append(step)
    assert kept[-1] == best


def test_betas_shape_is_a_setting(tmp_path: Path) -> None:
    config = replace(CONFIG, max_steps=20, beta=1.0, beta_cycles=1, beta_zero_share=0.5, beta_rise_share=0.25)
    run = TrainingRun(config, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    betas = []
    for run.state.step in (0, 9, 12, 15, 19):
        betas.append(run.beta)
    assert betas == pytest.approx([0.0, 0.0, 0.4, 1.0, 1.0])
    with pytest.raises(ConfigError, match=r"beta_rise_share is 0\.6: must be at most 1 together"):
        replace(config, beta_rise_share=0.6)


def test_words_are_hidden_in_training_alone(tmp_path: Path) -> None:
    hidden, seen = (
        TrainingRun(replace(CONFIG, word_dropout=share), _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
        for share in (0.9, 0.0)
    )
    assert hidden.validate() == seen.validate()
    assert float(hidden.take_step()[0].total) != float(seen.take_step()[0].total)


def _with_forms(texts: TokenizedTexts) -> TokenizedTexts:
    return replace(texts, form_ids=[[*row, 3] for row in texts.token_ids])


def test_what_the_encoder_reads_is_disturbed_in_training_alone(tmp_path: Path) -> None:
    texts = _with_forms(_texts(48, 1))
    disturbed, plain = (
        TrainingRun(
            replace(CONFIG, input_dropout=share, form_share=share),
            _pretrained().backbone,
            texts,
            _texts(16, 2),
            tmp_path,
        )
        for share in (0.9, 0.0)
    )
    assert disturbed.validate() == plain.validate()
    assert disturbed.take_step()[0].kl_nats != plain.take_step()[0].kl_nats


def test_a_denoising_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    config = replace(CONFIG, input_dropout=0.5, form_share=0.5, max_steps=8)
    texts = _with_forms(_texts(48, 1))
    unbroken = train(config, _pretrained(), texts, _texts(16, 2), tmp_path / "unbroken")
    asked = iter([False] * 4 + [True])
    with pytest.raises(TrainingInterrupted):
        train(config, _pretrained(), texts, _texts(16, 2), tmp_path / "broken", should_stop=lambda: next(asked))
    resumed = train(config, _pretrained(), texts, _texts(16, 2), tmp_path / "broken", resume=True)
    for name, tensor in unbroken.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name


def test_a_share_of_forms_without_forms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"form_share is 0\.2: needs other forms"):
        TrainingRun(replace(CONFIG, form_share=0.2), _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)


def test_micro_batches_change_memory_and_not_the_gradient(tmp_path: Path) -> None:
    """With posteriors that have no noise nothing depends on how a step is cut."""
    config = replace(CONFIG, batch_size=48, max_gradient_norm=1e3)
    run, whole = (
        TrainingRun(
            replace(config, micro_batch_tokens=tokens), _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path
        )
        for tokens in (64, 1_000_000)
    )
    for each in (run, whole):
        with torch.no_grad():
            each.vae.bank.get_submodule("posterior").get_submodule("logvar").get_parameter("bias").fill_(-30.0)
        each.take_step()
    gradients = {name: parameter.grad for name, parameter in whole.vae.bank.named_parameters()}
    for name, parameter in run.vae.bank.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("preset", list(Preset))
def test_what_goes_through_the_model_at_once_is_bounded(
    preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory grew with the longest batch: 128 texts of 250 tokens took gigabytes."""
    sizes = []
    loss = Objective.loss

    def counted(objective: Objective, vae: AdaVAE, batch: TextBatch, *rest: Any) -> Loss:
        sizes.append(batch.token_ids.numel())
        return loss(objective, vae, batch, *rest)

    monkeypatch.setattr(Objective, "loss", counted)
    config = replace(preset_config(preset, TINY), form_share=0.0, batch_size=48, min_batches=1, micro_batch_tokens=64)
    run = TrainingRun(config, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    run.take_step()
    run.validate()
    assert len(sizes) > 2
    assert max(sizes) <= 64


def test_progress_is_reported_with_its_parts(tmp_path: Path) -> None:
    seen: list[Progress] = []
    train(CONFIG, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path, on_progress=seen.append)
    assert seen[-1].step == seen[-1].total_steps == 24
    assert seen[-1].tokens_per_s > 0
    assert seen[-1].validation_loss is not None


def test_beta_and_learning_rate_are_told_of_the_step_that_was_taken(tmp_path: Path) -> None:
    """Those of the step after it were."""
    seen: list[Progress] = []
    config = replace(CONFIG, max_steps=8, beta_cycles=1, beta_zero_share=0.0, beta_rise_share=1.0)
    run = TrainingRun(config, _pretrained().backbone, _texts(48, 1), _texts(16, 2), tmp_path)
    train(config, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path, on_progress=seen.append)
    for progress in seen:
        run.state.step = progress.step - 1
        assert (progress.beta, progress.learning_rate) == (run.beta, run.learning_rate)
