"""Steps of pretraining: exact resume, precision, divergence, weight decay."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from adavae.model.errors import (
    DatasetError,
    TrainingDiverged,
    TrainingInterrupted,
)
from adavae.model.training.config import Precision
from adavae.model.training.language_model import held_out_perplexity
from adavae.model.training.pretrain import PretrainProgress, pretrain
from adavae.model.training.pretrain_run import PretrainRun
from adavae.model.training.pretrain_start import fresh_backbone
from tests.unit.model.training.tiny_pretraining import (
    CONFIG,
    SHAPE,
    after_refusals,
    assert_same_weights,
    killed,
    made_up_texts,
)

_NO_TOKENIZER: Any = None  # for runs that take no step


@pytest.mark.parametrize("num_steps", [5, 12])  # in the phase of short windows, and of long ones
def test_a_killed_run_resumes_to_the_same_weights(source: Path, tmp_path: Path, num_steps: int) -> None:
    unbroken = pretrain(CONFIG, [source], tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        pretrain(CONFIG, [source], tmp_path / "broken", should_stop=after_refusals(num_steps, killed))
    assert_same_weights(pretrain(CONFIG, [source], tmp_path / "broken", resume=True), unbroken)


def test_a_stopped_run_keeps_its_last_step_and_resumes_to_the_same_weights(source: Path, tmp_path: Path) -> None:
    unbroken = pretrain(CONFIG, [source], tmp_path / "unbroken")
    with pytest.raises(TrainingInterrupted, match="step 7 of 14"):
        pretrain(CONFIG, [source], tmp_path / "broken", should_stop=after_refusals(7, lambda: True))
    reports: list[PretrainProgress] = []
    resumed = pretrain(CONFIG, [source], tmp_path / "broken", resume=True, on_progress=reports.append)
    assert [report.step for report in reports] == [8, 10, 14]
    assert_same_weights(resumed, unbroken)


def test_a_step_of_long_windows_has_no_more_tokens_than_one_of_short_ones(tmp_path: Path) -> None:
    tokens = np.arange(2000, dtype=np.int32) % SHAPE.vocab_size
    config = replace(CONFIG, precision=Precision.FLOAT32)
    tokenizer: Any = SimpleNamespace(eos_token_id=0)
    run = PretrainRun(config, fresh_backbone(SHAPE, 0), tokenizer, tokens, {}, tmp_path)
    sizes = [run.take_step()[1] for _ in range(run.total_steps)]
    assert set(sizes) == {CONFIG.batch_size * CONFIG.window}


def test_bfloat16_learns_as_float32_does_and_resumes_exactly(source: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, precision=Precision.BFLOAT16)
    half, whole = pretrain(config, [source], tmp_path / "half"), pretrain(CONFIG, [source], tmp_path / "whole")
    assert half.digest != whole.digest
    one, other = (held_out_perplexity(trained, made_up_texts(20, 2)).per_token for trained in (half, whole))
    assert one == pytest.approx(other, rel=0.05)
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, [source], tmp_path / "broken", should_stop=after_refusals(8, killed))
    assert_same_weights(pretrain(config, [source], tmp_path / "broken", resume=True), half)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adavae.model.training import pretrain_run as module

    computed, steps = module.next_token_loss, iter(range(100))

    def broken_at_the_fifth(*arguments: Any, **named: Any) -> torch.Tensor:
        return computed(*arguments, **named) * (float("nan") if next(steps) == 4 else 1.0)

    monkeypatch.setattr(module, "next_token_loss", broken_at_the_fifth)
    with pytest.raises(TrainingDiverged, match=r"step 5 of 14.*step-000000003.*Lower the learning rate"):
        pretrain(CONFIG, [source], tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize("is_separate", [True, False])
def test_a_run_with_hidden_tokens_and_dropout_learns_and_resumes_to_the_same_weights(
    source: Path, tmp_path: Path, is_separate: bool
) -> None:
    config = replace(CONFIG, masked_share=0.5, dropout=0.1, is_separate=is_separate)
    reports: list[PretrainProgress] = []
    unbroken = pretrain(replace(config, max_steps=40), [source], tmp_path / "unbroken", on_progress=reports.append)
    assert reports[-1].loss < 0.7 * reports[0].loss
    with pytest.raises(KeyboardInterrupt):
        pretrain(replace(config, max_steps=40), [source], tmp_path / "broken", should_stop=after_refusals(8, killed))
    resumed = pretrain(replace(config, max_steps=40), [source], tmp_path / "broken", resume=True)
    assert_same_weights(resumed, unbroken)


def test_a_continuous_run_takes_other_steps(source: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, max_steps=3)
    separate = pretrain(config, [source], tmp_path / "separate")
    continuous = pretrain(replace(config, is_separate=False), [source], tmp_path / "continuous")
    assert separate.digest != continuous.digest


def test_weight_decay_shrinks_matrices_and_embeddings(source: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, learning_rate=1e-2, max_steps=10)
    decayed, free = (
        pretrain(replace(config, weight_decay=decay), [source], tmp_path / str(decay)).backbone for decay in (5.0, 0.0)
    )
    for name in ("wte.weight", "blocks.0.mlp.c_fc.weight"):
        assert decayed.get_parameter(name).norm() < 0.95 * free.get_parameter(name).norm()


def test_texts_shorter_than_a_window_are_refused(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("a\nb\n")
    with pytest.raises(DatasetError, match=r"5 tokens.*add texts"):
        pretrain(CONFIG, [tmp_path / "few.txt"], tmp_path / "out")


def test_a_stream_of_few_windows_is_passed_over_as_often_as_asked(tmp_path: Path) -> None:
    """A step had fewer windows than ``batch_size`` and the run no more steps: ten passes were three."""
    config = replace(CONFIG, epochs=10.0, max_steps=None, batch_size=64)
    tokens = np.arange(1, 201, dtype=np.int32)  # twelve windows of 16, six of 32
    run = PretrainRun(config, fresh_backbone(SHAPE, 0), _NO_TOKENIZER, tokens, {}, tmp_path)
    assert run.total_steps == 10
    enough = PretrainRun(replace(config, batch_size=4), fresh_backbone(SHAPE, 0), _NO_TOKENIZER, tokens, {}, tmp_path)
    assert enough.total_steps == 31
