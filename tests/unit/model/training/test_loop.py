"""The training loop on a tiny model: learns, resumes exactly, stops when told, keeps what was good."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adavae.model.errors import CheckpointMismatch, TrainingDiverged, TrainingInterrupted
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.config import BetaSchedule, Precision, TrainingConfig
from adavae.model.training.loop import TokenizedTexts, TrainingRun, train
from adavae.model.training.progress import Progress
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


class _FakeTokenizer:
    eos_token_id = TINY.eos_token_id


def _pretrained() -> PretrainedBackbone:
    return PretrainedBackbone(tiny_backbone(), _FakeTokenizer(), "digest", "tiny")  # type: ignore[arg-type]


def _texts(num: int, seed: int) -> TokenizedTexts:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 9, (num,), generator=generator).tolist()
    rows = [torch.randint(1, 12, (length,), generator=generator).tolist() for length in lengths]
    return TokenizedTexts(rows, [row[0] % 2 for row in rows], f"data-{seed}")


def _losses(directory: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_training_lowers_the_validation_loss(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=20.0, learning_rate=0.05, beta_schedule=BetaSchedule.CONSTANT)
    run = TrainingRun(config, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    before = run.validate()
    result = train(config, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    assert result.validation_loss < before - 0.1  # nats per token; the backbone under it is random


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
    run = TrainingRun(CONFIG, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    assert run.resume()
    assert run.state.step == 5


def test_divergence_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    run = TrainingRun(CONFIG, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    run.take_step()
    run.save()
    with torch.no_grad():
        next(iter(run.vae.bank.parameters())).fill_(torch.nan)
    with pytest.raises(TrainingDiverged, match="step-000000001"):
        run.take_step()
    again = TrainingRun(CONFIG, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    assert again.resume()
    assert all(torch.isfinite(parameter).all() for parameter in again.vae.bank.parameters())


@pytest.mark.parametrize(("change", "word"), [({"learning_rate": 1e-3}, "settings"), ({}, "data")])
def test_another_runs_checkpoint_is_refused(tmp_path: Path, change: dict[str, float], word: str) -> None:
    run = TrainingRun(CONFIG, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    run.save()
    other = TrainingRun(
        replace(CONFIG, **change), _pretrained(), _texts(48, 1 if change else 9), _texts(16, 2), tmp_path
    )
    with pytest.raises(CheckpointMismatch, match=word):
        other.resume()


def test_the_decoder_joins_after_stage_one(tmp_path: Path) -> None:
    config = replace(CONFIG, stage_one_share=0.5, max_steps=4)
    run = TrainingRun(config, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
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
        run = TrainingRun(config, pretrained, _texts(48, 1), _texts(16, 2), tmp_path)
        for _ in range(3):
            run.take_step()
        moved = any(not torch.equal(own, before[name]) for name, own in run.vae.backbone.named_parameters())
        assert moved is is_full
    for name, tensor in pretrained.backbone.named_parameters():
        assert torch.equal(tensor, before[name])


def test_patience_ends_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=50.0, learning_rate=1e-7, patience=2, validations=50)
    run = TrainingRun(config, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path)
    run.validate()
    run.state.best_loss = 0.0
    for _ in range(2):
        run.validate()
    assert run.is_finished
    assert run.stopped_early


def test_progress_is_reported_with_its_parts(tmp_path: Path) -> None:
    seen: list[Progress] = []
    train(CONFIG, _pretrained(), _texts(48, 1), _texts(16, 2), tmp_path, on_progress=seen.append)
    assert seen[-1].step == seen[-1].total_steps == 24
    assert seen[-1].tokens_per_s > 0
    assert seen[-1].validation_loss is not None
