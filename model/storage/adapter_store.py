"""Adapter sets by name: in the user's root, which is writable, and in the bundled ones, which are not.

``adapter_set`` reads and writes a single set, ``installed`` scans the disk.
"""

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

from adavae.model.errors import AdapterSetExists, AdapterSetMismatch, AdapterSetNotFound, WeightsCorrupted
from adavae.model.storage.adapter_name import check_name
from adavae.model.storage.adapter_set import (
    Accepting,
    AdapterSet,
    accept_any,
    check_adapter_set,
    put_in_place,
    read_adapter_set,
)
from adavae.model.storage.atomic import publish_directory, staging_directory, write_atomically
from adavae.model.storage.importing import copy, look_at
from adavae.model.storage.installed import REFUSALS, InstalledVersion, Problem, not_found, scan
from adavae.model.storage.manifest import CARD, MANIFEST, MAX_TEXT_BYTES, Manifest
from adavae.model.storage.publication import number_of
from adavae.model.storage.regular_file import read_bounded

TryingFiles = Callable[[Path], object]
"""Uses the set in a directory; an error it raises says what is wrong with the set."""


def try_nothing(path: Path) -> None:
    """Checking every byte is enough."""
    del path


class AdapterStore:
    """Adapter sets under one writable root and any number of bundled ones."""

    def __init__(self, root: Path, bundled: Sequence[Path] = ()) -> None:
        self.root, self.bundled = root, tuple(bundled)

    @property
    def roots(self) -> Sequence[tuple[Path, bool]]:
        """Every directory of adapter sets, and whether it is a bundled one."""
        return [(self.root, False), *((root, True) for root in self.bundled)]

    def scan(self, known: Mapping[str, InstalledVersion]) -> dict[str, InstalledVersion]:
        """Every installed version by its directory; unchanged ones are taken from ``known``, an earlier result.

        Raises:
            OSError: They cannot be looked for.
        """
        return scan(self.roots, known)

    def files_of(self, entry: InstalledVersion) -> Path:
        """The directory in which the files of a version are to be read; here they always are."""
        return entry.path

    def list(self, checking: TryingFiles | None = None) -> list[InstalledVersion]:
        """Every installed version, by name, the newest first.

        Only manifests are read; with ``checking`` every byte is, and an error that it raises for a whole set is that
        set's problem.
        """
        entries = sorted(self.scan({}).values(), key=attrgetter("rank"), reverse=True)
        if checking is not None:
            for entry in entries:
                entry.problem = entry.problem or self._fault_in(entry, checking)
        return sorted(entries, key=attrgetter("name"))

    def resolve(self, reference: str) -> InstalledVersion:
        """The set that ``name`` or ``name@version`` means.

        Without a version this is the newest one; the user's sets come before the bundled ones.

        Raises:
            AdapterSetNotFound: No such set; the message names similar and installed ones.
            AdapterSetMismatch: It is of another format.
            WeightsCorrupted: Its manifest cannot be read.
        """
        chosen = _whole_if_any(self._matching(reference))
        if chosen.manifest is None:
            assert chosen.problem is not None  # a scan sets one or the other
            raise chosen.problem.kind(chosen.problem.message)
        return chosen

    def read(self, reference: str, accepting: Accepting = accept_any) -> AdapterSet:
        """Reads and verifies a set; raises as ``resolve`` and ``read_adapter_set`` do."""
        return self.read_version(self.resolve(reference), accepting)

    def read_version(self, entry: InstalledVersion, accepting: Accepting = accept_any) -> AdapterSet:
        """Reads and verifies one version; raises as ``read_adapter_set`` does."""
        return read_adapter_set(entry.path, accepting)

    def verify(
        self, reference: str | None = None, *, trying: TryingFiles = try_nothing
    ) -> Sequence[tuple[InstalledVersion, str | None]]:
        """Checks every byte of one set, or of all: each with its problem, or None.

        Args:
            reference: Of the set.
            trying: Called with the directory of each whole one; an error it raises is that set's problem.
        """
        entries = [_whole_if_any(self._matching(reference))] if reference else self.list()
        return [(entry, self._problem_of(entry, trying)) for entry in entries]

    def import_set(
        self,
        source: Path,
        *,
        name: str | None = None,
        accepting: Accepting = accept_any,
        trying: TryingFiles = try_nothing,
    ) -> InstalledVersion:
        """Installs a set from a directory or a ``.tar.gz`` that ``export_set`` made.

        Installing a set again is no error, and repairs a damaged one.

        Args:
            source: Where it comes from.
            name: What it shall be called; the name is part of its content, so another one is another version.
            accepting: Called with the manifest before anything else is read; an error it raises keeps the set out.
            trying: Called with the directory of the checked set before it is installed; likewise.

        Raises:
            AdapterSetExists: A damaged one is in its place and cannot be moved away.
            AdapterSetNotFound: No set in ``source``.
            ConfigError: A name that may not be.
            WeightsCorrupted: A file is damaged, or the archive has unexpected contents.
            StorageFull: The disk took no more.
        """
        if name is not None:
            check_name(name)
        manifest = look_at(source, accepting)
        with staging_directory(self.root) as staging:
            copy(source, manifest, staging)
            if _checked_copy(staging, source) != manifest:
                raise WeightsCorrupted(f"{source} changed while it was read: import it again")
            if name is not None and name != manifest.name:
                manifest = manifest.renamed(name)
                write_atomically(staging / MANIFEST, manifest.to_bytes())
            trying(staging)
            self._install(staging, manifest)
        return self.resolve(manifest.reference)

    def card(self, reference: str) -> str:
        """The model card, Markdown; raises as ``resolve`` does, and WeightsCorrupted if it is damaged."""
        return self.card_of(self.resolve(reference))

    def card_of(self, entry: InstalledVersion) -> str:
        """As ``card``, of one version."""
        path = self.files_of(entry) / CARD
        try:
            return read_bounded(path, MAX_TEXT_BYTES).decode()
        except UnicodeDecodeError as exc:
            raise WeightsCorrupted(f"{entry.reference}: the model card cannot be read: install the set again") from exc

    def verified_files(self, reference: str) -> dict[str, Path]:
        """The files of a set by what they are called in an archive, every byte checked; raises as ``read`` does."""
        return self.verified_files_of(self.resolve(reference))

    def verified_files_of(self, entry: InstalledVersion) -> dict[str, Path]:
        """As ``verified_files``, of one version."""
        path = self.files_of(entry)
        names = (MANIFEST, *check_adapter_set(path).files)
        return {f"{entry.name}/{entry.version}/{name}": path / name for name in names}

    def archive(self, reference: str) -> bytes:
        """A verified set as one ``.tar.gz``; raises as ``read`` does."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, path in self.verified_files(reference).items():
                tar.add(path, arcname=name, recursive=False)
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
        self.remove(entry)
        return entry

    def deletable(self, reference: str) -> InstalledVersion:
        """The version that ``delete`` would remove; raises as it does."""
        entry = self._matching(reference)[0]
        if entry.is_bundled:
            raise AdapterSetMismatch(f"{entry.reference} is bundled with adavae and cannot be deleted")
        return entry

    def _install(self, staging: Path, manifest: Manifest) -> None:
        """Puts a checked set in its place, unless it is there undamaged."""
        destination = self.root / manifest.name / manifest.version
        if _holds(destination, manifest):
            return
        number = number_of(destination)  # a version that is repaired stays where it was among the others
        with staging_directory(self.root) as aside:
            former = aside / manifest.version
            with suppress(OSError):  # there is none, or it stays
                os.rename(destination, former)
            try:
                if _holds(former, manifest):  # another process has put it there since
                    publish_directory(former, destination)
                else:
                    put_in_place(self.root, staging, manifest, number)
            except AdapterSetExists as exc:
                if not _holds(destination, manifest):
                    raise AdapterSetExists(f"{manifest.reference} is there, damaged: delete it first") from exc

    def remove(self, entry: InstalledVersion) -> None:
        """Removes this very version, which is no bundled one; raises FileNotFoundError where others have done so."""
        shutil.rmtree(entry.path)
        with suppress(OSError):  # others are left, or come
            entry.path.parent.rmdir()

    def _problem_of(self, entry: InstalledVersion, trying: TryingFiles) -> str | None:
        problem = self._fault_in(entry, trying) or entry.problem
        return problem.message if problem else None

    def _fault_in(self, entry: InstalledVersion, trying: TryingFiles) -> Problem | None:
        try:
            path = self.files_of(entry)
            check_adapter_set(path)
            trying(path)
        except REFUSALS as exc:
            return Problem.of(exc)
        return None

    def _matching(self, reference: str) -> Sequence[InstalledVersion]:
        """The versions that match ``reference``, best first; raises AdapterSetNotFound if there are none."""
        name, _, version = reference.partition("@")
        entries = self.list()
        matching = [entry for entry in entries if entry.name == name and (not version or entry.version == version)]
        if not matching:
            raise not_found(reference, entries)
        return matching


def _whole_if_any(entries: Sequence[InstalledVersion]) -> InstalledVersion:
    return next((entry for entry in entries if entry.manifest is not None), entries[0])


def _holds(path: Path, manifest: Manifest) -> bool:
    """Whether the set of ``manifest`` is at ``path``, undamaged."""
    try:
        return check_adapter_set(path) == manifest
    except (AdapterSetMismatch, AdapterSetNotFound, WeightsCorrupted):
        return False


def _checked_copy(staging: Path, source: Path) -> Manifest:
    """As ``check_adapter_set``; what is wrong with the copy is said of ``source``."""
    try:
        return check_adapter_set(staging)
    except WeightsCorrupted as exc:
        raise WeightsCorrupted(str(exc).replace(str(staging), str(source))) from exc
