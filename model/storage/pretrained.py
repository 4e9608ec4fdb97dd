"""A frozen backbone from disk or from the hub, in the Hugging Face layout: config.json, model.safetensors, tokenizer.

Only safetensors and JSON are read. Errors name the file at fault.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from adavae.model.backbone import Backbone
from adavae.model.config import BackboneConfig, WeightFormat
from adavae.model.empty_model import without_memory
from adavae.model.errors import WeightsCorrupted
from adavae.model.finite import is_finite
from adavae.model.storage.atomic import write_atomically
from adavae.model.storage.checkpoint_files import (
    CONFIG,
    OUTPUT_EMBEDDING,
    WEIGHTS,
    canonical_name,
    checkpoint_digests,
    checkpoint_directory,
    is_buffer,
    read_config,
    weight_files,
)
from adavae.model.storage.tokenizer import Tokenizer

_TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # GPT-2's Conv1D keeps (in, out)
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, slots=True)
class PretrainedBackbone:
    """A loaded checkpoint.

    Attributes:
        backbone: Frozen, in evaluation mode.
        tokenizer: The tokenizer it was trained with.
        digest: sha256 over the sizes and every weight, however they were saved.
        source: Where it came from.
        former_digest: What older adapter sets may call this checkpoint; see ``CheckpointDigests``.
    """

    backbone: Backbone
    tokenizer: Tokenizer
    digest: str
    source: str
    former_digest: str | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests by which adapter sets may name this backbone; the first is the current one."""
        return (self.digest,) if self.former_digest in (None, self.digest) else (self.digest, self.former_digest)


def load_backbone(
    source: str | Path,
    dtype: torch.dtype = torch.float32,
    *,
    device: torch.device | None = None,
    weight_format: WeightFormat = WeightFormat.FLOAT16,
) -> PretrainedBackbone:
    """Reads a checkpoint of the GPT-2 family.

    Args:
        source: A directory in the Hugging Face layout, or a hub id such as ``gpt2``.
        dtype: Of the weights in memory.
        device: Device of the weights; the CPU by default.
        weight_format: What the compiled code keeps the weights as, besides.

    Raises:
        BackboneNotFound: No such checkpoint, or no network to download it.
        ConfigError: It is not of the GPT-2 family.
        WeightsCorrupted: A file is damaged, tensors are missing, unknown, of the wrong shape or not finite, or the
            tokenizer is another model's.
    """
    directory = checkpoint_directory(source)
    config = read_config(directory)
    tokenizer = Tokenizer.from_directory(directory)
    _check_tokenizer_fits(config, tokenizer, directory)
    files = weight_files(directory)
    backbone = _assemble(config, _read_tensors(files), files[0] if len(files) == 1 else directory)
    backbone = backbone.to(device=device, dtype=dtype).requires_grad_(False).eval()
    backbone.pack(weight_format)
    digests = checkpoint_digests(config, files)
    return PretrainedBackbone(backbone, tokenizer, digests.digest, str(source), digests.former_digest)


def save_backbone(directory: Path, backbone: Backbone, tokenizer: Tokenizer) -> None:
    """Writes a checkpoint in float16 that ``load_backbone`` and transformers can read.

    Raises:
        StorageFull: The disk took no more; no file is left half-written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {_stored_name(name): _as_stored(name, tensor) for name, tensor in _tensors_of(backbone).items()}
    write_atomically(directory / WEIGHTS, safetensors.save(tensors, metadata={"format": "pt"}))
    config = json.dumps(backbone.config.to_hugging_face(), indent=2, sort_keys=True) + "\n"
    write_atomically(directory / "tokenizer.json", tokenizer.content.encode())
    write_atomically(directory / CONFIG, config.encode())


def _read_tensors(files: Sequence[Path]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for path in files:
        try:
            found = safetensors.load(path.read_bytes())
        except SafetensorError as exc:
            raise WeightsCorrupted(f"{path} is damaged ({exc}): fetch the checkpoint again") from exc
        if twice := sorted(found.keys() & tensors.keys()):
            raise WeightsCorrupted(f"{path} holds {twice[0]}, which another file holds too: remove one of them")
        tensors |= found
    return tensors


def _check_tokenizer_fits(config: BackboneConfig, tokenizer: Tokenizer, directory: Path) -> None:
    if tokenizer.vocab_size > config.vocab_size:
        raise WeightsCorrupted(
            f"{directory}: the tokenizer has token ids below {tokenizer.vocab_size}, the model below "
            f"{config.vocab_size}: they do not belong together"
        )
    if tokenizer.eos_token_id != config.eos_token_id:
        raise WeightsCorrupted(
            f"{directory}: end-of-text is token {tokenizer.eos_token_id} in the tokenizer and {config.eos_token_id} in "
            "config.json (eos_token_id): they do not belong together"
        )


def _assemble(config: BackboneConfig, stored: Mapping[str, Tensor], path: Path) -> Backbone:
    with without_memory():
        backbone = Backbone(config)
    tensors = _renamed(stored, path)
    if config.tie_word_embeddings:
        tensors.pop(OUTPUT_EMBEDDING, None)
    expected = {name: tuple(tensor.shape) for name, tensor in _tensors_of(backbone).items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wrong := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        name = wrong[0]
        raise WeightsCorrupted(
            f"{path}: {len(wrong)} tensors do not fit config.json, the first is {name} "
            f"(expected {expected.get(name)}, found {found.get(name)}): the files do not belong together"
        )
    _check_numbers(tensors, path)
    # Transposed matrices stay as stored, (in, out): a CPU multiplies a few rows by them up to twice as fast.
    whole = {name: tensor if name.endswith(_TRANSPOSED) else tensor.contiguous() for name, tensor in tensors.items()}
    backbone.load_state_dict(whole, strict=False, assign=True)
    if config.tie_word_embeddings:
        backbone.lm_head.weight = backbone.wte.weight
    return backbone


def _renamed(stored: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The weights under our names, matrices as (out, in)."""
    tensors: dict[str, Tensor] = {}
    for stored_name, tensor in stored.items():
        if is_buffer(stored_name):
            continue
        name = _our_name(stored_name)
        if name in tensors:
            raise WeightsCorrupted(f"{path} holds {name} twice, with and without 'transformer.': remove one of them")
        tensors[name] = tensor.T if name.endswith(_TRANSPOSED) else tensor
    return tensors


def _check_numbers(tensors: Mapping[str, Tensor], path: Path) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise WeightsCorrupted(
                f"{path}: {name} is stored as {tensor.dtype}: quantised weights are not read, fetch the checkpoint in "
                "half or whole precision"
            )
        if not is_finite(tensor):
            raise WeightsCorrupted(f"{path}: {name} has values that are not finite: fetch the checkpoint again")


def _tensors_of(backbone: Backbone) -> dict[str, Tensor]:
    """The backbone's tensors under our names, tied ones once."""
    return dict(backbone.named_parameters())


def _our_name(stored: str) -> str:
    name = canonical_name(stored).removeprefix("transformer.")
    return "blocks." + name.removeprefix("h.") if name.startswith("h.") else name


def _stored_name(name: str) -> str:
    return canonical_name("h." + name.removeprefix("blocks.") if name.startswith("blocks.") else name)


def _as_stored(name: str, tensor: Tensor) -> Tensor:
    return (tensor.T if name.endswith(_TRANSPOSED) else tensor).detach().to("cpu", torch.float16).contiguous()
