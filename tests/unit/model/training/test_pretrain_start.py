"""What a pretraining run starts from, and which checkpoint it goes on from."""

import lzma
from dataclasses import replace
from pathlib import Path

import pytest

from adavae.model.errors import (
    CheckpointMismatch,
    ConfigError,
    TrainingInterrupted,
)
from adavae.model.training.language_model import held_out_perplexity
from adavae.model.training.pretrain import pretrain
from tests.unit.model.training.tiny_pretraining import CONFIG, SHAPE, after_refusals, assert_same_weights, made_up_texts


def test_a_run_from_a_checkpoint_keeps_its_shape_and_tokenizer_and_resumes(source: Path, tmp_path: Path) -> None:
    first = pretrain(CONFIG, [source], tmp_path / "first")
    config = replace(CONFIG, backbone=None, learning_rate=1e-3)
    second = pretrain(config, [source], tmp_path / "second", init_from=tmp_path / "first")
    assert second.backbone.config == first.backbone.config
    assert second.tokenizer.digest == first.tokenizer.digest
    assert second.digest != first.digest
    assert (
        held_out_perplexity(second, made_up_texts(20, 2)).per_token
        < held_out_perplexity(first, made_up_texts(20, 2)).per_token
    )
    with pytest.raises(TrainingInterrupted):
        pretrain(
            config,
            [source],
            tmp_path / "third",
            init_from=tmp_path / "first",
            should_stop=after_refusals(4, lambda: True),
        )
    third = pretrain(config, [source], tmp_path / "third", init_from=tmp_path / "first", resume=True)
    assert_same_weights(third, second)


def test_resuming_refuses_other_settings_other_texts_and_another_beginning(source: Path, tmp_path: Path) -> None:
    output, other = tmp_path / "out", tmp_path / "other.txt"
    other.write_text("\n".join(made_up_texts(80, 9)), encoding="utf-8")
    with pytest.raises(TrainingInterrupted):
        pretrain(CONFIG, [source], output, should_stop=after_refusals(4, lambda: True))
    with pytest.raises(CheckpointMismatch, match="other settings"):
        pretrain(replace(CONFIG, learning_rate=1e-3), [source], output, resume=True)
    with pytest.raises(CheckpointMismatch, match="other texts"):
        pretrain(CONFIG, [other], output, resume=True)


def test_a_run_with_nothing_to_resume_starts_afresh(source: Path, tmp_path: Path) -> None:
    assert_same_weights(
        pretrain(CONFIG, [source], tmp_path / "one", resume=True), pretrain(CONFIG, [source], tmp_path / "two")
    )


def test_compressed_texts_are_read_as_plain_ones(source: Path, tmp_path: Path) -> None:
    packed = tmp_path / "texts.txt.xz"
    packed.write_bytes(lzma.compress(source.read_bytes()))
    config = replace(CONFIG, max_steps=3)
    assert_same_weights(pretrain(config, [packed], tmp_path / "one"), pretrain(config, [source], tmp_path / "two"))


def test_a_window_that_does_not_fit_the_context_of_the_checkpoint_is_refused(source: Path, tmp_path: Path) -> None:
    pretrain(replace(CONFIG, max_steps=1), [source], tmp_path / "first")
    config = replace(CONFIG, backbone=None, long_window=33)
    with pytest.raises(ConfigError, match="long_window is 33: must be at most n_positions"):
        pretrain(config, [source], tmp_path / "second", init_from=tmp_path / "first")


def test_repeats_belong_to_the_run(source: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted):
        pretrain(CONFIG, [source], tmp_path / "out", repeats=[1.5], should_stop=after_refusals(4, lambda: True))
    with pytest.raises(CheckpointMismatch, match="repeats"):
        pretrain(CONFIG, [source], tmp_path / "out", repeats=[2.0], resume=True)
    with pytest.raises(ConfigError, match="one number for each of the 1 sources"):
        pretrain(CONFIG, [source], tmp_path / "other", repeats=[1.0, 2.0])
    with pytest.raises(ConfigError, match="repeats is nan"):
        pretrain(CONFIG, [source], tmp_path / "other", repeats=[float("nan")])


def test_a_fresh_backbone_takes_a_tokenizer_over(source: Path, tmp_path: Path) -> None:
    first = pretrain(replace(CONFIG, max_steps=1), [source], tmp_path / "first")
    other = tmp_path / "other.txt"
    other.write_text("\n".join(["zebras graze", "quick foxes jump"] * 40), encoding="utf-8")
    config = replace(CONFIG, backbone=replace(SHAPE, n_embd=64), max_steps=1)
    second = pretrain(config, [other], tmp_path / "second", tokenizer_from=tmp_path / "first")
    assert second.tokenizer.digest == first.tokenizer.digest
    assert second.backbone.config.n_embd == 64
    with pytest.raises(ConfigError, match="tokenizer_from"):
        pretrain(
            replace(config, backbone=None),
            [other],
            tmp_path / "third",
            init_from=tmp_path / "first",
            tokenizer_from=tmp_path / "first",
        )
