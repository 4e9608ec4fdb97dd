"""One adapter set on disk: an immutable directory of tensors (safetensors), manifest (JSON) and model card.

    <root>/<name>/<version>/{adapter.safetensors, manifest.json, README.md}

The version is a hash of the content, so that no file can change without the set ceasing to be that version. Finding
sets by name is for ``adapter_store``.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from adavae.model.config import AdapterConfig
from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, ConfigError, WeightsCorrupted
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.storage.adapter_name import check_name
from adavae.model.storage.atomic import publish_directory, staging_directory, write_atomically
from adavae.model.storage.tensor_file import tensors_in

FORMAT_VERSION = 1
TENSORS, MANIFEST, CARD = "adapter.safetensors", "manifest.json", "README.md"
MAX_TENSOR_BYTES = 2 * 1024**3
MAX_TEXT_BYTES = 4 * 1024**2
_KINDS = {
    **dict.fromkeys(("name", "version", "backbone_digest", "tokenizer_digest", "created_at"), str),
    **dict.fromkeys(("config", "files", "shapes", "metrics", "training"), dict),
}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a file of the set must be."""

    sha256: str
    num_bytes: int

    @classmethod
    def of(cls, content: bytes | bytearray) -> Self:
        return cls(hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an adapter set says of itself.

    Attributes:
        version: First 12 hexadecimal digits of the sha256 over everything else in the manifest.
        backbone_digest: Of the backbone it was trained over.
        files: Every other file of the set.
        shapes: Of every tensor.
        metrics: Measured figures.
        training: Preset, settings, data and command that made it.
        created_at: ISO 8601, UTC.
        fitted_prior: What texts are drawn from; None, as in sets of before it was fitted, for N(0, I).
    """

    name: str
    version: str
    config: AdapterConfig
    backbone_digest: str
    tokenizer_digest: str
    files: dict[str, FileEntry]
    shapes: dict[str, tuple[int, ...]]
    metrics: dict[str, Any]
    training: dict[str, Any]
    created_at: str
    format_version: int = FORMAT_VERSION
    fitted_prior: FittedPrior | None = None

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def prior(self) -> FittedPrior:
        """The Gaussian that new texts are drawn from."""
        return self.fitted_prior or FittedPrior.standard(self.config.latent_size)

    def to_dict(self) -> dict[str, Any]:
        values = {**asdict(self), "config": self.config.to_dict()}
        if self.fitted_prior is None:  # versions are hashes over this: a field that is not there is not written
            del values["fitted_prior"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``.

        Raises:
            AdapterSetMismatch: A format that this version does not read.
            ConfigError: A field that is missing or wrong.
        """
        if values.get("format_version") != FORMAT_VERSION:
            raise AdapterSetMismatch(
                f"the adapter set has format {values.get('format_version')!r}, this version reads {FORMAT_VERSION}: "
                "update adavae, or train the set again"
            )
        try:
            _check_kinds(values)
            config = AdapterConfig.from_dict(values["config"])
            prior = values.get("fitted_prior")
            return cls(
                **{
                    **values,
                    "config": config,
                    "fitted_prior": None if prior is None else FittedPrior.from_dict(prior, config.latent_size),
                    "files": {name: FileEntry(**entry) for name, entry in values["files"].items()},
                    "shapes": {name: tuple(shape) for name, shape in values["shapes"].items()},
                }
            )
        except (KeyError, TypeError, AttributeError) as exc:
            raise ConfigError("manifest", str(exc), "must have every field of an adapter set's manifest") from exc

    def content_version(self) -> str:
        """What ``version`` must be."""
        values = {name: value for name, value in self.to_dict().items() if name != "version"}
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


Publishing = Callable[[Manifest], AbstractContextManager[object]]
"""Entered when a set is written and checked, left when it is in place; what it raises before keeps the set out."""


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
    """

    manifest: Manifest
    tensors: dict[str, Tensor]


def write_adapter_set(
    root: Path,
    *,
    name: str,
    config: AdapterConfig,
    tensors: Mapping[str, Tensor],
    backbone_digest: str,
    tokenizer_digest: str,
    metrics: dict[str, Any],
    training: dict[str, Any],
    created_at: str,
    model_card: str,
    fitted_prior: FittedPrior | None = None,
    staging_parent: Path | None = None,
    publishing: Publishing = publish_freely,
) -> Path:
    """Publishes an adapter set: it appears under ``root`` whole or not at all.

    Args:
        root: Of adapter sets.
        name: Of the set.
        config: What it consists of.
        tensors: As ``AdapterBank.export`` gives them.
        backbone_digest: Of the backbone it was trained over.
        tokenizer_digest: Of that backbone's tokenizer.
        metrics: Measured figures.
        training: How it was made.
        created_at: ISO 8601, UTC.
        model_card: Markdown.
        fitted_prior: Where its mu lie.
        staging_parent: Where it is prepared, on the disk of ``root``; in ``root`` if left out.
        publishing: Asked at the last moment, and told when the set is in place.

    Returns:
        Its directory; the same content twice gives the same one.

    Raises:
        ConfigError: A name that may not be, or numbers that float16 cannot hold.
        StorageFull: The disk took no more.
    """
    check_name(name)
    stored = safetensors.save(_half(tensors), metadata={"format": "pt"})
    card = model_card.encode()
    draft = Manifest(
        name=name,
        version="",
        config=config,
        backbone_digest=backbone_digest,
        tokenizer_digest=tokenizer_digest,
        files={TENSORS: FileEntry.of(stored), CARD: FileEntry.of(card)},
        shapes={key: tuple(tensor.shape) for key, tensor in tensors.items()},
        metrics=json.loads(json.dumps(metrics)),
        training=json.loads(json.dumps(training)),
        created_at=created_at,
        fitted_prior=fitted_prior,
    )
    manifest = replace(draft, version=draft.content_version())
    destination = root / name / manifest.version
    if destination.is_dir():
        with publishing(manifest):
            return destination
    described = _described(manifest.to_dict())
    with staging_directory(staging_parent or root) as staging:
        for file_name, content in ((TENSORS, stored), (CARD, card), (MANIFEST, described)):
            write_atomically(staging / file_name, content)
        with publishing(manifest):
            publish_directory(staging, destination)
    return destination


def read_adapter_set(path: Path) -> AdapterSet:
    """Reads and verifies every byte of a set.

    Raises:
        AdapterSetNotFound: No set stands there.
        AdapterSetMismatch: A format that this version does not read.
        WeightsCorrupted: A file is not what the manifest says, or the manifest not what the version says.
    """
    manifest = read_manifest(path)
    contents = {name: _verified(path, name, entry) for name, entry in manifest.files.items()}
    try:
        tensors = tensors_in(contents[TENSORS])
    except SafetensorError as exc:
        raise WeightsCorrupted(f"{path / TENSORS} cannot be read ({exc}): install the set again") from exc
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != manifest.shapes:
        raise WeightsCorrupted(f"{path / TENSORS} does not hold the tensors of the manifest: install the set again")
    return AdapterSet(manifest, tensors)


def read_manifest(path: Path) -> Manifest:
    """Reads and verifies a set's manifest alone; raises as ``read_adapter_set`` does."""
    if not (path / MANIFEST).is_file():
        raise AdapterSetNotFound(f"{path} is no adapter set: it has no {MANIFEST}")
    content = _bounded(path / MANIFEST, MAX_TEXT_BYTES)
    try:
        values = json.loads(content)
        manifest = Manifest.from_dict(values)
        is_as_written = _described(values) == content and manifest.content_version() == manifest.version
    except (ValueError, AttributeError, RecursionError, ConfigError) as exc:
        raise WeightsCorrupted(f"{path / MANIFEST} is damaged ({exc}): install the set again") from exc
    if not is_as_written or set(manifest.files) != {TENSORS, CARD}:
        raise WeightsCorrupted(
            f"{path / MANIFEST} was changed, it is not that of version {manifest.version}: install the set again"
        )
    return manifest


def check_fits(manifest: Manifest, backbone_digest: str, tokenizer_digest: str) -> None:
    """Raises AdapterSetMismatch where the set was trained over another backbone or tokenizer."""
    for what, own, given in (
        ("backbone", manifest.backbone_digest, backbone_digest),
        ("tokenizer", manifest.tokenizer_digest, tokenizer_digest),
    ):
        if own != given:
            raise AdapterSetMismatch(
                f"{manifest.reference} was trained over another {what} ({own[:12]}, here is {given[:12]}): choose that "
                f"{what}, or train the set again over this one"
            )


def _check_kinds(values: Mapping[str, Any]) -> None:
    """Raises ConfigError for a field of the wrong kind, KeyError for a missing one."""
    for field, kind in _KINDS.items():
        if not isinstance(values[field], kind):
            raise ConfigError(field, values[field], f"must be a {kind.__name__}")
    check_name(values["name"])


def _described(values: Mapping[str, Any]) -> bytes:
    """A manifest in its one spelling: JSON allows others, in which a changed byte would not be noticed."""
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


def _half(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    halves = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in tensors.items()}
    for name, tensor in halves.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ConfigError(name, "NaN or too large", "must hold finite numbers that float16 can hold; train again")
    return halves


def _verified(path: Path, name: str, entry: FileEntry) -> bytearray:
    content = _bounded(path / name, MAX_TENSOR_BYTES)
    if FileEntry.of(content) != entry:
        raise WeightsCorrupted(f"{path / name} is damaged (its sha256 is not the manifest's): install the set again")
    return content


def _bounded(path: Path, limit: int) -> bytearray:
    try:
        with path.open("rb") as file:
            content = bytearray(min(limit + 1, os.fstat(file.fileno()).st_size))
            num_read = file.readinto(content)
    except OSError as exc:
        raise WeightsCorrupted(f"{path} cannot be read ({exc}): install the set again") from exc
    if len(content) > limit:
        raise WeightsCorrupted(f"{path} has more than {limit:,} bytes: this is no file of an adapter set")
    del content[num_read:]
    return content
