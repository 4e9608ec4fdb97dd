"""A backbone's checkpoint as files: its directory, config.json, safetensors and the digest over them.

Read without torch and without keeping weights in memory; ``pretrained`` makes a ``Backbone`` of them.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from adavae.model.config import BackboneConfig
from adavae.model.errors import BackboneNotFound, ConfigError, WeightsCorrupted

CONFIG, WEIGHTS, SHARDS = "config.json", "model.safetensors", "model.safetensors.index.json"
OUTPUT_EMBEDDING = "lm_head.weight"
_PREFIX = "transformer."
_BUFFERS = (".attn.bias", ".attn.masked_bias")  # causal masks that old checkpoints carry
_HUB_FILES = [CONFIG, WEIGHTS, SHARDS, "model-*.safetensors", "tokenizer.json", "vocab.json", "merges.txt"]
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "U8": "uint8", "BOOL": "bool"}
_CHUNK_BYTES = 1024**2
_LONGEST_HEADER = 100 * 1024**2
_LENGTH_BYTES = 8  # bytes of the header's length, little-endian, before the header


@dataclass(frozen=True, slots=True)
class CheckpointDigests:
    """Two digests of the content of a checkpoint.

    Attributes:
        digest: Over the sizes and every weight, in the order of transformers' names (``transformer.wte.weight``); equal
            however the checkpoint was saved: with or without that prefix, with masks, in shards, with or without the
            tied output embedding.
        former_digest: Over all tensors of the file, under the names they have there. Older adapter sets carry it, and
            still fit the files they were trained over.
    """

    digest: str
    former_digest: str


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor is stored.

    Attributes:
        name: Its name in the file.
        dtype: As safetensors spells it: ``F16``.
        start: Offset in the file of its first byte.
        end: Offset after its last byte.
    """

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def checkpoint_directory(source: str | Path, hub_files: Sequence[str] = _HUB_FILES) -> Path:
    """The directory that ``source`` names; of a hub id such files are downloaded.

    Raises:
        BackboneNotFound: No such directory, and nothing of that name could be downloaded.
    """
    path = Path(source)
    if path.is_dir():
        return path
    text = str(source)
    if path.is_absolute() or text.startswith(".") or text.count("/") > 1:
        raise BackboneNotFound(f"there is no directory {text}: name one with {CONFIG} and {WEIGHTS}, or a hub id")
    return _fetch(text, hub_files)


def read_config(directory: Path) -> BackboneConfig:
    """The sizes of the checkpoint in ``directory``.

    Raises:
        BackboneNotFound: It has no config.json.
        ConfigError: It is not of the GPT-2 family.
        WeightsCorrupted: config.json is damaged.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise BackboneNotFound(
            f"{directory} has no {CONFIG}, it is no checkpoint in the Hugging Face layout: name another directory"
        )
    content = _json(path)
    if not isinstance(content, dict):
        raise ConfigError(CONFIG, type(content).__name__, "must be a JSON object")
    return BackboneConfig.from_hugging_face(content)


def weight_files(directory: Path) -> tuple[Path, ...]:
    """The safetensors files of a checkpoint: one, or its shards in the order of their names.

    Raises:
        BackboneNotFound: There are none.
        WeightsCorrupted: The index of the shards is damaged, or names a file that is not there.
    """
    if (directory / WEIGHTS).is_file():
        return (directory / WEIGHTS,)
    index = directory / SHARDS
    if not index.is_file():
        has_pickle = any((directory / name).is_file() for name in ("pytorch_model.bin", "pytorch_model.bin.index.json"))
        remedy = (
            "convert pytorch_model.bin to safetensors first"
            if has_pickle
            else "put a checkpoint in the Hugging Face layout there, or, where there is pytorch_model.bin alone, "
            "convert it to one safetensors file"
        )
        raise BackboneNotFound(f"{directory} has no {WEIGHTS}: {remedy}, with `adavae convert SOURCE --output DIR`")
    return shards_of(index)


def shards_of(index: Path) -> tuple[Path, ...]:
    """The files that an index names, in the order of their names; raises WeightsCorrupted as ``weight_files``."""
    directory = index.parent
    try:
        names = sorted(set(_json(index)["weight_map"].values()))
    except (KeyError, TypeError, AttributeError) as exc:
        raise WeightsCorrupted(f"{index} is damaged ({type(exc).__name__}): fetch the checkpoint again") from exc
    if not names:
        raise WeightsCorrupted(f"{index} names no file: fetch the checkpoint again")
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (directory / name).is_file():
            raise WeightsCorrupted(f"{index} names {name!r}, which is no file of {directory}: fetch it")
    return tuple(directory / name for name in names)


def checkpoint_digests(config: BackboneConfig, files: Iterable[Path]) -> CheckpointDigests:
    """Reads every weight once, or twice if the checkpoint's layout differs from ours.

    Raises:
        WeightsCorrupted: A file does not match its header.
    """
    stored = [tensor for path in files for tensor in _stored_tensors(path)]
    by_stored_name = sorted(((tensor.name, tensor) for tensor in stored), key=itemgetter(0))
    weights = [(canonical_name(name), tensor) for name, tensor in by_stored_name if not is_buffer(name)]
    if config.tie_word_embeddings:
        weights = [(name, tensor) for name, tensor in weights if name != OUTPUT_EMBEDDING]
    weights.sort(key=itemgetter(0))
    digest = _digest(config, weights)
    return CheckpointDigests(digest, digest if weights == by_stored_name else _digest(config, by_stored_name))


def is_buffer(stored_name: str) -> bool:
    """Whether this is a causal mask and not a weight."""
    return stored_name.endswith(_BUFFERS)


def canonical_name(stored_name: str) -> str:
    """The tensor's name in transformers' ``GPT2LMHeadModel``; some checkpoints lack its prefix."""
    if stored_name == OUTPUT_EMBEDDING or stored_name.startswith(_PREFIX):
        return stored_name
    return _PREFIX + stored_name


def _fetch(hub_id: str, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(files)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as exc:
        raise BackboneNotFound(
            f"{hub_id} is no directory here and could not be fetched from the hub ({type(exc).__name__}): check the "
            "name and the network, or name a directory"
        ) from exc


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as exc:
        raise WeightsCorrupted(f"{path} is not JSON ({exc}): fetch the checkpoint again") from exc


def _stored_tensors(path: Path) -> list[StoredTensor]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if length > _LONGEST_HEADER:
                raise ValueError(f"its header should have {length:,} bytes")
            header = json.loads(file.read(length))
        data = _LENGTH_BYTES + length
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return [_stored_tensor(path, name, entry, data) for name, entry in entries.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise WeightsCorrupted(f"{path} is damaged ({exc}): fetch the checkpoint again") from exc


def _stored_tensor(path: Path, name: str, entry: Mapping[str, Any], data: int) -> StoredTensor:
    start, end = entry["data_offsets"]
    if not 0 <= start <= end:
        raise ValueError(f"{name} lies from {start} to {end}")
    return StoredTensor(path, name, entry["dtype"], tuple(entry["shape"]), data + start, data + end)


def _digest(config: BackboneConfig, tensors: Iterable[tuple[str, StoredTensor]]) -> str:
    digest = hashlib.sha256(json.dumps(config.to_hugging_face(), sort_keys=True).encode())
    for name, tensor in tensors:
        dtype = _DTYPES.get(tensor.dtype, tensor.dtype)
        digest.update(f"{name}|torch.{dtype}|{tensor.shape}|".encode())
        for chunk in _chunks(tensor):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(tensor: StoredTensor) -> Iterator[bytes]:
    with tensor.path.open("rb") as file:
        file.seek(tensor.start)
        remaining = tensor.end - tensor.start
        while remaining:
            chunk = file.read(min(_CHUNK_BYTES, remaining))
            if not chunk:
                raise WeightsCorrupted(
                    f"{tensor.path} is damaged (it ends within {tensor.name}): fetch the checkpoint again"
                )
            remaining -= len(chunk)
            yield chunk
