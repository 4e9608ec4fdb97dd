"""Checkpoints of PyTorch's own files: the same backbone as safetensors, and nothing in them is run."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import torch as safetensors
from torch import Tensor

from adavae.model.errors import AdapterSetExists, BackboneNotFound, ConfigError, WeightsCorrupted
from adavae.model.storage.conversion import convert_checkpoint
from adavae.model.storage.pretrained import load_backbone, save_backbone
from tests.tiny_text import tiny_pretrained

_BIN = "pytorch_model.bin"


@pytest.fixture
def tensors(tmp_path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint that is made at ``tmp_path / "old"``, as old files have them, and lacks them."""
    pretrained = tiny_pretrained()
    save_backbone(tmp_path / "old", pretrained.backbone, pretrained.tokenizer)
    path = tmp_path / "old" / "model.safetensors"
    stored = safetensors.load_file(path)
    path.unlink()
    stored["lm_head.weight"] = stored["transformer.wte.weight"]  # the same memory twice
    stored["transformer.h.0.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.uint8).tril()
    return {name.removeprefix("transformer."): tensor for name, tensor in stored.items()}


@pytest.fixture
def digest(tmp_path: Path) -> str:
    pretrained = tiny_pretrained()
    save_backbone(tmp_path / "whole", pretrained.backbone, pretrained.tokenizer)
    return load_backbone(tmp_path / "whole").digest


def test_a_converted_checkpoint_is_the_same_backbone(tmp_path: Path, tensors: dict[str, Tensor], digest: str) -> None:
    """Adapter sets that were trained over the one fit the other."""
    torch.save(tensors, tmp_path / "old" / _BIN)
    converted = convert_checkpoint(tmp_path / "old", tmp_path / "new")
    assert converted.digest == load_backbone(tmp_path / "new").digest == digest
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert not list(tmp_path.glob(".*"))


def test_shards_are_converted_like_one_file(tmp_path: Path, tensors: dict[str, Tensor], digest: str) -> None:
    files = {name: f"pytorch_model-0000{place % 2 + 1}-of-00002.bin" for place, name in enumerate(sorted(tensors))}
    for file in set(files.values()):
        torch.save({name: tensors[name] for name in tensors if files[name] == file}, tmp_path / "old" / file)
    index = {"metadata": {}, "weight_map": files}
    (tmp_path / "old" / f"{_BIN}.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert convert_checkpoint(tmp_path / "old", tmp_path / "new").digest == digest


class _Trap:
    """What a hostile file holds: something to be called when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def _hostile(tmp_path: Path, tensors: Mapping[str, Tensor]) -> dict[str, object]:
    return {
        "code": dict(tensors) | {"ln_f.weight": _Trap(tmp_path / "trap")},
        "code beside tensors": dict(tensors) | {"more": _Trap(tmp_path / "trap")},
        "a list": list(tensors.values()),
        "numbers": {"wte.weight": 3},
        "a sparse tensor": dict(tensors) | {"ln_f.weight": torch.eye(4).to_sparse()},
        "four terabytes": dict(tensors) | {"ln_f.weight": torch.zeros(1).expand(10**12)},
        "no numbers": dict(tensors) | {"ln_f.weight": torch.zeros(4, device="meta")},
        "complex numbers": dict(tensors) | {"ln_f.weight": torch.zeros(4, dtype=torch.complex64)},
        "other shapes": dict(tensors) | {"ln_f.weight": torch.zeros(3)},
        "a tensor too few": {name: tensor for name, tensor in tensors.items() if name != "ln_f.weight"},
    }


@pytest.mark.parametrize(
    "kind",
    [
        *("code", "code beside tensors", "a list", "numbers", "a sparse tensor", "four terabytes", "no numbers"),
        *("complex numbers", "other shapes", "a tensor too few"),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_not_run(tmp_path: Path, tensors: dict[str, Tensor], kind: str) -> None:
    torch.save(_hostile(tmp_path, tensors)[kind], tmp_path / "old" / _BIN)
    with pytest.raises(WeightsCorrupted) as caught:
        convert_checkpoint(tmp_path / "old", tmp_path / "new")
    assert not (tmp_path / "trap").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]
    assert str(tmp_path / "old") in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch advises to switch that off


@pytest.mark.usefixtures("tensors")
@pytest.mark.parametrize("content", [b"", b"not a pickle", b"PK\x03\x04 and no zip", b"\x80\x04\x95\xff\xff\xff\xff"])
def test_garbage_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "old" / _BIN).write_bytes(content)
    with pytest.raises(WeightsCorrupted, match="damaged"):
        convert_checkpoint(tmp_path / "old", tmp_path / "new")


def test_what_needs_no_conversion_or_has_no_place_is_said(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    with pytest.raises(BackboneNotFound, match=_BIN):
        convert_checkpoint(tmp_path / "old", tmp_path / "new")
    torch.save(tensors, tmp_path / "old" / _BIN)
    (tmp_path / "new").mkdir()
    with pytest.raises(AdapterSetExists, match="name another directory"):
        convert_checkpoint(tmp_path / "old", tmp_path / "new")
    pretrained = tiny_pretrained()
    save_backbone(tmp_path / "old", pretrained.backbone, pretrained.tokenizer)
    with pytest.raises(ConfigError, match="safetensors already"):
        convert_checkpoint(tmp_path / "old", tmp_path / "other")
