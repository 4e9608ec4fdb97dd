"""Adapter sets by name: in the user's root, which is writable, and in the bundled ones, which are not.

``adapter_set`` reads and writes a single set, ``installed`` scans the disk.
"""

import io
import shutil
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path

from adavae.model.errors import AdapterSetExists, AdapterSetMismatch, AdapterSetNotFound, WeightsCorrupted
from adavae.model.storage.adapter_set import AdapterSet, read_adapter_set
from adavae.model.storage.atomic import publish_directory, staging_directory, write_atomically
from adavae.model.storage.installed import REFUSALS, InstalledVersion, not_found, scan
from adavae.model.storage.manifest import CARD, MANIFEST, MAX_TEXT_BYTES, SET_FILES, Manifest

_LIMITS = {MANIFEST: MAX_TEXT_BYTES, **{file.name: file.max_bytes for file in SET_FILES}}
_REQUIRED = (MANIFEST, *(file.name for file in SET_FILES if not file.is_optional))


class AdapterStore:
    """Adapter sets under one writable root and any number of bundled ones."""

    def __init__(self, root: Path, bundled: Sequence[Path] = ()) -> None:
        self.root, self.bundled = root, tuple(bundled)

    @property
    def roots(self) -> Sequence[tuple[Path, bool]]:
        """Every directory of adapter sets, and whether it is a bundled one."""
        return [(self.root, False), *((root, True) for root in self.bundled)]

    def list(self) -> list[InstalledVersion]:
        """Every installed version, by name, newest first; only manifests are read."""
        entries = sorted(scan(self.roots, {}).values(), key=attrgetter("rank"), reverse=True)
        return sorted(entries, key=attrgetter("name"))

    def resolve(self, reference: str) -> InstalledVersion:
        """The set that ``name`` or ``name@version`` means.

        Without a version this is the newest one; the user's sets come before the bundled ones.

        Raises:
            AdapterSetNotFound: No such set; the message names similar and installed ones.
            WeightsCorrupted: Its manifest cannot be read.
        """
        chosen = _whole_if_any(self._fitting(reference))
        if chosen.manifest is None:
            assert chosen.problem is not None  # a scan sets one or the other
            raise WeightsCorrupted(chosen.problem.message)
        return chosen

    def read(self, reference: str) -> AdapterSet:
        """Reads and verifies a set; raises as ``resolve`` and ``read_adapter_set`` do."""
        return read_adapter_set(self.resolve(reference).path)

    def verify(self, reference: str | None = None) -> Sequence[tuple[InstalledVersion, str | None]]:
        """Checks every byte of one set, or of all; returns each with its problem, or None."""
        entries = [_whole_if_any(self._fitting(reference))] if reference else self.list()
        return [(entry, _problem_of(entry)) for entry in entries]

    def import_set(self, source: Path) -> InstalledVersion:
        """Installs a set from a directory or a ``.tar.gz`` that ``export_set`` made.

        Installing a set again is no error, and repairs a damaged one.

        Raises:
            AdapterSetNotFound: No set in ``source``.
            WeightsCorrupted: A file is damaged, or the archive has unexpected contents.
            StorageFull: The disk took no more.
        """
        contents = _read_directory(source) if source.is_dir() else _read_archive(source)
        with staging_directory(self.root) as staging:
            for name, content in contents.items():
                write_atomically(staging / name, content)
            manifest = read_adapter_set(staging).manifest
            if extra := sorted(contents.keys() - {MANIFEST, *manifest.files}):
                raise WeightsCorrupted(f"{source} holds {extra[0]}, which its manifest does not name: export it again")
            destination = self.root / manifest.name / manifest.version
            if not _holds(destination, manifest):
                shutil.rmtree(destination, ignore_errors=True)
                publish_directory(staging, destination)
        return self.resolve(manifest.reference)

    def card(self, reference: str) -> str:
        """The model card, Markdown; raises as ``resolve`` does, and WeightsCorrupted if it is damaged."""
        path = self.resolve(reference).path / CARD
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise WeightsCorrupted(f"{reference}: the model card cannot be read: install the set again") from exc

    def archive(self, reference: str) -> bytes:
        """A verified set as one ``.tar.gz``; raises as ``read`` does."""
        entry = self.resolve(reference)
        adapter_set = read_adapter_set(entry.path)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name in (MANIFEST, *adapter_set.manifest.files):
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

    def delete(self, reference: str) -> InstalledVersion:
        """Removes one of the user's versions, damaged or not; bundled ones cannot be removed.

        Raises:
            AdapterSetNotFound: No such set.
            AdapterSetMismatch: The set is bundled.
        """
        entry = self.deletable(reference)
        shutil.rmtree(entry.path)
        if not any(entry.path.parent.iterdir()):
            entry.path.parent.rmdir()
        return entry

    def deletable(self, reference: str) -> InstalledVersion:
        """The version that ``delete`` would remove; raises as it does."""
        entry = self._fitting(reference)[0]
        if entry.is_bundled:
            raise AdapterSetMismatch(f"{entry.reference} is bundled with adavae and cannot be deleted")
        return entry

    def _fitting(self, reference: str) -> Sequence[InstalledVersion]:
        """The versions that match ``reference``, best first; raises AdapterSetNotFound if there are none."""
        name, _, version = reference.partition("@")
        entries = self.list()
        fitting = [entry for entry in entries if entry.name == name and (not version or entry.version == version)]
        if not fitting:
            raise not_found(reference, entries)
        return fitting


def _whole_if_any(entries: Sequence[InstalledVersion]) -> InstalledVersion:
    return next((entry for entry in entries if entry.manifest is not None), entries[0])


def _holds(path: Path, manifest: Manifest) -> bool:
    """Whether the set of ``manifest`` is at ``path``, undamaged."""
    try:
        return read_adapter_set(path).manifest == manifest
    except (AdapterSetMismatch, AdapterSetNotFound, WeightsCorrupted):
        return False


def _problem_of(entry: InstalledVersion) -> str | None:
    try:
        read_adapter_set(entry.path)
    except REFUSALS as exc:
        return str(exc)
    return entry.problem.message if entry.problem else None


def _read_directory(source: Path) -> dict[str, bytes]:
    if not (source / MANIFEST).is_file():
        raise AdapterSetNotFound(f"{source} is no adapter set: it has no {MANIFEST}")
    contents = {name: (source / name).read_bytes() for name in _LIMITS if (source / name).is_file()}
    if missing := _missing(contents):
        raise WeightsCorrupted(f"{source} lacks {missing}: copy the whole set")
    return contents


def _read_archive(source: Path) -> dict[str, bytes]:
    """The known files of an archive; nothing is ever unpacked under the names it gives."""
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
    if missing := _missing(contents):
        raise WeightsCorrupted(f"{source} lacks {missing}: export the set again")
    return contents


def _missing(contents: Mapping[str, bytes]) -> str:
    """Names of the mandatory files that are missing."""
    return ", ".join(name for name in _REQUIRED if name not in contents)
