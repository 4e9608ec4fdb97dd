"""The versions of adapter sets that stand on the disk: where, since when, and whether they can be used."""

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, AdaVAEError, ConfigError, WeightsCorrupted
from adavae.model.storage.adapter_name import check_name
from adavae.model.storage.adapter_set import CARD, MANIFEST, TENSORS, Manifest, read_manifest

REFUSALS = (AdapterSetMismatch, AdapterSetNotFound, ConfigError, WeightsCorrupted)
"""What is wrong with one version and with no other."""

_RECHECK_S = 60.0  # a file that could not be read may be readable later, unchanged
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a version is refused."""

    kind: type[AdapterSetMismatch] | type[WeightsCorrupted]
    message: str
    found_at: float

    @classmethod
    def of(cls, error: AdaVAEError, root: Path) -> "Problem":
        """Without the server's own directories, for clients read it."""
        kind = AdapterSetMismatch if isinstance(error, AdapterSetMismatch | ConfigError) else WeightsCorrupted
        return cls(kind, str(error).replace(f"{root}{os.sep}", ""), monotonic())

    @property
    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return self.kind is WeightsCorrupted and monotonic() - self.found_at > _RECHECK_S


_Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(eq=False, slots=True)
class InstalledVersion:
    """One directory as the last scan found it.

    Attributes:
        stamp: Changes when a file does.
        manifest: None where it cannot be read.
        problem: Why it is refused; None for one that was verified, or will be when it is loaded.
    """

    name: str
    version: str
    path: Path
    is_bundled: bool
    stamp: _Stamp
    manifest: Manifest | None = None
    digest: str = ""
    problem: Problem | None = None

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def rank(self) -> tuple[bool, str, int]:
        """The highest is what the name means; of two made in the same second the one written later."""
        created_at = self.manifest.created_at if self.manifest else ""
        return (not self.is_bundled, created_at, self.stamp[0][1] if self.stamp[0] else 0)

    def has_changed(self) -> bool:
        """Whether the files are no longer those that were found: somebody writes or deletes right now."""
        return _stamp(str(self.path)) != self.stamp


def scan(roots: Sequence[tuple[Path, bool]], known: Mapping[str, InstalledVersion]) -> dict[str, InstalledVersion]:
    """Every version on disk by its directory; those that have not changed are the ``known`` ones, unread."""
    found: dict[str, InstalledVersion] = {}
    for root, is_bundled in roots:
        for path, name, version in _version_directories(str(root)):
            stamp = _stamp(path)
            if not any(stamp[:2]):
                continue
            own = known.get(path)
            if own is None or own.stamp != stamp:
                own = _described(InstalledVersion(name, version, Path(path), is_bundled, stamp))
            found[path] = own
    return found


def _version_directories(root: str) -> Iterator[tuple[str, str, str]]:
    for name in _directories(root):
        for version in _directories(f"{root}/{name}"):
            yield f"{root}/{name}/{version}", name, version


def _directories(path: str) -> list[str]:
    """Names of directories that an adapter set or a version can have."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if _is_name(entry.name) and entry.is_dir()]
    except OSError as exc:
        if exc.errno in _ABSENT:
            return []
        raise


def _is_name(name: str) -> bool:
    try:
        return bool(check_name(name))
    except ConfigError:
        return False


def _stamp(path: str) -> _Stamp:
    return tuple(_file_stamp(f"{path}/{name}") for name in (MANIFEST, TENSORS, CARD))


def _file_stamp(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError as exc:
        if exc.errno in _ABSENT:
            return None
        raise
    return status.st_ino, status.st_mtime_ns, status.st_size


def _described(version: InstalledVersion) -> InstalledVersion:
    """Fills in the manifest and what follows from it, or the problem."""
    try:
        manifest = read_manifest(version.path)
        if manifest.reference != version.reference:
            raise WeightsCorrupted(f"{version.path} holds {manifest.reference}: move it to where it belongs")
    except REFUSALS as exc:
        version.problem = Problem.of(exc, version.path.parents[1])
    else:
        content = f"{manifest.reference}:{manifest.files[TENSORS].sha256}"
        version.manifest, version.digest = manifest, hashlib.sha256(content.encode()).hexdigest()
    return version
