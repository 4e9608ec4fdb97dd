"""One adapter set on disk: an immutable directory of tensors (safetensors), manifest (JSON) and model card.

Which files there are and what the manifest says of them is for ``manifest``, finding sets by name for ``installed``.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from adavae.model.cleaning import storable
from adavae.model.config import AdapterConfig
from adavae.model.errors import ConfigError, WeightsCorrupted
from adavae.model.finite import is_finite
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.storage.adapter_name import check_name
from adavae.model.storage.atomic import publish_directory, staging_directory, write_atomically
from adavae.model.storage.manifest import (
    CARD,
    MANIFEST,
    MAX_TENSOR_BYTES,
    PRIOR,
    TENSORS,
    FileEntry,
    Manifest,
    Shapes,
    read_manifest,
)
from adavae.model.storage.publication import PUBLICATION, claim_number, spelt
from adavae.model.storage.regular_file import opened_regular, read_exactly
from adavae.model.storage.tensor_file import first_not_finite, shapes_in, tensors_in

Publishing = Callable[[Manifest], AbstractContextManager[object]]
"""Entered once a set is written and checked, left once it is in place; an error raised on entry keeps the set out."""


def publish_freely(manifest: Manifest) -> AbstractContextManager[object]:
    """Nobody objects."""
    del manifest
    return nullcontext()


@dataclass(frozen=True, slots=True)
class AdapterSet:
    """A set in memory.

    Attributes:
        manifest: What it says of itself.
        tensors: By name, without a slot axis; as they are stored, float16 mostly.
        prior_tensors: Of its prior, float32; None for a set without one.
    """

    manifest: Manifest
    tensors: dict[str, Tensor]
    prior_tensors: dict[str, Tensor] | None = None


Trying = Callable[[AdapterSet], None]
"""Uses a set that was written but is not published yet."""


Accepting = Callable[[Manifest], None]
"""Raises for a set that is not to be read."""


def accept_any(manifest: Manifest) -> None:
    """Whatever is whole may be read."""
    del manifest


def try_nothing(adapter_set: AdapterSet) -> None:
    """Reading it back was enough."""
    del adapter_set


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAdapterSet:
    """A set that is to be published.

    Attributes:
        config: What it consists of.
        tensors: As ``AdapterBank.export`` gives them; stored as float16.
        backbone_digest: Of the backbone it was trained over.
        tokenizer_digest: Of that backbone's tokenizer.
        metrics: Measured figures.
        training: How it was made.
        created_at: ISO 8601, UTC.
        model_card: Markdown.
        fitted_prior: Where its mu lie.
        prior_tensors: Of its ``LatentPrior``, if it has one; stored as float32.
    """

    name: str
    config: AdapterConfig
    tensors: Mapping[str, Tensor]
    backbone_digest: str
    tokenizer_digest: str
    metrics: dict[str, Any]
    training: dict[str, Any]
    created_at: str
    model_card: str
    fitted_prior: FittedPrior | None = None
    prior_tensors: Mapping[str, Tensor] | None = None

    def files(self) -> dict[str, bytes]:
        """Every file but the manifest; raises ConfigError for numbers that a file cannot hold."""
        files = {TENSORS: _safetensors(self.tensors, torch.float16), CARD: storable(self.model_card).encode()}
        if self.prior_tensors is not None:
            files[PRIOR] = _safetensors(self.prior_tensors, torch.float32)
        return files

    def manifest(self, files: Mapping[str, bytes]) -> Manifest:
        """What the set says of itself once it consists of ``files``."""
        draft = Manifest(
            name=self.name,
            version="",
            config=self.config,
            backbone_digest=self.backbone_digest,
            tokenizer_digest=self.tokenizer_digest,
            files={name: FileEntry.of(content) for name, content in files.items()},
            shapes=_shapes(self.tensors),
            metrics=_storable(json.loads(json.dumps(self.metrics))),
            training=_storable(json.loads(json.dumps(self.training))),
            created_at=self.created_at,
            fitted_prior=self.fitted_prior,
            prior_shapes=None if self.prior_tensors is None else _shapes(self.prior_tensors),
        )
        return replace(draft, version=draft.content_version())


def _storable(value: Any) -> Any:
    """A value of JSON with every text of it storable: names of files and commands need not be UTF-8."""
    if isinstance(value, dict):
        return {storable(name): _storable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_storable(each) for each in value]
    return storable(value) if isinstance(value, str) else value


def write_adapter_set(
    root: Path,
    new: NewAdapterSet,
    *,
    staging_parent: Path | None = None,
    trying: Trying = try_nothing,
    publishing: Publishing = publish_freely,
) -> Path:
    """Publishes an adapter set: it appears under ``root`` whole or not at all.

    Args:
        root: Of adapter sets.
        new: The set.
        staging_parent: Where it is prepared, on the disk of ``root``; in ``root`` if left out.
        trying: Called with the set as read back from the disk; an error it raises keeps the set out.
        publishing: Entered at the last moment, left once the set is in place.

    Returns:
        Its directory; the same content twice gives the same one.

    Raises:
        ConfigError: The name is not allowed, or a file cannot hold a number.
        StorageFull: The disk took no more.
    """
    check_name(new.name)
    files = new.files()
    manifest = new.manifest(files)
    destination = root / manifest.name / manifest.version
    if destination.is_dir():
        with publishing(manifest):
            return destination
    with staging_directory(staging_parent or root) as staging:
        for file_name, content in {**files, MANIFEST: manifest.to_bytes()}.items():
            write_atomically(staging / file_name, content)
        trying(read_adapter_set(staging))
        with publishing(manifest):
            put_in_place(root, staging, manifest)
    return destination


def put_in_place(root: Path, staging: Path, manifest: Manifest, number: int = 0) -> None:
    """Publishes a set that lies finished in ``staging``; from then on its name means it.

    Args:
        root: Of adapter sets.
        staging: The finished set.
        manifest: Of the set.
        number: Its place in the order of publication, where it had one before; a new one if left out.

    Raises:
        AdapterSetExists: It is there already.
        StorageFull: The disk took no more.
    """
    number = number or claim_number(root, manifest.name)
    write_atomically(staging / PUBLICATION, spelt(number))
    publish_directory(staging, root / manifest.name / manifest.version)


def read_adapter_set(path: Path, accepting: Accepting = accept_any) -> AdapterSet:
    """Reads and verifies every byte of a set; nothing is read before sizes and shapes are known to be the manifest's.

    Args:
        path: Its directory.
        accepting: Called with the manifest before anything else is read; an error it raises ends the reading.

    Raises:
        AdapterSetNotFound: There is no set.
        AdapterSetMismatch: A format that this version does not read.
        WeightsCorrupted: A file is not what the manifest says, or the manifest not what the version says.
    """
    manifest = read_manifest(path)
    accepting(manifest)
    shapes = manifest.shapes_of_files
    contents = {name: _read_verified(path / name, entry, shapes.get(name)) for name, entry in manifest.files.items()}
    tensors = {name: _tensors(path / name, contents[name]) for name in shapes}
    return AdapterSet(manifest, tensors[TENSORS], tensors.get(PRIOR))


def check_adapter_set(path: Path, accepting: Accepting = accept_any) -> Manifest:
    """As ``read_adapter_set``, piece by piece: of the largest set no more than a piece is ever in memory."""
    manifest = read_manifest(path)
    accepting(manifest)
    for name, entry in manifest.files.items():
        _check_file(path / name, entry, manifest.shapes_of_files.get(name))
    return manifest


def _check_file(path: Path, entry: FileEntry, shapes: Shapes | None) -> None:
    with opened_regular(path, MAX_TENSOR_BYTES) as (file, num_bytes):
        _check_beginning(path, file, num_bytes, entry, shapes)
        if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
            raise WeightsCorrupted(_damaged(path))
        file.seek(0)
        if shapes is not None and (name := first_not_finite(file, num_bytes)) is not None:
            raise WeightsCorrupted(_not_finite(path, name))


def _damaged(path: Path) -> str:
    return f"{path} is damaged (its sha256 is not the manifest's): install the set again"


def _not_finite(path: Path, name: str) -> str:
    return f"{path} holds NaN or infinite numbers ({name}): train the set again"


def _read_verified(path: Path, entry: FileEntry, shapes: Shapes | None) -> bytearray:
    """What a file holds, read once its size and the header of its tensors are what they should be."""
    with opened_regular(path, MAX_TENSOR_BYTES) as (file, num_bytes):
        _check_beginning(path, file, num_bytes, entry, shapes)
        content = read_exactly(file, num_bytes)
    if FileEntry.of(content) != entry:
        raise WeightsCorrupted(_damaged(path))
    return content


def _check_beginning(path: Path, file: BinaryIO, num_bytes: int, entry: FileEntry, shapes: Shapes | None) -> None:
    """A file's size, and the header of a tensor file, against what the manifest says."""
    if num_bytes != entry.num_bytes:
        raise WeightsCorrupted(
            f"{path} is damaged (it has {num_bytes:,} bytes, the manifest says {entry.num_bytes:,}): install the set "
            "again"
        )
    if shapes is None:
        return
    try:
        found = shapes_in(file, num_bytes)
    except SafetensorError as exc:
        raise WeightsCorrupted(f"{path} cannot be read ({exc}): install the set again") from exc
    if found != shapes:
        raise WeightsCorrupted(f"{path} does not hold the tensors of the manifest: install the set again")


def _tensors(path: Path, content: bytearray) -> dict[str, Tensor]:
    """The tensors of a file whose header was checked."""
    tensors = tensors_in(content)
    for name, tensor in tensors.items():
        if not is_finite(tensor):
            raise WeightsCorrupted(_not_finite(path, name))
    return tensors


def _safetensors(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> bytes:
    stored = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    for name, tensor in stored.items():
        if not is_finite(tensor):
            kind = str(dtype).removeprefix("torch.")
            raise ConfigError(name, "NaN or too large", f"must hold finite numbers that {kind} can hold; train again")
    return safetensors.save(stored, metadata={"format": "pt"})


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
