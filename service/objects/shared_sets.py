"""Adapter sets in an object store, as ``AdapterStore`` has them on a disk.

Here, on this machine's disk, is a directory of each with its manifest; tensors come when a set is to be read, and go
when there are too many bytes. What is in the store is for ``published_sets``.
"""

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from adavae.model.errors import AdapterSetNotFound, StorageFull, WeightsCorrupted
from adavae.model.storage.adapter_set import Accepting, AdapterSet, accept_any
from adavae.model.storage.adapter_store import AdapterStore, TryingFiles
from adavae.model.storage.installed import InstalledVersion, with_manifest
from adavae.model.storage.manifest import CARD, MANIFEST, Manifest
from adavae.service.errors import ServiceError, full_disk
from adavae.service.objects.errors import ObjectChanged, StoreError
from adavae.service.objects.file_cache import FileCache, Wanted
from adavae.service.objects.object_store import NotOurs, ObjectStore
from adavae.service.objects.published_sets import PublishedSets, key_of
from adavae.service.objects.set_index import SetKey, Sets

_NUM_FETCHING = 16
_TRIES = 3


@dataclass(eq=False, slots=True)
class SharedVersion(InstalledVersion):
    """A version in an object store: what is there of it on this machine says nothing of it."""

    def has_changed(self) -> bool:
        return False


class SharedSets(AdapterStore):
    """Adapter sets of one object store, and bundled ones; used from any thread.

    Beside what ``AdapterStore`` raises, every method but ``scan`` raises ServiceError (503) where the store cannot be
    used, or where this machine's disk takes nothing that it gives.
    """

    def __init__(self, store: ObjectStore, root: Path, bundled: Sequence[Path], max_bytes: int) -> None:
        """``root`` is where they are kept on this machine, in at most ``max_bytes`` beside manifests and cards."""
        super().__init__(root, bundled)
        self._published = PublishedSets(store)
        self._cache = FileCache(store, root, max_bytes, kept=frozenset((MANIFEST, CARD)))
        self._seen = Sets()

    @property
    def roots(self) -> Sequence[tuple[Path, bool]]:
        """Only what is on this machine's disk for good."""
        return [(root, True) for root in self.bundled]

    def scan(self, known: Mapping[str, InstalledVersion]) -> dict[str, InstalledVersion]:
        """Raises StoreError, which is an OSError, where the store cannot be asked."""
        sets = self._published.current()
        new = (key for key in sets.numbers if f"{self.root}/{key[0]}/{key[1]}" not in known)
        missing = [key for key in new if not (self._path(key) / MANIFEST).is_file()]
        with ThreadPoolExecutor(_NUM_FETCHING, thread_name_prefix="adavae-manifests") as threads:
            for _ in threads.map(self._fetch_manifest, missing):
                pass
        found = super().scan(known)
        for key, number in sets.numbers.items():
            path = f"{self.root}/{key[0]}/{key[1]}"
            before = known.get(path)
            is_same = before is not None and before.publication == number
            found[path] = before if before is not None and is_same else self._installed(key, number)
        self._drop_what_went(sets)
        return found

    def list(self, checking: TryingFiles | None = None) -> list[InstalledVersion]:
        try:
            return super().list(checking)
        except StoreError as exc:
            raise exc.answer() from exc

    def files_of(self, entry: InstalledVersion) -> Path:
        if entry.is_bundled:
            return entry.path
        if entry.manifest is None:
            raise WeightsCorrupted(f"{entry.reference} has no manifest that can be read: install the set again")
        wanted = [
            Wanted(key_of(entry.name, entry.version, name), entry.path / name, file.num_bytes, file.sha256)
            for name, file in entry.manifest.files.items()
        ]
        try:
            if not (entry.path / MANIFEST).is_file():
                self._fetch_manifest((entry.name, entry.version))
            self._cache.fetch(wanted)
        except FileNotFoundError as exc:
            raise WeightsCorrupted(f"{entry.reference} is not whole in the object store: install it again") from exc
        except StoreError as exc:
            raise exc.answer() from exc
        except (StorageFull, OSError) as exc:
            if (answer := full_disk(exc)) is None:
                raise
            raise answer from exc
        return entry.path

    def read_version(self, entry: InstalledVersion, accepting: Accepting = accept_any) -> AdapterSet:
        for _ in range(_TRIES - 1):
            self.files_of(entry)
            try:
                return super().read_version(entry, accepting)
            except (AdapterSetNotFound, WeightsCorrupted):
                if _is_here(entry):
                    raise  # else another process has made room meanwhile
        self.files_of(entry)
        return super().read_version(entry, accepting)

    def _install(self, staging: Path, manifest: Manifest) -> None:
        try:
            self._published.send_files(staging, manifest)
            self._published.publish((manifest.name, manifest.version))
        except (StoreError, ObjectChanged) as exc:
            raise _answered(exc) from exc
        path = self._path((manifest.name, manifest.version))
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # it is there already, or will be fetched
            os.rename(staging, path)

    def remove(self, entry: InstalledVersion) -> None:
        """From the index first: nobody ever sees half of a set."""
        key = (entry.name, entry.version)
        names = (MANIFEST, *(entry.manifest.files if entry.manifest is not None else ()))
        try:
            self._published.remove(key, names)
        except AdapterSetNotFound as exc:
            raise FileNotFoundError(str(exc)) from exc
        except (StoreError, ObjectChanged) as exc:
            raise _answered(exc) from exc
        shutil.rmtree(entry.path, ignore_errors=True)

    def _installed(self, key: SetKey, number: int) -> SharedVersion:
        name, version = key
        found = SharedVersion(name, version, self._path(key), False, ((number, number, 0),))
        with_manifest(found)
        found.publication = number
        if found.problem is not None:
            (found.path / MANIFEST).unlink(missing_ok=True)  # looked for again when the problem is due
        return found

    def _fetch_manifest(self, key: SetKey) -> None:
        """What is no manifest is kept as well, and found out when it is read."""
        try:
            content = self._published.read_manifest(key)
        except (FileNotFoundError, NotOurs) as exc:
            content = str(exc).encode()
        path = self._path(key) / MANIFEST
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".writing-{secrets.token_hex(8)}")
        temporary.write_bytes(content)
        temporary.replace(path)  # without waiting for the disk: what is damaged there is fetched again

    def _drop_what_went(self, sets: Sets) -> None:
        """Directories of sets that were deleted since the last look."""
        for key in self._seen.numbers.keys() - sets.numbers.keys():
            shutil.rmtree(self._path(key), ignore_errors=True)
        self._seen = sets

    def _path(self, key: SetKey) -> Path:
        return self.root / key[0] / key[1]


def _is_here(entry: InstalledVersion) -> bool:
    names = (MANIFEST, *(entry.manifest.files if entry.manifest is not None else ()))
    return all((entry.path / name).is_file() for name in names)


def _answered(error: StoreError | ObjectChanged) -> ServiceError:
    if isinstance(error, StoreError):
        return error.answer()
    return ServiceError(503, "storage_busy", str(error), retry_after_s=2)
