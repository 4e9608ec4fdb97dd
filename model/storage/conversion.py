"""A checkpoint whose weights are ``pytorch_model.bin`` made into one of safetensors: by hand, and once.

The one place where a pickle is opened, and of it only tensors are taken (``weights_only``): whatever else it asks for
is refused. What serves and trains reads safetensors alone.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import torch as safetensors
from torch import Tensor

from adavae.model.config import BackboneConfig
from adavae.model.errors import AdapterSetExists, BackboneNotFound, ConfigError, WeightsCorrupted
from adavae.model.storage.atomic import publish_directory, staging_directory, write_atomically
from adavae.model.storage.checkpoint_files import (
    CONFIG,
    OUTPUT_EMBEDDING,
    SHARDS,
    WEIGHTS,
    checkpoint_directory,
    is_buffer,
    read_config,
    shards_of,
)
from adavae.model.storage.pretrained import PretrainedBackbone, load_backbone
from adavae.model.storage.tokenizer import Tokenizer

PICKLED, PICKLED_SHARDS = "pytorch_model.bin", "pytorch_model.bin.index.json"
_HUB_FILES = [CONFIG, PICKLED, PICKLED_SHARDS, "pytorch_model-*.bin", "tokenizer.json", "vocab.json", "merges.txt"]

_DTYPES = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int64, torch.bool}


def convert_checkpoint(source: str | Path, destination: Path) -> PretrainedBackbone:
    """Writes the checkpoint at ``source`` as safetensors, and reads it back.

    Args:
        source: A directory in the Hugging Face layout, or a hub id.
        destination: A directory that is not there yet.

    Returns:
        The backbone, as ``load_backbone`` reads it from ``destination``.

    Raises:
        AdapterSetExists: ``destination`` is there already.
        BackboneNotFound: There is no checkpoint.
        ConfigError: It is not of the GPT-2 family, or is safetensors already.
        WeightsCorrupted: A file is damaged, or holds something other than tensors.
        StorageFull: The disk took no more; nothing half-written is left.
    """
    if destination.exists():
        raise AdapterSetExists(f"{destination} is there already: name another directory")
    directory = checkpoint_directory(source, _HUB_FILES)
    if (directory / WEIGHTS).is_file() or (directory / SHARDS).is_file():
        raise ConfigError("the checkpoint", str(source), "is safetensors already: use it as it is")
    config, tokenizer = read_config(directory), Tokenizer.from_directory(directory)
    tensors = _weights_of(_read_pickled(directory), config)
    with staging_directory(destination.absolute().parent) as staging:
        write_atomically(staging / CONFIG, (directory / CONFIG).read_bytes())
        write_atomically(staging / "tokenizer.json", tokenizer.content.encode())
        write_atomically(staging / WEIGHTS, safetensors.save(tensors, metadata={"format": "pt"}))
        _check(staging, directory)
        publish_directory(staging, destination.absolute())
    return load_backbone(destination)


def _check(staging: Path, directory: Path) -> None:
    """Raises what is wrong with the checkpoint, in terms of the directory that the user knows."""
    try:
        load_backbone(staging)
    except WeightsCorrupted as exc:
        raise WeightsCorrupted(str(exc).replace(str(staging), str(directory))) from exc


def _read_pickled(directory: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for path in _pickled_files(directory):
        found = _read_tensors(path)
        if twice := sorted(found.keys() & tensors.keys()):
            raise WeightsCorrupted(f"{path} holds {twice[0]}, which another file holds too: remove one of them")
        tensors |= found
    return tensors


def _pickled_files(directory: Path) -> tuple[Path, ...]:
    if (directory / PICKLED).is_file():
        return (directory / PICKLED,)
    if (directory / PICKLED_SHARDS).is_file():
        return shards_of(directory / PICKLED_SHARDS)
    raise BackboneNotFound(f"{directory} has neither {WEIGHTS} nor {PICKLED}: name a directory with a checkpoint")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:  # whatever bytes that nobody has checked bring about; torch's advice is to check less
        raise WeightsCorrupted(
            f"{path} is damaged, or holds something other than tensors ({type(exc).__name__}): take a checkpoint with "
            "safetensors"
        ) from exc
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) and _is_plain(tensor) for name, tensor in found.items()
    ):
        raise WeightsCorrupted(f"{path} is no table of names and plain tensors: take a checkpoint with safetensors")
    return dict(found)


def _is_plain(tensor: Tensor) -> bool:
    """Numbers or bools that are there: the file has as many bytes as the tensor, which else could claim any size."""
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.dtype not in _DTYPES:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _weights_of(stored: Mapping[str, Tensor], config: BackboneConfig) -> dict[str, Tensor]:
    """What belongs to the checkpoint, each tensor with memory of its own: no masks, no second copy of the embedding."""
    is_left_out = {OUTPUT_EMBEDDING} if config.tie_word_embeddings else set[str]()
    kept = {name: tensor for name, tensor in stored.items() if name not in is_left_out and not is_buffer(name)}
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in kept.items()}
