"""Which versions of adapter sets are on the disk, and whether they can be used.

Only manifests are read, and without torch. ``adapter_store`` loads, imports and deletes sets.
"""

import errno
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, AdaVAEError, ConfigError, WeightsCorrupted
from adavae.model.spelling import closest
from adavae.model.storage.adapter_name import check_name
from adavae.model.storage.manifest import MANIFEST, SET_FILES, TENSORS, Manifest, read_manifest
from adavae.model.storage.plain_values import checked_time
from adavae.model.storage.publication import PUBLICATION, number_of

REFUSALS = (AdapterSetMismatch, AdapterSetNotFound, ConfigError, WeightsCorrupted)
"""What is wrong with one version and with no other."""

_RECHECK_S = 60.0  # a file that could not be read may become readable without changing
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)
_STAMPED = (MANIFEST, TENSORS, *(file.name for file in SET_FILES if file.name != TENSORS), PUBLICATION)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_NAMES_SHOWN = 20
_MOST_SHOWN = 128  # characters of a name

_FileStamp = tuple[int, int, int]
_Stamp = tuple[_FileStamp | None, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a version cannot be used."""

    kind: type[AdapterSetMismatch] | type[WeightsCorrupted]
    message: str
    found_at: float

    @classmethod
    def of(cls, error: AdaVAEError) -> "Problem":
        kind = AdapterSetMismatch if isinstance(error, AdapterSetMismatch | ConfigError) else WeightsCorrupted
        return cls(kind, str(error), monotonic())

    @property
    def is_due(self) -> bool:
        """Whether it is time to check again."""
        return self.kind is WeightsCorrupted and monotonic() - self.found_at > _RECHECK_S


@dataclass(eq=False, slots=True)
class InstalledVersion:
    """One version of one adapter set as the last scan found it.

    Attributes:
        name: Taken from its directory.
        version: Taken from its directory.
        path: Its directory.
        is_bundled: Whether it came with the project.
        stamp: Changes when a file does.
        manifest: None if it cannot be read.
        digest: Identifies the exact content of its adapters; empty if the manifest cannot be read.
        publication: Its number in the order of publication; 0 for one from before there were numbers.
        problem: Why it cannot be used; None if it was verified, or will be on loading.
    """

    name: str
    version: str
    path: Path
    is_bundled: bool
    stamp: _Stamp
    manifest: Manifest | None = None
    digest: str = ""
    publication: int = 0
    problem: Problem | None = None

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def rank(self) -> tuple[bool, int, datetime, int]:
        """The highest is what the name means: the one published last, by the number that the store gave it.

        Those from before there were numbers come first, in the order of their dates and of when they were written.
        """
        created_at = checked_time("created_at", self.manifest.created_at) if self.manifest else _LONG_AGO
        return (not self.is_bundled, self.publication, created_at, self.stamp[0][1] if self.stamp[0] else 0)

    @property
    def public_problem(self) -> str | None:
        """Its problem without the server's directories, for clients."""
        return self.told(self.problem.message) if self.problem else None

    def told(self, message: str) -> str:
        """A message about it without the server's directories."""
        return message.replace(f"{self.path.parents[1]}{os.sep}", "")

    def has_changed(self) -> bool:
        """Whether the files are no longer those found: someone is writing or deleting."""
        return _stamp(str(self.path)) != self.stamp


def scan(roots: Sequence[tuple[Path, bool]], known: Mapping[str, InstalledVersion]) -> dict[str, InstalledVersion]:
    """Every version on disk by its directory; unchanged ones are taken from ``known`` without reading.

    Args:
        roots: Directories of adapter sets, each with whether it is bundled.
        known: The result of an earlier scan.
    """
    found: dict[str, InstalledVersion] = {}
    for root, is_bundled in roots:
        for name in _directories(str(root)):
            try:
                found |= _versions_of(str(root), name, is_bundled, known)
            except OSError:  # this one cannot be read for now: what was known of it stays, the others are read
                found |= {path: version for path, version in known.items() if version.path.parent == root / name}
    return found


def _versions_of(
    root: str, name: str, is_bundled: bool, known: Mapping[str, InstalledVersion]
) -> dict[str, InstalledVersion]:
    found: dict[str, InstalledVersion] = {}
    for version in _directories(f"{root}/{name}"):
        path = f"{root}/{name}/{version}"
        stamp = _stamp(path)
        if not any(stamp[:2]):  # neither manifest nor adapters
            continue
        installed = known.get(path)
        if installed is None or installed.stamp != stamp:
            installed = with_manifest(InstalledVersion(name, version, Path(path), is_bundled, stamp))
        found[path] = installed
    return found


def not_found(reference: str, versions: Iterable[InstalledVersion]) -> AdapterSetNotFound:
    """An error that names what was requested, similar names, and what is installed."""
    name, _, version = reference.partition("@")
    of_name: dict[str, list[str]] = {}
    for installed in versions:
        of_name.setdefault(installed.name, []).append(installed.version)
    if name in of_name:
        return AdapterSetNotFound(f"{name} has no version {_quoted(version)}; installed: {_listed(of_name[name])}")
    if not of_name:
        there_is = "none is installed; train one with 'adavae train'"
        return AdapterSetNotFound(f"there is no adapter set {_quoted(reference)}: {there_is}")
    meant = closest(name, of_name)
    hint = "" if meant is None else f" (did you mean {meant!r}?)"
    return AdapterSetNotFound(
        f"there is no adapter set {_quoted(reference)}{hint}; installed: {_listed(sorted(of_name))}"
    )


def _directories(path: str) -> list[str]:
    """Names of directories that can be adapter sets or versions."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if _is_name(entry.name) and _is_directory(entry)]
    except OSError as exc:
        if exc.errno in _ABSENT:
            return []
        raise


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Also through a link, unless that leads round in a circle, or nowhere."""
    try:
        return entry.is_dir()
    except OSError as exc:
        if exc.errno in (errno.ELOOP, *_ABSENT):
            return False
        raise


def _is_name(name: str) -> bool:
    try:
        return bool(check_name(name))
    except ConfigError:
        return False


def _stamp(path: str) -> _Stamp:
    return tuple(_file_stamp(f"{path}/{name}") for name in _STAMPED)


def _file_stamp(path: str) -> _FileStamp | None:
    try:
        status = os.lstat(path)  # of a link itself: what it leads to is never read
    except OSError as exc:
        if exc.errno in _ABSENT:
            return None
        raise
    return status.st_ino, status.st_mtime_ns, status.st_size


def with_manifest(version: InstalledVersion) -> InstalledVersion:
    """Fills in its number, the manifest and what depends on it, or the problem."""
    version.publication = number_of(version.path)
    try:
        manifest = read_manifest(version.path)
        if manifest.reference != version.reference:
            raise WeightsCorrupted(f"{version.path} holds {manifest.reference}: move it to where it belongs")
    except REFUSALS as exc:
        version.problem = Problem.of(exc)
    else:
        content = f"{manifest.reference}:{manifest.files[TENSORS].sha256}"
        version.manifest, version.digest = manifest, hashlib.sha256(content.encode()).hexdigest()
    return version


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
