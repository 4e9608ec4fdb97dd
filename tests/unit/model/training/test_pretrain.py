"""Pretraining on a few invented sentences: windows, exact resume, stopping, divergence, perplexity."""

import lzma
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from adavae.model.config import BackboneConfig
from adavae.model.errors import (
    CheckpointMismatch,
    ConfigError,
    DatasetError,
    SequenceTooLong,
    TrainingDiverged,
    TrainingInterrupted,
)
from adavae.model.storage.pretrained import PretrainedBackbone, load_backbone
from adavae.model.storage.tokenizer import END_OF_TEXT
from adavae.model.training.config import Precision
from adavae.model.training.corpus import Dataset
from adavae.model.training.language_model import held_out_perplexity, next_token_loss, separate_texts
from adavae.model.training.pretrain import (
    PretrainConfig,
    PretrainProgress,
    fresh_backbone,
    pretrain,
)
from adavae.model.training.token_windows import WindowStream, repeated, token_stream, train_tokenizer

SHAPE = BackboneConfig(vocab_size=300, n_positions=32, n_embd=32, n_layer=2, n_head=2, n_inner=64)
CONFIG = PretrainConfig(
    backbone=SHAPE,
    epochs=100.0,
    max_steps=14,
    batch_size=4,
    window=16,
    long_window=32,
    long_share=0.3,
    learning_rate=1e-2,
    warmup_steps=2,
    checkpoint_every=3,
    precision=Precision.FLOAT32,
)


def _texts(num: int, seed: int) -> list[str]:
    pick = random.Random(seed).choice
    return [
        f"the {pick(['cat', 'dog', 'owl'])} {pick(['sees', 'hears'])} a {pick(['tree', 'car'])}" for _ in range(num)
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(_texts(80, 1)), encoding="utf-8")
    return path


def _dataset(texts: list[str]) -> Dataset:
    return Dataset.of(texts, None, "texts.txt")


def _asked(num_refusals: int, then: Callable[[], bool]) -> Callable[[], bool]:
    """A ``should_stop`` that says no a few times, then what ``then`` does."""
    answers = iter([False] * num_refusals)
    return lambda: next(answers, None) is None and then()


def _kill() -> bool:
    raise KeyboardInterrupt  # no chance to save


def _assert_same_weights(one: PretrainedBackbone, other: PretrainedBackbone) -> None:
    assert one.digest == other.digest
    assert one.tokenizer.digest == other.tokenizer.digest


def test_pretraining_learns_its_texts_and_writes_a_checkpoint(source: Path, tmp_path: Path) -> None:
    reports: list[PretrainProgress] = []
    output = tmp_path / "out"
    trained = pretrain(replace(CONFIG, max_steps=60), [source], output, on_progress=reports.append)
    assert [report.step for report in reports] == [10, 20, 30, 40, 50, 60]
    assert reports[-1].loss < 0.5 * reports[0].loss
    assert reports[-1].eta_s == 0.0 and reports[-1].tokens_per_s > 0
    assert sorted(path.name for path in output.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert load_backbone(output).digest == trained.digest
    seen, unseen = held_out_perplexity(trained, _texts(20, 2)), held_out_perplexity(trained, ["%&/ qzx 9"])
    assert seen.per_token < unseen.per_token


@pytest.mark.parametrize("num_steps", [5, 12])  # in the phase of short windows, and of long ones
def test_a_killed_run_resumes_to_the_same_weights(source: Path, tmp_path: Path, num_steps: int) -> None:
    unbroken = pretrain(CONFIG, [source], tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        pretrain(CONFIG, [source], tmp_path / "broken", should_stop=_asked(num_steps, _kill))
    _assert_same_weights(pretrain(CONFIG, [source], tmp_path / "broken", resume=True), unbroken)


def test_a_stopped_run_keeps_its_last_step_and_resumes_to_the_same_weights(source: Path, tmp_path: Path) -> None:
    unbroken = pretrain(CONFIG, [source], tmp_path / "unbroken")
    with pytest.raises(TrainingInterrupted, match="step 7 of 14"):
        pretrain(CONFIG, [source], tmp_path / "broken", should_stop=_asked(7, lambda: True))
    reports: list[PretrainProgress] = []
    resumed = pretrain(CONFIG, [source], tmp_path / "broken", resume=True, on_progress=reports.append)
    assert [report.step for report in reports] == [10, 14]
    _assert_same_weights(resumed, unbroken)


def test_a_run_from_a_checkpoint_keeps_its_shape_and_tokenizer_and_resumes(source: Path, tmp_path: Path) -> None:
    first = pretrain(CONFIG, [source], tmp_path / "first")
    config = replace(CONFIG, backbone=None, learning_rate=1e-3)
    second = pretrain(config, [source], tmp_path / "second", init_from=tmp_path / "first")
    assert second.backbone.config == first.backbone.config
    assert second.tokenizer.digest == first.tokenizer.digest
    assert second.digest != first.digest
    assert held_out_perplexity(second, _texts(20, 2)).per_token < held_out_perplexity(first, _texts(20, 2)).per_token
    with pytest.raises(TrainingInterrupted):
        pretrain(
            config,
            [source],
            tmp_path / "third",
            init_from=tmp_path / "first",
            should_stop=_asked(4, lambda: True),
        )
    third = pretrain(config, [source], tmp_path / "third", init_from=tmp_path / "first", resume=True)
    _assert_same_weights(third, second)


def test_resuming_refuses_other_settings_other_texts_and_another_beginning(source: Path, tmp_path: Path) -> None:
    output, other = tmp_path / "out", tmp_path / "other.txt"
    other.write_text("\n".join(_texts(80, 9)), encoding="utf-8")
    with pytest.raises(TrainingInterrupted):
        pretrain(CONFIG, [source], output, should_stop=_asked(4, lambda: True))
    with pytest.raises(CheckpointMismatch, match="other settings"):
        pretrain(replace(CONFIG, learning_rate=1e-3), [source], output, resume=True)
    with pytest.raises(CheckpointMismatch, match="other texts"):
        pretrain(CONFIG, [other], output, resume=True)


def test_a_run_with_nothing_to_resume_starts_afresh(source: Path, tmp_path: Path) -> None:
    _assert_same_weights(
        pretrain(CONFIG, [source], tmp_path / "one", resume=True), pretrain(CONFIG, [source], tmp_path / "two")
    )


def test_compressed_texts_are_read_as_plain_ones(source: Path, tmp_path: Path) -> None:
    packed = tmp_path / "texts.txt.xz"
    packed.write_bytes(lzma.compress(source.read_bytes()))
    config = replace(CONFIG, max_steps=3)
    _assert_same_weights(pretrain(config, [packed], tmp_path / "one"), pretrain(config, [source], tmp_path / "two"))


def test_bfloat16_learns_as_float32_does_and_resumes_exactly(source: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, precision=Precision.BFLOAT16)
    half, whole = pretrain(config, [source], tmp_path / "half"), pretrain(CONFIG, [source], tmp_path / "whole")
    assert half.digest != whole.digest
    one, other = (held_out_perplexity(trained, _texts(20, 2)).per_token for trained in (half, whole))
    assert one == pytest.approx(other, rel=0.05)
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, [source], tmp_path / "broken", should_stop=_asked(8, _kill))
    _assert_same_weights(pretrain(config, [source], tmp_path / "broken", resume=True), half)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adavae.model.training import pretrain as module

    computed, steps = module.next_token_loss, iter(range(100))

    def broken_at_the_fifth(*arguments: Any, **named: Any) -> torch.Tensor:
        return computed(*arguments, **named) * (float("nan") if next(steps) == 4 else 1.0)

    monkeypatch.setattr(module, "next_token_loss", broken_at_the_fifth)
    with pytest.raises(TrainingDiverged, match=r"step 5 of 14.*step-000000003.*Lower the learning rate"):
        pretrain(CONFIG, [source], tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()


def test_an_output_that_holds_a_backbone_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds a backbone already"):
        pretrain(CONFIG, [source], tmp_path)


def test_no_sources_and_two_shapes_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one file"):
        pretrain(CONFIG, [], tmp_path / "out")
    with pytest.raises(ConfigError, match="not both"):
        pretrain(CONFIG, [source], tmp_path / "out", init_from=tmp_path)


def test_texts_shorter_than_a_window_are_refused(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("a\nb\n")
    with pytest.raises(DatasetError, match=r"5 tokens.*add texts"):
        pretrain(CONFIG, [tmp_path / "few.txt"], tmp_path / "out")


def test_a_window_that_does_not_fit_the_context_of_the_checkpoint_is_refused(source: Path, tmp_path: Path) -> None:
    pretrain(replace(CONFIG, max_steps=1), [source], tmp_path / "first")
    config = replace(CONFIG, backbone=None, long_window=33)
    with pytest.raises(ConfigError, match="long_window is 33: must be at most n_positions"):
        pretrain(config, [source], tmp_path / "second", init_from=tmp_path / "first")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0.0),
        ("max_steps", 0),
        ("batch_size", 0),
        ("window", 33),
        ("long_window", 64),
        ("long_share", 1.1),
        ("learning_rate", float("nan")),
        ("weight_decay", -0.1),
        ("warmup_steps", -1),
        ("max_gradient_norm", 0.0),
        ("checkpoint_every", 0),
        ("seed", -1),
        ("backbone", replace(SHAPE, vocab_size=256)),
        ("backbone", replace(SHAPE, eos_token_id=1)),
    ],
)
def test_a_setting_outside_its_rule_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError):
        replace(CONFIG, **{field: value})


def test_an_epoch_of_windows_covers_the_stream_once_and_in_another_order_each_time() -> None:
    stream = WindowStream(np.arange(100, dtype=np.int32), seed=3)
    epochs = [[stream.windows_at(3 * epoch + place, 8, 4) for place in range(3)] for epoch in range(2)]
    for epoch in epochs:
        rows = torch.cat(epoch)  # (12, 9)
        assert rows.shape == (12, 9)
        assert torch.equal(rows[:, 1:], rows[:, :-1] + 1)
        first = int(rows.min())
        assert sorted(rows[:, 0].tolist()) == list(range(first, first + 96, 8))
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))
    again = WindowStream(np.arange(100, dtype=np.int32), seed=3)
    assert torch.equal(again.windows_at(4, 8, 4), epochs[1][1])


def test_a_stream_shorter_than_a_batch_gives_the_windows_it_has() -> None:
    assert WindowStream(np.arange(20, dtype=np.int32), seed=0).windows_at(5, 8, 64).shape == (2, 9)


def test_the_token_stream_has_end_of_text_before_each_text_and_at_the_end() -> None:
    datasets = [_dataset(["one two", "three"]), _dataset(["four"])]
    tokenizer = train_tokenizer(datasets, 300)
    one, three, four = tokenizer.encode_many(["one two", "three", "four"])
    eos = tokenizer.eos_token_id
    assert token_stream(datasets, tokenizer).tolist() == [eos, *one, eos, *three, eos, *four, eos]


def test_a_trained_tokenizer_has_end_of_text_first_and_can_write_every_text() -> None:
    tokenizer = train_tokenizer([_dataset(_texts(50, 1))], 280)
    assert tokenizer.eos_token_id == 0
    assert tokenizer.vocab_size == 280
    for text in ("the cat", "Größe 漢字 🦉\t!", END_OF_TEXT):
        token_ids = tokenizer.encode(text)
        assert 0 not in token_ids
        assert tokenizer.decode(token_ids) == text


def test_hidden_states_are_what_the_logits_are_made_of() -> None:
    backbone = fresh_backbone(SHAPE, seed=1)
    token_ids = torch.randint(0, 300, (2, 7), generator=torch.Generator().manual_seed(2))
    expected = backbone(token_ids)
    torch.testing.assert_close(backbone.hidden_states(token_ids) @ backbone.lm_head.weight.T, expected)


def test_perplexity_is_that_of_each_text_alone(source: Path, tmp_path: Path) -> None:
    trained = pretrain(CONFIG, [source], tmp_path / "out")
    texts = ["the cat sees a car", "owl", "the dog hears the tree and the tree"]
    nll, num_tokens = 0.0, 0
    for text in texts:
        ids = [0, *trained.tokenizer.encode(text), 0]
        logits = trained.backbone(torch.tensor([ids[:-1]]))[0]
        nll += float(F.cross_entropy(logits, torch.tensor(ids[1:]), reduction="sum"))
        num_tokens += len(ids) - 1
    measured = held_out_perplexity(trained, texts)
    assert measured.num_texts == 3
    assert measured.per_token == pytest.approx(math.exp(nll / num_tokens), rel=1e-5)
    assert measured.per_word == pytest.approx(math.exp(nll / (5 + 1 + 8 + 3)), rel=1e-5)


def test_perplexity_refuses_no_texts_and_texts_beyond_the_context(source: Path, tmp_path: Path) -> None:
    trained = pretrain(replace(CONFIG, max_steps=1), [source], tmp_path / "out")
    with pytest.raises(DatasetError, match="at least 1"):
        held_out_perplexity(trained, [])
    with pytest.raises(SequenceTooLong, match="the limit is 31"):
        held_out_perplexity(trained, ["the " * 100])


def test_texts_of_a_window_do_not_see_each_other() -> None:
    """Each is read as if it stood alone, wherever it stands in the window."""
    backbone = fresh_backbone(SHAPE, seed=1)
    with torch.no_grad():
        backbone.wpe.weight.normal_(generator=torch.Generator().manual_seed(0))
    texts = [[7, 8, 9], [0, 5, 6], [0, 7, 8, 9, 4]]  # the first one has begun before the window
    row = torch.tensor([[token for text in texts for token in text]])
    positions, mask = separate_texts(row, 0)
    together = backbone.hidden_states(row, positions, mask)
    alone = torch.cat([backbone.hidden_states(torch.tensor([text])) for text in texts], 1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    windows = torch.cat([row, torch.tensor([[3]])], 1)
    separate, continuous = (next_token_loss(backbone, windows, is_separate=flag) for flag in (True, False))
    expected = F.cross_entropy((alone @ backbone.lm_head.weight.T)[0], windows[0, 1:])
    torch.testing.assert_close(separate, expected)
    assert abs((separate - continuous).item()) > 1e-4


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


def test_a_source_is_seen_as_often_as_asked() -> None:
    dataset = _dataset([f"text {number}" for number in range(10)])
    texts = repeated(dataset, 2.3, seed=1).texts
    assert len(texts) == 23
    assert {texts.count(text) for text in dataset.texts} == {2, 3}
    assert repeated(dataset, 2.3, seed=1).texts == texts
    assert repeated(dataset, 2.3, seed=2).texts != texts
    assert len(repeated(dataset, 0.5, seed=0).texts) == 5


def test_repeats_belong_to_the_run(source: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingInterrupted):
        pretrain(CONFIG, [source], tmp_path / "out", repeats=[1.5], should_stop=_asked(4, lambda: True))
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


def test_where_the_compiler_fails_training_goes_on_without_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from adavae.model.training import pretrain as module

    asked = []

    def broken(*arguments: Any) -> torch.Tensor:
        asked.append(arguments)
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    backbone, row = fresh_backbone(SHAPE, seed=1), torch.tensor([[0, 5, 6]])
    hidden_states = module._compiled(backbone)
    for _ in range(2):
        torch.testing.assert_close(hidden_states(row, None, None), backbone.hidden_states(row))
    assert len(asked) == 1
    assert "no C compiler" in caplog.text
