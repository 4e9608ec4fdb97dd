"""A backbone as a language model: separate texts, perplexity, a compiler that fails."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from adavae.model.errors import (
    DatasetError,
    SequenceTooLong,
)
from adavae.model.training.language_model import (
    compiled,
    held_out_perplexity,
    next_token_loss,
    separate_texts,
)
from adavae.model.training.pretrain import pretrain
from adavae.model.training.pretrain_start import fresh_backbone
from tests.unit.model.training.tiny_pretraining import CONFIG, SHAPE


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


def test_a_perplexity_beyond_the_largest_float_is_infinite(source: Path, tmp_path: Path) -> None:
    """An OverflowError ended the command when the backbone was finished."""
    trained = pretrain(replace(CONFIG, max_steps=1), [source], tmp_path / "out")
    with torch.no_grad():
        trained.backbone.ln_f.weight.mul_(1e5)
    measured = held_out_perplexity(trained, ["thecatseesacar"])
    assert measured.per_word == math.inf


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


def test_where_the_compiler_fails_training_goes_on_without_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def broken(*arguments: Any) -> torch.Tensor:
        asked.append(arguments)
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    backbone, row = fresh_backbone(SHAPE, seed=1), torch.tensor([[0, 5, 6]])
    hidden_states = compiled(backbone.hidden_states)
    for _ in range(2):
        torch.testing.assert_close(hidden_states(row, None, None), backbone.hidden_states(row))
    assert len(asked) == 1
    assert "no C compiler" in caplog.text
