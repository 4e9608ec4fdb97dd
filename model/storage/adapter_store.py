"""Finding adapter sets by name on disk: the user's own root, which can be written, and bundled ones, which cannot.

What a set consists of is for ``adapter_set``.
"""

import difflib
import io
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adavae.model.errors import AdapterSetExists, AdapterSetMismatch, AdapterSetNotFound, ConfigError, WeightsCorrupted
from adavae.model.storage.adapter_set import (
    CARD,
    MANIFEST,
    MAX_TENSOR_BYTES,
    MAX_TEXT_BYTES,
    TENSORS,
    AdapterSet,
    Manifest,
    read_adapter_set,
    read_manifest,
)
from adavae.model.storage.atomic import publish_directory, staging_directory, write_atomically

_LIMITS = {TENSORS: MAX_TENSOR_BYTES, MANIFEST: MAX_TEXT_BYTES, CARD: MAX_TEXT_BYTES}
_FILES = tuple(_LIMITS)


@dataclass(frozen=True, slots=True)
class AdapterEntry:
    """One version of one adapter set as it stands on disk.

    Attributes:
        name: From its directory.
        version: From its directory.
        path: Its directory.
        is_bundled: Whether it came with the project.
        manifest: None where it cannot be read.
        problem: Why not, or None.
    """

    name: str
    version: str
    path: Path
    is_bundled: bool
    manifest: Manifest | None
    problem: str | None

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"


class AdapterStore:
    """Adapter sets under one writable root and any number of bundled ones."""

    def __init__(self, root: Path, bundled: Sequence[Path] = ()) -> None:
        self.root, self.bundled = root, tuple(bundled)

    def list(self) -> list[AdapterEntry]:
        """Every installed version, by name, the newest first; only manifests are read."""
        entries = [
            entry
            for root, is_bundled in [(self.root, False), *((root, True) for root in self.bundled)]
            for entry in _entries_under(root, is_bundled=is_bundled)
        ]
        entries.sort(key=_created_at, reverse=True)
        entries.sort(key=lambda entry: (entry.name, entry.is_bundled))
        return entries

    def resolve(self, reference: str) -> AdapterEntry:
        """The set that ``name`` or ``name@version`` means.

        Without a version the newest one is meant; the user's own come before the bundled.

        Raises:
            AdapterSetNotFound: No such set; the message names what comes close and what there is.
            WeightsCorrupted: Its manifest cannot be read.
        """
        chosen = _whole_if_any(self._fitting(reference))
        if chosen.manifest is None:
            raise WeightsCorrupted(chosen.problem or f"{chosen.path} cannot be read")
        return chosen

    def read(self, reference: str) -> AdapterSet:
        """Reads and verifies a set; raises as ``resolve`` and ``read_adapter_set`` do."""
        return read_adapter_set(self.resolve(reference).path)

    def verify(self, reference: str | None = None) -> Sequence[tuple[AdapterEntry, str | None]]:
        """Checks every byte of one set, or of all: each with its problem, or None."""
        entries = [_whole_if_any(self._fitting(reference))] if reference else self.list()
        return [(entry, _problem_of(entry)) for entry in entries]

    def import_set(self, source: Path) -> AdapterEntry:
        """Installs a set from a directory or a ``.tar.gz`` that ``export_set`` made.

        Installing it twice is no error, and repairs the first where that was damaged.

        Raises:
            AdapterSetNotFound: No set in ``source``.
            WeightsCorrupted: A file is damaged, or the archive holds something else.
            StorageFull: The disk took no more.
        """
        contents = _read_directory(source) if source.is_dir() else _read_archive(source)
        with staging_directory(self.root) as staging:
            for name, content in contents.items():
                write_atomically(staging / name, content)
            manifest = read_adapter_set(staging).manifest
            destination = self.root / manifest.name / manifest.version
            if not _holds(destination, manifest):
                shutil.rmtree(destination, ignore_errors=True)
                publish_directory(staging, destination)
        return self.resolve(manifest.reference)

    def card(self, reference: str) -> str:
        """The model card, Markdown; raises as ``resolve``, and WeightsCorrupted where it is not whole."""
        path = self.resolve(reference).path / CARD
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise WeightsCorrupted(f"{reference}: the model card cannot be read: install the set again") from exc

    def archive(self, reference: str) -> bytes:
        """A verified set as one ``.tar.gz``; raises as ``read`` does."""
        entry = self.resolve(reference)
        read_adapter_set(entry.path)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name in _FILES:
                tar.add(entry.path / name, arcname=f"{entry.name}/{entry.version}/{name}", recursive=False)
        return packed.getvalue()

    def export_set(self, reference: str, destination: Path) -> Path:
        """Writes a verified set as one ``.tar.gz``.

        Raises:
            AdapterSetExists: ``destination`` is there already.
            StorageFull: The disk took no more.
        """
        archive = self.archive(reference)
        if destination.exists():
            raise AdapterSetExists(f"{destination} is there already: name another file, or delete it first")
        write_atomically(destination, archive)
        return destination

    def delete(self, reference: str) -> AdapterEntry:
        """Removes one version of the user's own, damaged or not; bundled ones stay.

        Raises:
            AdapterSetNotFound: No such set.
            AdapterSetMismatch: The set is bundled.
        """
        entry = self.deletable(reference)
        shutil.rmtree(entry.path)
        if not any(entry.path.parent.iterdir()):
            entry.path.parent.rmdir()
        return entry

    def deletable(self, reference: str) -> AdapterEntry:
        """What ``delete`` would remove; raises as it does."""
        entry = self._fitting(reference)[0]
        if entry.is_bundled:
            raise AdapterSetMismatch(f"{entry.reference} is bundled with adavae and cannot be deleted")
        return entry

    def _fitting(self, reference: str) -> Sequence[AdapterEntry]:
        """What ``reference`` can mean, first what comes first; raises AdapterSetNotFound where there is nothing."""
        name, _, version = reference.partition("@")
        entries = self.list()
        fitting = [entry for entry in entries if entry.name == name and (not version or entry.version == version)]
        if not fitting:
            raise AdapterSetNotFound(_not_found(reference, entries))
        return fitting


def _whole_if_any(entries: Sequence[AdapterEntry]) -> AdapterEntry:
    return next((entry for entry in entries if entry.manifest is not None), entries[0])


def _holds(path: Path, manifest: Manifest) -> bool:
    """Whether the set of ``manifest`` stands at ``path``, undamaged."""
    try:
        return read_adapter_set(path).manifest == manifest
    except (AdapterSetMismatch, AdapterSetNotFound, WeightsCorrupted):
        return False


def _entries_under(root: Path, *, is_bundled: bool) -> list[AdapterEntry]:
    if not root.is_dir():
        return []
    entries = []
    for path in sorted(root.glob("[!.]*/[!.]*/")):
        if not (path / MANIFEST).is_file() and not (path / TENSORS).is_file():
            continue
        name, version = path.parent.name, path.name
        try:
            manifest = read_manifest(path)
            if (manifest.name, manifest.version) != (name, version):
                raise WeightsCorrupted(f"{path} holds {manifest.reference}: move it to where it belongs")
        except (AdapterSetMismatch, AdapterSetNotFound, WeightsCorrupted) as exc:
            entries.append(AdapterEntry(name, version, path, is_bundled, None, str(exc)))
        else:
            entries.append(AdapterEntry(name, version, path, is_bundled, manifest, None))
    return entries


def _created_at(entry: AdapterEntry) -> str:
    return entry.manifest.created_at if entry.manifest else ""


def _problem_of(entry: AdapterEntry) -> str | None:
    try:
        read_adapter_set(entry.path)
    except (AdapterSetMismatch, AdapterSetNotFound, ConfigError, WeightsCorrupted) as exc:
        return str(exc)
    return entry.problem


def _not_found(reference: str, entries: Sequence[AdapterEntry]) -> str:
    name, _, version = reference.partition("@")
    versions = [entry.version for entry in entries if entry.name == name]
    if versions:
        return f"{name} has no version {version!r}; installed: {', '.join(versions)}"
    names = sorted({entry.name for entry in entries})
    if not names:
        return f"there is no adapter set {reference!r}: none is installed; train one with 'adavae train'"
    close = difflib.get_close_matches(name, names, n=1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    return f"there is no adapter set {reference!r}{meant}; installed: {', '.join(names)}"


def _read_directory(source: Path) -> dict[str, bytes]:
    if not (source / MANIFEST).is_file():
        raise AdapterSetNotFound(f"{source} is no adapter set: it has no {MANIFEST}")
    missing = [name for name in _FILES if not (source / name).is_file()]
    if missing:
        raise WeightsCorrupted(f"{source} lacks {', '.join(missing)}: copy the whole set")
    return {name: (source / name).read_bytes() for name in _FILES}


def _read_archive(source: Path) -> dict[str, bytes]:
    """The three known files of an archive; nothing is ever unpacked by the names it gives."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(source, "r:gz") as tar:
            for member in tar:
                name = Path(member.name).name
                if not member.isfile() or name in contents or member.size > _LIMITS.get(name, -1):
                    raise WeightsCorrupted(f"{source} holds {member.name!r}, which no adapter set has")
                file = tar.extractfile(member)
                assert file is not None  # it is a regular file
                contents[name] = file.read()
    except FileNotFoundError as exc:
        raise AdapterSetNotFound(f"there is no file or directory {source}") from exc
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as exc:
        raise WeightsCorrupted(f"{source} cannot be read as a .tar.gz ({exc})") from exc
    if missing := [name for name in _FILES if name not in contents]:
        raise WeightsCorrupted(f"{source} lacks {', '.join(missing)}: export the set again")
    return contents
