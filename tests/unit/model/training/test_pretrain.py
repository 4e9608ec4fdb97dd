"""A whole pretraining run: what it learns, reports and writes, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from adavae.model.errors import ConfigError, DatasetError
from adavae.model.storage.pretrained import load_backbone
from adavae.model.training.language_model import held_out_perplexity
from adavae.model.training.pretrain import PretrainProgress, pretrain
from tests.unit.model.training.tiny_pretraining import CONFIG, made_up_texts


def test_pretraining_learns_its_texts_and_writes_a_checkpoint(source: Path, tmp_path: Path) -> None:
    reports: list[PretrainProgress] = []
    output = tmp_path / "out"
    trained = pretrain(replace(CONFIG, max_steps=60), [source], output, on_progress=reports.append)
    assert [report.step for report in reports][:3] == [1, 3, 10]
    assert reports[-1].loss < 0.5 * reports[0].loss
    assert reports[-1].eta_s == 0.0 and reports[-1].tokens_per_s > 0
    assert sorted(path.name for path in output.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert load_backbone(output).digest == trained.digest
    seen, unseen = held_out_perplexity(trained, made_up_texts(20, 2)), held_out_perplexity(trained, ["%&/ qzx 9"])
    assert seen.per_token < unseen.per_token


def test_an_output_that_holds_a_backbone_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds a backbone already"):
        pretrain(CONFIG, [source], tmp_path)


def test_no_sources_and_two_shapes_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one file"):
        pretrain(CONFIG, [], tmp_path / "out")
    with pytest.raises(ConfigError, match="not both"):
        pretrain(CONFIG, [source], tmp_path / "out", init_from=tmp_path)


def test_a_run_begins_when_everything_is_checked(source: Path, tmp_path: Path) -> None:
    began: list[bool] = []
    with pytest.raises(DatasetError):
        pretrain(CONFIG, [source, tmp_path / "none.txt"], tmp_path / "out", on_begin=lambda: began.append(True))
    assert began == []
    pretrain(replace(CONFIG, max_steps=1), [source], tmp_path / "out", on_begin=lambda: began.append(True))
    assert began == [True]
