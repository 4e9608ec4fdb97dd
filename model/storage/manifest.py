"""What an adapter set says of itself, and which files it consists of; read and verified without torch.

    <root>/<name>/<version>/{manifest.json, adapter.safetensors, README.md, prior.safetensors}

The version is a hash of the content, so that no file can change without the set ceasing to be that version. The tensors
are for ``adapter_set``, finding sets by name for ``installed``.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from adavae.model.config import AdapterConfig, EncoderAttention
from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, ConfigError, WeightsCorrupted, shown
from adavae.model.latent.fitted_prior import FittedPrior
from adavae.model.storage.adapter_name import check_name
from adavae.model.storage.plain_values import check_digest, check_plain, checked_time, checked_whole
from adavae.model.storage.regular_file import read_bounded

FORMAT_VERSION = 1
MANIFEST, TENSORS, CARD, PRIOR = "manifest.json", "adapter.safetensors", "README.md", "prior.safetensors"
MAX_TENSOR_BYTES = 2 * 1024**3
MAX_PRIOR_BYTES = 256 * 1024**2
MAX_TEXT_BYTES = 4 * 1024**2
_MAX_TENSORS, _MAX_AXES = 20_000, 8
_NUMBER_BYTES = (2, 4)
_VERSION = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class SetFile:
    """A file of an adapter set beside its manifest.

    Attributes:
        shapes: The manifest's field with the shapes of its tensors; None for a text.
        is_optional: Whether there are sets without it: their manifest has no such field.
    """

    name: str
    max_bytes: int
    shapes: str | None = None
    is_optional: bool = False


SET_FILES = (
    SetFile(TENSORS, MAX_TENSOR_BYTES, shapes="shapes"),
    SetFile(CARD, MAX_TEXT_BYTES),
    SetFile(PRIOR, MAX_PRIOR_BYTES, shapes="prior_shapes", is_optional=True),
)
_OPTIONAL = ("fitted_prior", *(file.shapes for file in SET_FILES if file.shapes and file.is_optional))
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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], limit: int) -> Self:
        """From JSON; raises ConfigError for what no file of at most ``limit`` bytes can be."""
        entry = cls(**values)
        check_digest("sha256", entry.sha256)
        checked_whole("num_bytes", entry.num_bytes, limit)
        return entry


Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an adapter set says of itself.

    Attributes:
        version: First 12 hexadecimal digits of the sha256 over everything else in the manifest.
        backbone_digest: Of the backbone it was trained over.
        files: Every other file of the set.
        shapes: Of every tensor of the adapters.
        metrics: Measured figures.
        training: Preset, settings, data and command that made it.
        created_at: ISO 8601, UTC.
        fitted_prior: What texts are drawn from; None, in sets from before priors were fitted, for N(0, I).
        prior_shapes: Of every tensor of its ``LatentPrior``; None for a set without one.
    """

    name: str
    version: str
    config: AdapterConfig
    backbone_digest: str
    tokenizer_digest: str
    files: dict[str, FileEntry]
    shapes: Shapes
    metrics: dict[str, Any]
    training: dict[str, Any]
    created_at: str
    format_version: int = FORMAT_VERSION
    fitted_prior: FittedPrior | None = None
    prior_shapes: Shapes | None = None

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def prior(self) -> FittedPrior:
        """The Gaussian that new texts are drawn from."""
        return self.fitted_prior or FittedPrior.standard(self.config.latent_size)

    @property
    def shapes_of_files(self) -> dict[str, Shapes]:
        """Of every tensor of each tensor file that the set has."""
        found = {file.name: getattr(self, file.shapes) for file in SET_FILES if file.shapes is not None}
        return {name: shapes for name, shapes in found.items() if shapes is not None}

    def to_dict(self) -> dict[str, Any]:
        config = self.config.to_dict()
        if self.config.encoder_attention is EncoderAttention.UNMASKED:
            del config["encoder_attention"]  # older sets do not name what they had no choice of, and keep their version
        values = {**asdict(self), "config": config}
        # Versions are hashes over this: a field that a set does not have is not written.
        return {name: value for name, value in values.items() if value is not None or name not in _OPTIONAL}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``.

        Raises:
            AdapterSetMismatch: A format that this version does not read.
            ConfigError: A field that is missing or wrong.
        """
        if values.get("format_version") != FORMAT_VERSION:
            raise AdapterSetMismatch(
                f"the adapter set has format {shown(values.get('format_version'))}, this version reads "
                f"{FORMAT_VERSION}: update adavae, or train the set again"
            )
        try:
            _check_kinds(values)
            config = AdapterConfig.from_dict(values["config"])
            prior, prior_shapes = values.get("fitted_prior"), values.get("prior_shapes")
            return cls(
                **{
                    **values,
                    "config": config,
                    "fitted_prior": None if prior is None else FittedPrior.from_dict(prior, config.latent_size),
                    "files": {name: _file_entry(name, entry) for name, entry in values["files"].items()},
                    "shapes": _shapes("shapes", values["shapes"]),
                    "prior_shapes": None if prior_shapes is None else _shapes("prior_shapes", prior_shapes),
                }
            )
        except (KeyError, TypeError, AttributeError) as exc:
            raise ConfigError("manifest", str(exc), "must have every field of an adapter set's manifest") from exc

    def to_bytes(self) -> bytes:
        """The content of its file."""
        return _spelt(self.to_dict())

    @property
    def digest(self) -> str:
        """sha256 of its file, which names the digest of every other: whoever knows it knows the whole set."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def renamed(self, name: str) -> "Manifest":
        """The same set by another name, which makes it another version."""
        draft = replace(self, name=name)
        return replace(draft, version=draft.content_version())

    def content_version(self) -> str:
        """What ``version`` must be."""
        values = {name: value for name, value in self.to_dict().items() if name != "version"}
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def read_manifest(path: Path) -> Manifest:
    """Reads and verifies the manifest of the set at ``path``.

    Raises:
        AdapterSetNotFound: There is no set.
        AdapterSetMismatch: A format that this version does not read.
        WeightsCorrupted: The manifest is not what the version says, or names other files than a set has.
    """
    if not os.path.lexists(path / MANIFEST):
        raise AdapterSetNotFound(f"{path} is no adapter set: it has no {MANIFEST}")
    return parse_manifest(path / MANIFEST, read_bounded(path / MANIFEST, MAX_TEXT_BYTES))


def parse_manifest(path: Path | str, content: bytes | bytearray) -> Manifest:
    """The manifest in ``content``, which was read from ``path``; raises as ``read_manifest`` does."""
    try:
        values = json.loads(content)
        manifest = Manifest.from_dict(values)
        is_as_written = _spelt(values) == content and manifest.content_version() == manifest.version
    except (ValueError, AttributeError, RecursionError, ConfigError) as exc:
        raise WeightsCorrupted(f"{path} is damaged ({exc}): install the set again") from exc
    texts = {file.name for file in SET_FILES if file.shapes is None}
    if not is_as_written or set(manifest.files) != texts | manifest.shapes_of_files.keys():
        raise WeightsCorrupted(
            f"{path} was changed, it is not the manifest of version {manifest.version}: install the set again"
        )
    for name, shapes in manifest.shapes_of_files.items():
        _check_size(path, manifest.files[name], sum(map(math.prod, shapes.values())))
    return manifest


def _check_size(path: Path | str, entry: FileEntry, num_numbers: int) -> None:
    """Whether a file of so many numbers, in float16 or float32 behind a header, can have that size."""
    smallest, largest = _NUMBER_BYTES
    if not smallest * num_numbers <= entry.num_bytes <= largest * num_numbers + MAX_TEXT_BYTES:
        raise WeightsCorrupted(
            f"{path} says that {num_numbers:,} numbers are {entry.num_bytes:,} bytes: install the set again"
        )


def check_fits(manifest: Manifest, backbone_digests: Sequence[str], tokenizer_digest: str) -> None:
    """Raises AdapterSetMismatch where the set was trained over another backbone or tokenizer.

    Args:
        manifest: Of the set.
        backbone_digests: What the backbone may be called, as ``PretrainedBackbone.digests`` says.
        tokenizer_digest: Of the backbone's tokenizer.
    """
    for what, trained_over, accepted in (
        ("backbone", manifest.backbone_digest, backbone_digests),
        ("tokenizer", manifest.tokenizer_digest, (tokenizer_digest,)),
    ):
        if trained_over not in accepted:
            raise AdapterSetMismatch(
                f"{manifest.reference} was trained over another {what} ({trained_over[:12]}, here is "
                f"{accepted[0][:12]}): choose that {what}, or train the set again over this one"
            )


def _check_kinds(values: Mapping[str, Any]) -> None:
    """Raises ConfigError for a field of the wrong kind, KeyError for a missing one."""
    for field, kind in _KINDS.items():
        if not isinstance(values[field], kind):
            raise ConfigError(field, values[field], f"must be a {kind.__name__}")
        check_plain(field, values[field])
    check_name(values["name"])
    if not _VERSION.fullmatch(values["version"]):
        raise ConfigError("version", values["version"], "must be 12 characters of 0-9 and a-f")
    checked_time("created_at", values["created_at"])
    for field in ("backbone_digest", "tokenizer_digest"):
        check_digest(field, values[field])


def _file_entry(name: str, values: Mapping[str, Any]) -> FileEntry:
    limits = {file.name: file.max_bytes for file in SET_FILES}
    if name not in limits:
        raise ConfigError("files", name, f"is no file of an adapter set; these are {', '.join(limits)}")
    return FileEntry.from_dict(values, limits[name])


def _shapes(field: str, values: Mapping[str, Any]) -> Shapes:
    if len(values) > _MAX_TENSORS:
        raise ConfigError(field, len(values), f"must be at most {_MAX_TENSORS:,} tensors")
    check_plain(field, dict(values))
    return {name: _shape(f"{field}.{name}"[:200], shape) for name, shape in values.items()}


def _shape(field: str, values: Sequence[Any]) -> tuple[int, ...]:
    if len(values) > _MAX_AXES:
        raise ConfigError(field, values, f"must have at most {_MAX_AXES} axes")
    return tuple(checked_whole(field, size, MAX_TENSOR_BYTES) for size in values)


def _spelt(values: Mapping[str, Any]) -> bytes:
    """A manifest in its one spelling: JSON allows others, in which a changed byte would not be noticed."""
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()
