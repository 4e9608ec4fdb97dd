"""A checkpoint as files: one digest for the same weights however they were saved, and shards read like one file."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors import torch as safetensors
from torch import Tensor

from adavae.model.errors import WeightsCorrupted
from adavae.model.storage.checkpoint_files import CheckpointDigests, checkpoint_digests, read_config, weight_files
from adavae.model.storage.pretrained import load_backbone, save_backbone
from tests.tiny_text import tiny_pretrained

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_MASK = torch.ones(1, 1, 8, 8, dtype=torch.uint8).tril()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    pretrained = tiny_pretrained()
    directory = tmp_path / "checkpoint"
    save_backbone(directory, pretrained.backbone, pretrained.tokenizer)
    return directory


def _digests(directory: Path) -> CheckpointDigests:
    return checkpoint_digests(read_config(directory), weight_files(directory))


def _tensors(directory: Path) -> dict[str, Tensor]:
    return safetensors.load_file(directory / _WEIGHTS)


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.write_bytes(safetensors.save({name: tensor.contiguous().clone() for name, tensor in tensors.items()}))


def _shard(directory: Path, num_shards: int) -> None:
    """Saves the tensors anew in several files, dealt out in turns."""
    tensors = _tensors(directory)
    (directory / _WEIGHTS).unlink()
    weight_map = {
        name: f"model-{number % num_shards + 1:05}-of-{num_shards:05}.safetensors"
        for number, name in enumerate(sorted(tensors))
    }
    for file in sorted(set(weight_map.values())):
        _save(directory / file, {name: tensors[name] for name in tensors if weight_map[name] == file})
    (directory / _INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}


def _with_masks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        **tensors,
        "transformer.h.0.attn.bias": _MASK,
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
    }


def _with_output_embedding(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**tensors, "lm_head.weight": tensors["transformer.wte.weight"]}


def _all_of_it(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return _without_prefix(_with_masks(_with_output_embedding(tensors)))


@pytest.mark.parametrize("saved_as", [_without_prefix, _with_masks, _with_output_embedding, _all_of_it])
def test_the_same_weights_have_one_digest_however_they_were_saved(
    checkpoint: Path, saved_as: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    """Regression: an adapter set trained over one layout of a checkpoint refused the other."""
    before, content = load_backbone(checkpoint), (checkpoint / _WEIGHTS).read_bytes()
    _save(checkpoint / _WEIGHTS, saved_as(_tensors(checkpoint)))
    assert (checkpoint / _WEIGHTS).read_bytes() != content
    after = load_backbone(checkpoint)
    assert after.digest == before.digest
    assert after.former_digest != before.former_digest
    assert after.digests == (after.digest, after.former_digest)


def test_a_checkpoint_as_adavae_saves_it_has_one_digest(checkpoint: Path) -> None:
    digests = _digests(checkpoint)
    assert digests.digest == digests.former_digest
    assert load_backbone(checkpoint).digests == (digests.digest,)


def test_the_former_digest_is_over_the_tensors_as_they_are_stored(checkpoint: Path) -> None:
    """Adapter sets of before carry it."""
    _save(checkpoint / _WEIGHTS, _all_of_it(_tensors(checkpoint)))
    expected = hashlib.sha256(json.dumps(read_config(checkpoint).to_hugging_face(), sort_keys=True).encode())
    for name, tensor in sorted(_tensors(checkpoint).items()):
        expected.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        expected.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    assert _digests(checkpoint).former_digest == expected.hexdigest()


def test_an_output_embedding_of_its_own_counts(checkpoint: Path) -> None:
    config = checkpoint / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_bytes()), "tie_word_embeddings": False}))
    _save(checkpoint / _WEIGHTS, _with_output_embedding(_tensors(checkpoint)))
    before = _digests(checkpoint).digest
    _save(checkpoint / _WEIGHTS, {**_tensors(checkpoint), "lm_head.weight": torch.zeros(300, 32).half()})
    assert _digests(checkpoint).digest != before


@pytest.mark.parametrize("num_shards", [1, 3])
def test_shards_are_read_like_one_file(checkpoint: Path, num_shards: int) -> None:
    before = load_backbone(checkpoint)
    _shard(checkpoint, num_shards)
    after = load_backbone(checkpoint)
    assert after.digest == before.digest
    for (name, weight), expected in zip(after.backbone.named_parameters(), before.backbone.parameters(), strict=True):
        assert torch.equal(weight, expected), name


def test_a_shard_that_is_missing_is_named(checkpoint: Path) -> None:
    _shard(checkpoint, 2)
    (checkpoint / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsCorrupted, match=r"names 'model-00002-of-00002\.safetensors', which is no file"):
        load_backbone(checkpoint)


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        "{}",
        '{"weight_map": {}}',
        '{"weight_map": 3}',
        '{"weight_map": {"wte.weight": 3}}',
        '{"weight_map": {"a": 3, "b": "c"}}',
        '{"weight_map": {"wte.weight": "../secret.safetensors"}}',
        '{"weight_map": {"wte.weight": "/etc/passwd"}}',
        '{"weight_map": {"wte.weight": [1]}}',
    ],
)
def test_a_damaged_index_of_shards_is_reported(checkpoint: Path, index: str) -> None:
    _shard(checkpoint, 2)
    (checkpoint.parent / "secret.safetensors").write_bytes(b"not of this checkpoint")
    (checkpoint / _INDEX).write_text(index)
    with pytest.raises(WeightsCorrupted, match=r"model\.safetensors\.index\.json"):
        load_backbone(checkpoint)


def test_a_tensor_of_two_shards_is_refused(checkpoint: Path) -> None:
    _shard(checkpoint, 2)
    first, second = weight_files(checkpoint)
    name = min(safetensors.load_file(first))
    _save(second, {**safetensors.load_file(second), name: safetensors.load_file(first)[name]})
    with pytest.raises(WeightsCorrupted, match=f"00002-of-00002.safetensors holds {name}, which another file"):
        load_backbone(checkpoint)


@pytest.mark.parametrize(
    "entry",
    [
        '{"dtype": "F16", "shape": [2], "data_offsets": [4, 0]}',
        '{"dtype": "F16", "shape": [2], "data_offsets": [-4, 0]}',
        '{"dtype": "F16", "shape": [2], "data_offsets": [0, 4000]}',
        '{"dtype": "F16", "shape": 2, "data_offsets": [0, 4]}',
        '{"dtype": "F16", "shape": [2], "data_offsets": ["0", "4"]}',
        '{"dtype": "F16", "shape": [2]}',
        "7",
    ],
)
def test_a_header_that_lies_is_reported(checkpoint: Path, entry: str) -> None:
    header = f'{{"transformer.wte.weight": {entry}}}'.encode()
    (checkpoint / _WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(WeightsCorrupted, match=r"model\.safetensors is damaged"):
        _digests(checkpoint)


def test_reading_a_checkpoint_needs_no_torch(checkpoint: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from adavae.model.storage import checkpoint_files as f; "
        f"d = Path({str(checkpoint)!r}); f.checkpoint_digests(f.read_config(d), f.weight_files(d)); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
