"""Our GPT-2 against transformers': the same logits from the same files, and files that transformers reads back."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from adavae.model.backbone import Backbone
from adavae.model.config import Activation, BackboneConfig
from adavae.model.storage.pretrained import load_backbone, save_backbone
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.corpus import Dataset
from adavae.model.training.pretrain_start import fresh_backbone
from adavae.model.training.token_windows import train_tokenizer

transformers = pytest.importorskip("transformers")

BUNDLED = Path(__file__).parents[2] / "weights" / "backbone"
needs_bundled = pytest.mark.skipif(
    not (BUNDLED / "model.safetensors").is_file(), reason="the bundled backbone is not in this checkout"
)
TEXTS = ["The waiter was kind, the soup was cold.", "a", "Größe 漢字 🦉", "<|endoftext|>"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([Dataset.of(["the cat sees the tree", "the tree"] * 9, None, "texts.txt")], 260)


def _theirs(directory: Path) -> Any:
    model = transformers.GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float32)
    return model.eval()


@torch.no_grad()
def _assert_same_logits(ours: Backbone, theirs: Any, num_tokens: int) -> None:
    generator = torch.Generator().manual_seed(8)
    token_ids = torch.randint(0, ours.config.vocab_size, (2, num_tokens), generator=generator)
    expected: Tensor = theirs(token_ids).logits
    assert expected.std() > 0.1  # two models that say nothing would agree
    torch.testing.assert_close(ours(token_ids), expected, atol=1e-4, rtol=0.0)


def _save_theirs(directory: Path, tokenizer: Tokenizer, **options: Any) -> None:
    """A tiny random checkpoint as transformers writes it."""
    config = transformers.GPT2Config(
        vocab_size=270, n_positions=24, n_embd=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0, **options
    )
    model = transformers.GPT2LMHeadModel(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(directory)
    (directory / "tokenizer.json").write_text(tokenizer.content, encoding="utf-8")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_inner": 40},
        {"tie_word_embeddings": False},
        {"layer_norm_epsilon": 1e-2},
        *({"activation_function": str(activation)} for activation in Activation),
    ],
    ids=str,
)
def test_a_checkpoint_of_transformers_gives_the_same_logits(
    tmp_path: Path, tokenizer: Tokenizer, options: dict[str, Any]
) -> None:
    _save_theirs(tmp_path, tokenizer, **options)
    ours = load_backbone(tmp_path).backbone
    _assert_same_logits(ours, _theirs(tmp_path), num_tokens=24)
    assert (ours.lm_head.weight is ours.wte.weight) is options.get("tie_word_embeddings", True)


@pytest.mark.parametrize("is_tied", [True, False])
def test_what_we_save_transformers_reads_as_we_do(tmp_path: Path, tokenizer: Tokenizer, is_tied: bool) -> None:
    config = BackboneConfig(
        vocab_size=270, n_positions=24, n_embd=32, n_layer=3, n_head=4, n_inner=48, tie_word_embeddings=is_tied
    )
    backbone = fresh_backbone(config, seed=2)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.mul_(10.0)
    save_backbone(tmp_path, backbone, tokenizer)
    theirs, report = transformers.GPT2LMHeadModel.from_pretrained(
        tmp_path, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values()), report
    _assert_same_logits(load_backbone(tmp_path).backbone, theirs.eval(), num_tokens=24)


def test_a_checkpoint_of_transformers_survives_our_saving(tmp_path: Path, tokenizer: Tokenizer) -> None:
    _save_theirs(tmp_path / "theirs", tokenizer)
    loaded = load_backbone(tmp_path / "theirs")
    save_backbone(tmp_path / "ours", loaded.backbone.half(), tokenizer)
    ours, theirs = _theirs(tmp_path / "ours").state_dict(), _theirs(tmp_path / "theirs").state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor.half().float()), name


@needs_bundled
def test_the_bundled_backbone_gives_the_same_logits() -> None:
    _assert_same_logits(load_backbone(BUNDLED).backbone, _theirs(BUNDLED), num_tokens=96)


@needs_bundled
def test_the_bundled_tokenizer_gives_the_same_tokens() -> None:
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(BUNDLED / "tokenizer.json"))
    ours = load_backbone(BUNDLED).tokenizer
    for text in TEXTS[:-1]:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)
    assert ours.eos_token_id not in ours.encode(TEXTS[-1])  # theirs reads it as the token
